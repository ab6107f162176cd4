"""A client's own folder: keys, identity, share, policy, state and enrolled runs.

    client-3/
        keys.json       public key and roster, pinned
        identity.json   this client's signing and sealing keys
        share.json      its share of the decryption key, if it is a key holder
        policy.toml     what it agrees to
        state.sqlite    what it sent and opened; large uploads in state.sqlite-uploads/
        runs/<run id>/  manifest.json and shard.npz of a run it is enrolled in

Which folder and which run come from the client's side only: the node's own
configuration or the environment, never from a message.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clients.policy import Policy, read_policy
from clients.state import ClientState
from crypto.errors import KeyMismatchError
from crypto.identity import Identity
from crypto.key_holder import KeyHolder, holder_from_dict
from crypto.manifest import SIMULATION, KeySet, Manifest, read_json
from crypto.opening import Opener
from crypto.public_key import PublicKey

_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]", "::1")

NodeConfig = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Member:
    """A client in one run, with everything pinned and checked.

    Attributes:
        run_id: The 16-byte id of the run it is enrolled in.
        manifest: The run's keys and parameters.
        identity: The client's own keys.
        holder: Its share of the key; None if it is not a key holder.
        state: What it sent and opened so far.
        shard: Where its training data lies.
        policy: What it agrees to; the manifest does.
    """

    run_id: bytes
    manifest: Manifest
    identity: Identity
    holder: KeyHolder | None
    state: ClientState
    shard: Path
    policy: Policy

    def opener(self) -> Opener:
        """Return the key-holder side of this client.

        Raises:
            KeyMismatchError: If it holds no share.
        """
        if self.holder is None:
            raise KeyMismatchError("this client is not a key holder")
        return Opener(
            self.manifest,
            self.identity,
            self.holder,
            self.state,
            self.policy.min_set_change,
        )


def data_home() -> Path:
    """Return where keys and state live: `UNSEEN_HOME`, or the user's data folder."""
    home = os.environ.get("UNSEEN_HOME")
    if home:
        return Path(home).expanduser()
    share = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(share).expanduser() / "unseen"


def own_folder(node_config: NodeConfig) -> Path:
    """Return this client's folder, from its own side.

    `client-dir` of the node's configuration, else `UNSEEN_CLIENT_DIR`, else the
    folder that `unseen prepare` made for this partition.

    Raises:
        KeyMismatchError: If none of them says which client this is.
    """
    named = node_config.get("client-dir") or os.environ.get("UNSEEN_CLIENT_DIR")
    if named:
        return Path(str(named)).expanduser()
    if "partition-id" not in node_config:
        raise KeyMismatchError("this node was not told its client folder (client-dir)")
    client_id = int(node_config["partition-id"]) + 1
    return data_home() / "prepared" / f"client-{client_id}"


def refuse_foreign_simulation(folder: Path, host: str) -> None:
    """Refuse simulation keys for a server on another machine.

    All secrets of such a key set were in the hands of one user.

    Raises:
        KeyMismatchError: If that is so.
    """
    path = folder / "keys.json"
    if host in _THIS_MACHINE or not path.is_file():
        return
    if KeySet.from_dict(read_json(path)).purpose == SIMULATION:
        raise KeyMismatchError(
            f"{path} holds simulation keys, which protect nobody on other machines; "
            f'make a deployment\'s with "unseen keys create"'
        )


def open_member(node_config: NodeConfig) -> Member:
    """Read and check a client's folder; keys are kept for the life of the process.

    Raises:
        KeyMismatchError: If a file is missing, damaged or foreign.
        PolicyError: If the client's policy refuses the run.
    """
    folder = own_folder(node_config)
    run = str(node_config.get("run-id") or newest_run(folder))
    if not (folder / "runs" / run / "manifest.json").is_file():
        raise KeyMismatchError(f"{folder} is not enrolled in run {run}")
    # Read anew each time: a stricter policy counts from the next message on.
    member = _read_member(folder, run, read_policy(folder / "policy.toml"))
    # Whoever made the manifest: an enrolment is no reason to lower the floors.
    member.policy.check(member.manifest)
    return member


def newest_run(folder: Path) -> str:
    """Return the run a folder was enrolled in last, as hex.

    Raises:
        KeyMismatchError: If it is enrolled in none.
    """
    runs = [path for path in (folder / "runs").glob("*") if path.is_dir()]
    if not runs:
        raise KeyMismatchError(f"{folder} is enrolled in no run")
    return max(runs, key=lambda path: path.stat().st_mtime_ns).name


@lru_cache(maxsize=64)
def _read_member(folder: Path, run: str, policy: Policy) -> Member:
    keys = KeySet.from_dict(read_json(folder / "keys.json"))
    _verify(keys.public_key)
    enrolment = folder / "runs" / run
    manifest = Manifest.from_dict(read_json(enrolment / "manifest.json"))
    if manifest.keys != keys:
        raise KeyMismatchError(
            f"the run is under keys {manifest.keys.fingerprint}, "
            f"this client pinned {keys.fingerprint}"
        )
    identity, holder = check_folder(folder, keys)
    return Member(
        run_id=_run_id(run),
        manifest=manifest,
        identity=identity,
        holder=holder,
        state=ClientState(folder / "state.sqlite"),
        shard=enrolment / "shard.npz",
        policy=policy,
    )


@lru_cache(maxsize=4)
def _verify(public_key: PublicKey) -> None:
    """Check a key, once for all the virtual clients of a process."""
    public_key.verify()


def check_folder(folder: Path, keys: KeySet) -> tuple[Identity, KeyHolder | None]:
    """Read a client's secrets and check them against its group's keys.

    Returns:
        The client's identity, and its share if it is a key holder.

    Raises:
        KeyMismatchError: If something is missing, damaged or foreign.
    """
    identity = Identity.from_dict(read_json(folder / "identity.json"))
    if keys.roster.clients.get(identity.client_id) != identity.signing_public:
        raise KeyMismatchError(f"{folder} holds an identity that is not on the roster")
    return identity, _read_holder(folder, identity, keys)


def _read_holder(folder: Path, identity: Identity, keys: KeySet) -> KeyHolder | None:
    if identity.client_id not in keys.roster.holder_ids:
        return None
    sealed = str(read_json(folder / "share.json").get("sealed"))
    try:
        secret = json.loads(identity.open(bytes.fromhex(sealed)))
    except ValueError:
        raise KeyMismatchError(f"{folder / 'share.json'} is not a share") from None
    holder = holder_from_dict(secret, keys.public_key)
    if holder.index != keys.roster.holder_index(identity.client_id):
        raise KeyMismatchError(f"{folder} holds the share of another key holder")
    return holder


def _run_id(run: str) -> bytes:
    try:
        return bytes.fromhex(run)
    except ValueError:
        raise KeyMismatchError(f"{run!r} is not a run id") from None
