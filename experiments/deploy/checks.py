"""Looks at the folders of a deployment, party by party, before anything starts."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from clients.folder import check_folder
from clients.policy import read_policy
from clients.state import ClientState
from crypto.errors import CryptoError
from crypto.manifest import DEPLOYMENT, KeySet, Manifest, read_json
from experiments.deploy import certificates, layout, records
from experiments.deploy.findings import (
    Finding,
    authority,
    key_fits,
    lifetime,
    modes,
    named,
    strangers,
)
from experiments.deploy.lock import read_secret
from experiments.errors import SettingsError
from models.shards import load_shard

_CLIENT_FILES: Final = frozenset(
    {
        *("keys.json", "identity.json", "policy.toml", "state.sqlite", "share.json"),
        *(layout.CA_CERTIFICATE, layout.NODE_KEY, layout.NODE_PUBLIC, layout.RUNS),
        *("state.sqlite-uploads", "state.sqlite-journal"),
    }
)
_SERVER_FILES: Final = frozenset(
    {
        *("keys.json", layout.CA_CERTIFICATE, layout.SECRET),
        *(layout.NODES, layout.RUNS),
    }
)
_SUPERLINK_FILES: Final = frozenset(
    {
        *(layout.TLS_CERTIFICATE, layout.TLS_KEY, layout.CA_CERTIFICATE),
        *(layout.SECRET, layout.STATE),
    }
)


def check_client(folder: Path) -> Iterator[Finding]:
    """Look at a client's own folder."""
    yield from strangers(folder, _CLIENT_FILES)
    yield from modes(folder)
    yield from authority(folder)
    yield from named(lambda: _node_key(folder))
    keys = None
    try:
        keys = _keys(folder)
        check_folder(folder, keys)
        ClientState(folder / "state.sqlite")
    except (CryptoError, SettingsError) as error:
        yield Finding(_with_path(folder, error))
    if keys is not None:
        yield from named(lambda: _client_run(folder, keys))


def check_server(folder: Path) -> Iterator[Finding]:
    """Look at the server's own folder."""
    yield from strangers(folder, _SERVER_FILES)
    yield from modes(folder)
    yield from authority(folder)
    yield from named(lambda: read_secret(folder / layout.SECRET))
    keys = None
    try:
        keys = _keys(folder)
    except (CryptoError, SettingsError) as error:
        yield Finding(_with_path(folder, error))
        return
    for client_id in sorted(keys.roster.clients):
        path = folder / layout.NODES / f"{layout.client_name(client_id)}.pub"
        yield from named(partial(certificates.read_node_public, path))
    yield from named(lambda: _server_run(folder, keys))


def check_superlink(folder: Path) -> Iterator[Finding]:
    """Look at the SuperLink's own folder."""
    yield from strangers(folder, _SUPERLINK_FILES)
    yield from modes(folder)
    yield from authority(folder)
    yield from named(lambda: read_secret(folder / layout.SECRET))
    yield from named(lambda: key_fits(folder, layout.TLS_CERTIFICATE, layout.TLS_KEY))
    path = folder / layout.TLS_CERTIFICATE
    try:
        certificate = certificates.read_certificate(path)
        issuer = certificates.read_certificate(folder / layout.CA_CERTIFICATE)
    except SettingsError as error:
        yield Finding(str(error))
        return
    yield from lifetime(path, certificates.days_left(certificate))
    if not certificates.is_signed_by(certificate, issuer):
        yield Finding(f"{path} is not signed by the {layout.CA_CERTIFICATE} beside it")


def check_any(folder: Path) -> Iterator[Finding]:
    """Look at a whole deployment, or at one party's folder.

    Raises:
        SettingsError: If it is neither.
    """
    is_deployment = (folder / layout.DEPLOYMENT_FILE).exists()
    yield from (check_deployment if is_deployment else check_party)(folder)


def check_deployment(root: Path) -> Iterator[Finding]:
    """Look at a whole deployment, as it lies on the dealer's machine."""
    yield from named(lambda: records.Deployment.read(root))
    home = root / layout.CA
    yield from modes(home)
    yield from named(lambda: key_fits(home, layout.CA_CERTIFICATE, layout.CA_KEY))
    for party in layout.parties(root):
        if party.is_dir():
            yield from check_party(party)
            yield from named(partial(_same_authority, home, party))
        else:
            yield Finding(f"there is no folder {party}")
    yield from _shared_files(root)


