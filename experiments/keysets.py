"""Key sets on disk: one folder for the server and one per client.

    KEYS/keys.json  server/  client-1/ .. client-N/      (folders 0700, files 0600)

The ceremony makes everything in a new folder beside the target and renames it into
place at the end, so that a failure leaves nothing half-written.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clients.policy import read_policy
from clients.state import ClientState
from crypto.dealer import create_keys
from crypto.errors import CryptoError, PolicyError
from crypto.identity import Identity, seal
from crypto.key_holder import KeyHolder
from crypto.manifest import SIMULATION, KeySet, Manifest, read_json
from crypto.public_key import PublicKey
from crypto.roster import Roster
from experiments.committees import Committee
from experiments.errors import SettingsError
from models.tasks import get_task, task_names

SAFE_KEY_BITS = 2048  # below, a key is for tests only


def create_keyset(
    folder: Path,
    *,
    num_clients: int,
    num_holders: int,
    threshold: int,
    key_bits: int,
    purpose: str,
    client_ids: Sequence[int] = (),
    tick: Callable[[], None] = lambda: None,
) -> KeySet:
    """Hold the key ceremony and write every party's folder.

    Args:
        folder: Where to put the set; must not exist.
        num_clients: Clients to enrol.
        num_holders: The first this many clients form the committee.
        threshold: How many of them open a sum.
        key_bits: Size of the Paillier modulus.
        purpose: `crypto.manifest.SIMULATION` or `DEPLOYMENT`.
        client_ids: Their numbers; those from 1 if not given.
        tick: Called while primes are searched.

    Raises:
        SettingsError: If the folder exists or cannot be written.
        ParameterError: If the numbers cannot work together.
    """
    if folder.exists():
        raise SettingsError(f"{folder} exists already", "choose another --out")
    public_key, holders = create_keys(
        key_bits=key_bits, num_holders=num_holders, threshold=threshold, tick=tick
    )
    return write_keyset(
        folder,
        public_key,
        holders,
        num_clients=num_clients,
        purpose=purpose,
        client_ids=client_ids,
    )


def write_keyset(
    folder: Path,
    public_key: PublicKey,
    holders: Sequence[KeyHolder],
    *,
    num_clients: int,
    purpose: str,
    client_ids: Sequence[int] = (),
) -> KeySet:
    """Make identities for a dealt key and write every party's folder.

    Raises:
        SettingsError: If the folder cannot be written.
    """
    identities = [Identity.create(i) for i in client_ids or range(1, num_clients + 1)]
    keys = KeySet(public_key, Roster.of(identities, len(holders)), purpose)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))
    except OSError as error:
        raise SettingsError(
            f"cannot write {folder.parent}: {error.strerror}", "choose another --out"
        ) from None
    try:
        _write_parties(draft, keys, identities, holders)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return keys


def _write_parties(
    draft: Path,
    keys: KeySet,
    identities: Sequence[Identity],
    holders: Sequence[KeyHolder],
) -> None:
    public, policy = json.dumps(keys.to_dict(), indent=1), _policy(keys)
    write_private(draft / "keys.json", public)
    write_private(draft / "server" / "keys.json", public)
    for identity in identities:
        own = draft / f"client-{identity.client_id}"
        write_private(own / "keys.json", public)
        write_private(own / "identity.json", identity.to_dict())
        write_private(own / "policy.toml", policy)
        ClientState.create(own / "state.sqlite")
    for identity, holder in zip(identities, holders, strict=False):
        secret = json.dumps(holder.to_dict()).encode()
        sealed = {"sealed": seal(identity.sealing_public, secret).hex()}
        write_private(draft / f"client-{identity.client_id}" / "share.json", sealed)


def read_keyset(folder: Path) -> KeySet:
    """Read and check the public half of a key set.

    Raises:
        SettingsError: If there is none, or it is damaged or foreign.
    """
    if not (folder / "keys.json").is_file():
        raise SettingsError(
            f"no keys at {folder / 'keys.json'}",
            'create them with "unseen keys create", or pass --keys FOLDER',
        )
    try:
        keys = KeySet.from_dict(read_json(folder / "keys.json"))
        keys.public_key.verify()
    except CryptoError as error:
        raise SettingsError(
            f"{folder / 'keys.json'}: {error}",
            "these are not keys made by this version; create new ones",
        ) from None
    return keys


def check_policies(folder: Path, manifest: Manifest) -> None:
    """Refuse a run that a client whose folder is there would refuse, too.

    Raises:
        SettingsError: Names the client and its rule.
    """
    for client_id in sorted(manifest.keys.roster.clients):
        path = folder / f"client-{client_id}" / "policy.toml"
        try:
            read_policy(path).check(manifest)
        except PolicyError as error:
            raise SettingsError(
                f"client {client_id} would refuse this run: {error}",
                f"change the run, or {path}, or create new keys",
            ) from None


def task_networks() -> dict[str, str]:
    """Return the digest of every task's network, by the task's name."""
    # Imported here: torch takes seconds, and few commands need it.
    from models.networks.state import fingerprint  # noqa: PLC0415

    return {name: fingerprint(get_task(name).make_network()) for name in task_names()}


def _policy(keys: KeySet) -> str:
    """Return the policy of a client in this group.

    A simulated client also takes part in baselines, in small groups and with any
    network: all of them belong to the same person.
    """
    key = keys.public_key
    protocols, malicious, networks = '["paillier", "hybrid", "plain"]', 0, '"any"'
    if keys.purpose != SIMULATION:
        protocols, networks = '["paillier", "hybrid"]', _network_list(task_networks())
        committee = Committee(threshold=key.threshold, num_holders=key.num_holders)
        # A run that opens sums of `threshold` updates, the default, is not refused.
        malicious = max(0, min(committee.may_cheat, key.threshold - 2))
    return (
        "# What this client agrees to; nothing the server sends can weaken it.\n"
        "# Every rule is needed, and a change counts from the next message on.\n"
        f"protocols = {protocols}\n"
        f"min-contributors = {malicious + 2}  # smallest sum its update is part of\n"
        f"max-contributors = {len(keys.roster.clients)}  # largest cohort\n"
        f"min-key-bits = {min(SAFE_KEY_BITS, key.key_bits)}\n"
        f"max-holders = {key.num_holders}  # largest committee\n"
        f"max-malicious = {malicious}  # malicious holders a run must stand\n"
        "min-set-change = 0  # 2 or more: never help to open almost the same set\n"
        f"networks = {networks}  # digests, see: unseen keys networks\n"
    )


def _network_list(networks: Mapping[str, str]) -> str:
    lines = [f'    "{digest}",  # {name}\n' for name, digest in networks.items()]
    return f"[\n{''.join(lines)}]"


def write_private(path: Path, content: object) -> None:
    """Write a file that only its owner can read; text as it is, else as JSON."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as stream:
        stream.write(text)
