"""Key sets on disk: one folder for the server and one per client.

    KEYS/keys.json  server/  client-1/ .. client-N/      (folders 0700, files 0600)

The ceremony makes everything in a new folder beside the target and renames it into
place at the end, so that a failure leaves nothing half-written.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from clients.state import ClientState
from crypto.dealer import create_keys
from crypto.errors import CryptoError
from crypto.identity import Identity, seal
from crypto.key_holder import KeyHolder
from crypto.manifest import SIMULATION, KeySet, read_json
from crypto.public_key import PublicKey
from crypto.roster import Roster
from experiments.errors import SettingsError

SAFE_KEY_BITS = 2048  # below, a key is for tests only


def create_keyset(
    folder: Path,
    *,
    num_clients: int,
    num_holders: int,
    threshold: int,
    key_bits: int,
    purpose: str,
    tick: Callable[[], None] = lambda: None,
) -> KeySet:
    """Hold the key ceremony and write every party's folder.

    Args:
        folder: Where to put the set; must not exist.
        num_clients: Clients to enrol, with ids from 1.
        num_holders: The first this many clients form the committee.
        threshold: How many of them open a sum.
        key_bits: Size of the Paillier modulus.
        purpose: `crypto.manifest.SIMULATION` or `DEPLOYMENT`.
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
        folder, public_key, holders, num_clients=num_clients, purpose=purpose
    )


def write_keyset(
    folder: Path,
    public_key: PublicKey,
    holders: Sequence[KeyHolder],
    *,
    num_clients: int,
    purpose: str,
) -> KeySet:
    """Make identities for a dealt key and write every party's folder.

    Raises:
        SettingsError: If the folder cannot be written.
    """
    identities = [Identity.create(i) for i in range(1, num_clients + 1)]
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
    write_private(draft / "keys.json", keys.to_dict())
    write_private(draft / "server" / "keys.json", keys.to_dict())
    for identity in identities:
        own = draft / f"client-{identity.client_id}"
        write_private(own / "keys.json", keys.to_dict())
        write_private(own / "identity.json", identity.to_dict())
        write_private(own / "policy.toml", _policy(keys))
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


def _policy(keys: KeySet) -> str:
    """Return the policy of a client in this group.

    A simulated client also takes part in baselines and in small groups: all of them
    belong to the same person.
    """
    key = keys.public_key
    simulated = keys.purpose == SIMULATION
    protocols = '["paillier", "plain"]' if simulated else '["paillier"]'
    smallest = 2 if simulated else max(2, 2 * key.threshold - key.num_holders + 1)
    return (
        "# What this client agrees to; nothing the server sends can weaken it.\n"
        f"min-contributors = {smallest}  # smallest sum it is part of\n"
        f"protocols = {protocols}\n"
        f"min-key-bits = {min(SAFE_KEY_BITS, key.key_bits)}\n"
    )


def write_private(path: Path, content: object) -> None:
    """Write a file that only its owner can read; text as it is, else as JSON."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as stream:
        stream.write(text)
