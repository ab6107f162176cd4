"""Large uploads of a client, each in a file of its own beside the database.

A database stores megabytes page by page, with a journal of what they replace; a file
takes a tenth of the time. The database decides which file counts, by its digest. A
file is not forced to disk: a power cut may lose it, and with it the round for this
client, but never makes a second upload of it. Implements PROTOCOL.md section 9.
"""

import os
from hashlib import sha256
from pathlib import Path

from crypto.errors import RoundClosedError


class UploadFiles:
    """The files of one client; call `write` only while the database is locked.

    Args:
        folder: Where they lie; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self, run_id: bytes, server_round: int, phase: int, upload: bytes
    ) -> None:
        """Write an upload, in place of one that no row came to name."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(run_id, server_round, phase)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(upload)
        part.replace(path)

    def read(
        self, run_id: bytes, server_round: int, phase: int, digest: bytes
    ) -> bytes:
        """Return an upload as it was written.

        Raises:
            RoundClosedError: If it is gone or damaged: there is no second one.
        """
        try:
            upload = self._path(run_id, server_round, phase).read_bytes()
        except FileNotFoundError:
            upload = b""
        if sha256(upload).digest() != digest:
            raise RoundClosedError(f"the upload of round {server_round} is lost")
        return upload

    def forget_before(self, run_id: bytes, server_round: int, phase: int) -> None:
        """Remove the uploads of earlier rounds of a phase."""
        for path in self._folder.glob(f"{run_id.hex()}-{phase}-*"):
            if int(path.stem.rpartition("-")[2]) < server_round:
                path.unlink(missing_ok=True)

    def _path(self, run_id: bytes, server_round: int, phase: int) -> Path:
        return self._folder / f"{run_id.hex()}-{phase}-{server_round}.bin"