def check_party(folder: Path) -> Iterator[Finding]:
    """Look at one party's folder, whichever it is.

    Raises:
        SettingsError: If it is none.
    """
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder}")
    if not os.access(folder, os.R_OK | os.X_OK):
        yield Finding(f"{folder} may not be read by uid {os.geteuid()}")
        return
    inside = {path.name for path in folder.iterdir()}
    if inside & {"identity.json", layout.NODE_KEY} or folder.name.startswith("client-"):
        yield from check_client(folder)
    elif layout.NODES in inside or folder.name == layout.SERVER:
        yield from check_server(folder)
    elif layout.TLS_CERTIFICATE in inside or folder.name == layout.SUPERLINK:
        yield from check_superlink(folder)
    else:
        raise SettingsError(
            f"{folder} is neither a deployment nor a party's folder",
            'make one with "unseen deploy init"',
        )


def _with_path(folder: Path, error: Exception) -> str:
    text = str(error)
    return text if str(folder) in text else f"{folder}: {text}"


def _node_key(folder: Path) -> None:
    key = certificates.read_key(folder / layout.NODE_KEY)
    if key.curve.name != ec.SECP384R1.name:
        raise SettingsError(f"{folder / layout.NODE_KEY} is not a P-384 key")
    public = certificates.read_node_public(folder / layout.NODE_PUBLIC)
    if public != key.public_key():
        raise SettingsError(
            f"{folder / layout.NODE_KEY} is not the key of {layout.NODE_PUBLIC}"
        )


def _keys(folder: Path) -> KeySet:
    keys = KeySet.from_dict(read_json(folder / "keys.json"))
    keys.public_key.verify()
    if keys.purpose != DEPLOYMENT:
        raise SettingsError(
            f"{folder / 'keys.json'} holds {keys.purpose} keys, which protect nobody "
            f"on other machines"
        )
    return keys


def _run_of(folder: Path, keys: KeySet) -> tuple[Path, Manifest]:
    """Return the newest run and its manifest.

    Raises:
        SettingsError: If there is none, or it is under other keys.
    """
    run = records.newest_run(folder)
    manifest = Manifest.from_dict(read_json(run / layout.MANIFEST))
    if manifest.keys != keys:
        raise SettingsError(
            f"{run} is under keys {manifest.keys.fingerprint}, this folder has "
            f"{keys.fingerprint}: it comes from another deal",
        )
    return run, manifest


def _client_run(folder: Path, keys: KeySet) -> None:
    run, manifest = _run_of(folder, keys)
    records.read_task(run)
    read_policy(folder / "policy.toml").check(manifest)
    if (run / layout.SHARD).exists():
        load_shard(run / layout.SHARD)


def _server_run(folder: Path, keys: KeySet) -> None:
    run, manifest = _run_of(folder, keys)
    settings = records.read_run(run)
    if settings.checked()[1] != manifest.params:
        raise SettingsError(f"{run}: settings and manifest disagree")
    load_shard(run / layout.TEST)


def _same_authority(home: Path, party: Path) -> None:
    known = certificates.read_certificate(home / layout.CA_CERTIFICATE)
    if certificates.read_certificate(party / layout.CA_CERTIFICATE) != known:
        raise SettingsError(
            f"{party / layout.CA_CERTIFICATE} is of another deployment than {home}"
        )


def _shared_files(root: Path) -> Iterator[Finding]:
    """Compare what several parties must hold alike."""
    server, superlink = root / layout.SERVER, root / layout.SUPERLINK
    pairs = [(superlink / layout.SECRET, server / layout.SECRET)]
    for party in (server, *sorted(root.glob("client-*"))):
        pairs.append((root / "keys.json", party / "keys.json"))
    for party in sorted(root.glob("client-*")):
        public = server / layout.NODES / f"{party.name}.pub"
        pairs.append((party / layout.NODE_PUBLIC, public))
    for one, other in pairs:
        try:
            if one.read_bytes() != other.read_bytes():
                yield Finding(f"{one} and {other} differ")
        except OSError as error:
            yield Finding(f"cannot read {error.filename}: {error.strerror}")
