"""Looks for secrets in every layer of an image, deleted files included."""

import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from tests.containers.engine import DOCKER

# A key with its content, in PEM or OpenSSH's format; a mere header is a library's code.
_PEM = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\s|\\n)+[A-Za-z0-9+/]{40}[A-Za-z0-9+/=\s]*"
)
_PEM_MARK = b"PRIVATE KEY-----"
_SECRET_NAMES = ("identity.json", "keys.json", "policy.toml", "share.json")
_SECRET_SUFFIXES = (".key", ".npz", ".secret", ".sqlite")
_INSTALLED = "site-packages"  # libraries bring data files of their own
_SECRET_JSON = ("identity.json", "share.json")
_TAR_MAGIC_AT = 257


def secrets_of(deployment: Path) -> dict[str, bytes]:
    """Return what may not be found: a telling part of each secret file, by its path."""
    found = {}
    for path in sorted(deployment.rglob("*")):
        name = path.relative_to(deployment).as_posix()
        if path.suffix == ".key":
            lines = path.read_bytes().splitlines()[1:-1]
            found[name] = lines[len(lines) // 2]
        elif path.name in _SECRET_JSON:
            values = json.loads(path.read_bytes()).values()
            longest = max(
                (value for value in values if isinstance(value, str)), key=len
            )
            found[name] = longest[-64:].encode()
        elif path.suffix == ".secret":
            found[name] = path.read_bytes().strip()
    return found


def search(image: str, secrets: Mapping[str, bytes]) -> tuple[list[str], int]:
    """Search all that `docker save` writes.

    Args:
        image: Its name.
        secrets: What may not be found, by name.

    Returns:
        What was found, and the size of the saved image in bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "image.tar"
        subprocess.run(
            [DOCKER, "save", "--output", str(saved), image], check=True, timeout=300
        )
        size = saved.stat().st_size
        with tarfile.open(saved) as archive:
            return list(_search_archive(archive, secrets)), size


def _search_archive(
    archive: tarfile.TarFile, secrets: Mapping[str, bytes]
) -> Iterator[str]:
    """Search an image: a file for each layer, and JSON about them."""
    for member, content in _files(archive):
        if not _is_archive(content):
            yield from _search_file(member.name, content.read(), secrets)
            continue
        with tarfile.open(fileobj=content) as layer:
            for inner, inside in _files(layer):
                yield from _search_file(inner.name, inside.read(), secrets)


def _files(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            yield member, content


def _is_archive(content: IO[bytes]) -> bool:
    head = content.read(_TAR_MAGIC_AT + 5)
    content.seek(0)
    return head[_TAR_MAGIC_AT:] == b"ustar" or head[:2] == b"\x1f\x8b"


def _search_file(
    name: str, content: bytes, secrets: Mapping[str, bytes]
) -> Iterator[str]:
    path = PurePosixPath(name)
    is_named_so = path.name in _SECRET_NAMES or path.suffix in _SECRET_SUFFIXES
    if is_named_so and _INSTALLED not in path.parts:
        yield f"{name} has the name of a secret"
    if _PEM_MARK in content and _PEM.search(content):
        yield f"{name} holds a private key"
    for secret, part in secrets.items():
        if part in content:
            yield f"{name} holds a part of {secret}"
