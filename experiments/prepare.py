"""What happens before a run on one machine: keys, shards, enrolment.

The launcher stands in for every client's owner here: it shares the data out once,
writes one shard into each client's own folder and enrols all of them in a fresh run.
"""

import fcntl
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.folder import data_home
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.params import AggregationParams
from experiments.errors import SettingsError
from experiments.keysets import (
    check_policies,
    create_keyset,
    read_keyset,
    write_private,
)
from experiments.settings import RunSettings
from experiments.sharing import Tell, share_out
from models.shards import Shard, save_shard

_RUN_ID_BYTES = 16
# Changes with what a client's folder holds: keys that an older version made for this
# machine are left alone, and new ones made.
_FORMAT = "3"


@dataclass(frozen=True)
class PreparedRun:
    """A run that every party's folder knows about.

    Attributes:
        run_id: 16 fresh bytes, as hex.
        keyset: Folder of the key set.
        manifest: Keys and parameters, the same in every folder.
    """

    run_id: str
    keyset: Path
    manifest: Manifest

    def client_folder(self, client_id: int) -> Path:
        """Return a client's own folder."""
        return self.keyset / f"client-{client_id}"

    @property
    def server_folder(self) -> Path:
        """The server's folder of this run."""
        return self.keyset / "server" / "runs" / self.run_id

    def forget(self) -> None:
        """Take shards, enrolment and kept uploads out of every folder again."""
        for folder in (self.keyset / "server", *self.keyset.glob("client-*")):
            shutil.rmtree(folder / "runs" / self.run_id, ignore_errors=True)
            for upload in folder.glob(f"state.sqlite-uploads/{self.run_id}-*"):
                upload.unlink(missing_ok=True)  # nobody can ask for it any more


def prepare_for_flower(
    settings: RunSettings, keys: Path | None, tell: Tell
) -> PreparedRun:
    """Prepare a run that `flwr run .` finds: a link to it under `UNSEEN_HOME`.

    Args:
        settings: What to run.
        keys: Keys to use; None for this machine's own.
        tell: Takes a line for people.

    Raises:
        SettingsError: If settings cannot work.
    """
    task, params = settings.checked()
    shared = share_out(settings, task, tell)
    folder, keyset = simulation_keys(params, keys, settings.clients)
    prepared = enrol(folder, Manifest(keyset, params), shared.shards, shared.test)
    link = data_home() / "prepared"
    fresh = link.with_name(f".prepared-{prepared.run_id}")
    fresh.symlink_to(folder.resolve())
    fresh.replace(link)
    return prepared


def simulation_keys(
    params: AggregationParams,
    folder: Path | None,
    num_clients: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[Path, KeySet]:
    """Return keys for a run on this machine, made once and kept for the next one.

    Args:
        params: What the keys must fit.
        folder: Keys to use instead; None for this machine's own.
        num_clients: Clients of the run; a round may ask fewer.
        tick: Called while primes are searched.

    Raises:
        SettingsError: If the given keys are missing, damaged or do not fit.
    """
    if folder is None:
        committee = f"{params.threshold}-of-{params.num_holders}"
        name = f"{params.key_bits}-bits-{committee}-{num_clients}-clients"
        folder = data_home() / "simulation" / _FORMAT / name
        if not folder.exists():
            with _only_one(folder):
                if not folder.exists():
                    _create(folder, params, num_clients, tick)
    keys = read_keyset(folder)
    found = (
        keys.public_key.key_bits,
        keys.public_key.threshold,
        len(keys.roster.clients),
    )
    wanted = (params.key_bits, params.threshold, num_clients)
    if found != wanted:
        raise SettingsError(
            f"the keys at {folder} have {found[0]} bits, threshold {found[1]}, "
            f"{found[2]} clients; the run asks for {wanted[0]}, {wanted[1]}, "
            f"{wanted[2]}",
            "pass the same numbers as the keys were made with, or create new keys",
        )
    for client_id in keys.roster.clients:
        if not (folder / f"client-{client_id}" / "identity.json").is_file():
            raise SettingsError(
                f"{folder} has no folder client-{client_id}",
                "restore it from a backup, or create new keys",
            )
    return folder, keys


def enrol(
    keyset: Path,
    manifest: Manifest,
    shards: Sequence[Shard],
    test: Shard,
) -> PreparedRun:
    """Write a fresh run into every party's folder.

    Args:
        keyset: Folder of the key set.
        manifest: Keys and parameters of the run.
        shards: One a client, by rising number; none where clients bring their own data.
        test: The public test split.

    Raises:
        SettingsError: If a client's policy refuses the run, or a folder is read-only.
    """
    check_policies(keyset, manifest)
    run_id = secrets.token_bytes(_RUN_ID_BYTES).hex()
    prepared = PreparedRun(run_id, keyset, manifest)
    text = json.dumps(manifest.to_dict(), indent=1)
    try:
        for place, client_id in enumerate(sorted(manifest.keys.roster.clients)):
            own = prepared.client_folder(client_id) / "runs" / run_id
            write_private(own / "manifest.json", text)
            if shards:
                save_shard(own / "shard.npz", shards[place])
        write_private(prepared.server_folder / "manifest.json", text)
        save_shard(prepared.server_folder / "test.npz", test)
    except OSError as error:
        prepared.forget()
        raise SettingsError(f"cannot write to {keyset}: {error.strerror}") from None
    return prepared


def _create(
    folder: Path, params: AggregationParams, num_clients: int, tick: Callable[[], None]
) -> None:
    create_keyset(
        folder,
        num_clients=num_clients,
        num_holders=params.num_holders,
        threshold=params.threshold,
        key_bits=params.key_bits,
        purpose=SIMULATION,
        tick=tick,
    )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let two runs that start at once make one key set between them."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock").open("w")
    except OSError as error:
        raise SettingsError(
            f"cannot write {folder.parent}: {error.strerror}",
            "set UNSEEN_HOME to a folder you can write to",
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
