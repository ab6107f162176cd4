"""What lies where in a deployment, and how its files are written.

    deploy/
        keys.json  deployment.json       public keys; what was asked for
        ca/         ca.crt ca.key        stays at home
        superlink/  tls.crt tls.key ca.crt superlink.secret state/
        server/     keys.json ca.crt superlink.secret nodes/client-N.pub runs/<run id>/
        client-N/   see clients/folder.py; and ca.crt node.key node.pub

Every party's folder can be carried to its machine as it is: it holds nothing of another
party, but for the secret that SuperLink and server share.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CA: Final = "ca"
SUPERLINK: Final = "superlink"
SERVER: Final = "server"
STATE: Final = "state"
NODES: Final = "nodes"
RUNS: Final = "runs"

CA_CERTIFICATE: Final = "ca.crt"
CA_KEY: Final = "ca.key"
TLS_CERTIFICATE: Final = "tls.crt"
TLS_KEY: Final = "tls.key"
NODE_KEY: Final = "node.key"
NODE_PUBLIC: Final = "node.pub"
SECRET: Final = "superlink.secret"  # noqa: S105 - the name of its file
FLOWER: Final = "flower"
DATABASE: Final = "superlink.sqlite"
DEPLOYMENT_FILE: Final = "deployment.json"
RUN_FILE: Final = "run.json"
MANIFEST: Final = "manifest.json"
SHARD: Final = "shard.npz"
TEST: Final = "test.npz"


def client_name(client_id: int) -> str:
    """Return the name of a client's folder, and of its node.

    Example:
        >>> client_name(3)
        'client-3'
    """
    return f"client-{client_id}"


def parties(root: Path) -> Iterator[Path]:
    """Yield the folders of a deployment that are carried to other machines."""
    yield from (root / SUPERLINK, root / SERVER)
    yield from sorted(root.glob("client-*"))


def keep_owner(party: Path) -> None:
    """Give what is in a party's folder to the folder's owner; only root has to."""
    if os.geteuid() != 0:
        return
    owner = party.stat()
    for path in (party, *party.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
