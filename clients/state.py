"""A client's durable memory: what it uploaded and which sums it helped to open.

One SQLite file next to the key share, committed to disk before anything leaves, and a
folder beside it for large uploads. It belongs to the share: the same share with an
empty table would open rounds twice.
Implements PROTOCOL.md section 9.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from clients.uploads import UploadFiles
from crypto.errors import KeyMismatchError, RoundClosedError, SecondSetError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS served (
    key_id BLOB, run_id BLOB, round INTEGER, phase INTEGER,
    set_digest BLOB NOT NULL, contributors TEXT NOT NULL,
    response_digest BLOB NOT NULL, response BLOB NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (key_id, run_id, round, phase)
);
CREATE TABLE IF NOT EXISTS uploads (
    run_id BLOB, round INTEGER, phase INTEGER,
    context BLOB NOT NULL, upload_digest BLOB, upload BLOB,
    PRIMARY KEY (run_id, round, phase)
);
"""


_LARGE_BYTES = 1 << 20  # an upload of more is kept in a file; its row has none


class ClientState:
    """Reads and commits; safe to use from several threads and processes.

    Args:
        path: The database file, made by `create`.

    Raises:
        KeyMismatchError: If it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = UploadFiles(path.with_name(f"{path.name}-uploads"))
        if not path.is_file():
            raise KeyMismatchError(
                f"{path} is missing: without it this client could open a round twice; "
                f"restore it, or create new keys"
            )

    @classmethod
    def create(cls, path: Path) -> "ClientState":
        """Make an empty memory for a new share; keep one that is there."""
        path.touch(mode=0o600, exist_ok=True)
        state = cls(path)
        with state._transaction() as database:
            database.executescript(_SCHEMA)
        return state

    def served(
        self, key_id: bytes, run_id: bytes, server_round: int, phase: int
    ) -> tuple[bytes, bytes] | None:
        """Return set digest and response recorded for a round, if any."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT set_digest, response FROM served "
                "WHERE key_id = ? AND run_id = ? AND round = ? AND phase = ?",
                (key_id, run_id, server_round, phase),
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def high_water(self, key_id: bytes, run_id: bytes, phase: int) -> int:
        """Return the highest round opened in a phase, 0 if none."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT max(round) FROM served "
                "WHERE key_id = ? AND run_id = ? AND phase = ?",
                (key_id, run_id, phase),
            ).fetchone()
        return int(row[0] or 0)

    def contributors(
        self, key_id: bytes, run_id: bytes, phase: int
    ) -> list[frozenset[int]]:
        """Return whose updates were in each sum opened in a phase of a run."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT DISTINCT contributors FROM served "
                "WHERE key_id = ? AND run_id = ? AND phase = ?",
                (key_id, run_id, phase),
            ).fetchall()
        return [frozenset(json.loads(ids)) for (ids,) in rows]

    def record(
        self,
        key_id: bytes,
        run_id: bytes,
        server_round: int,
        phase: int,
        *,
        digest: bytes,
        contributors: Collection[int],
        response: bytes,
    ) -> None:
        """Commit the set that is opened in a round, before the answer leaves.

        Raises:
            SecondSetError: If another request was recorded meanwhile.
        """
        ids, checksum = json.dumps(list(contributors)), sha256(response).digest()
        row = (key_id, run_id, server_round, phase, digest, ids, checksum, response)
        try:
            with self._transaction() as database:
                database.execute(
                    "INSERT INTO served VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, time.time()),
                )
        except sqlite3.IntegrityError:
            known = self.served(key_id, run_id, server_round, phase)
            if known != (digest, response):
                raise SecondSetError(
                    f"round {server_round} phase {phase}: another set was opened"
                ) from None

    def begin_upload(
        self, run_id: bytes, server_round: int, phase: int, context: bytes
    ) -> bytes | None:
        """Claim a round before training for it.

        Returns:
            The upload that was sent for this context already, to be sent again as
            the same bytes; None if there is none.

        Raises:
            RoundClosedError: If the round was used for another context, or is older
                than the newest one of its phase.
        """
        with self._transaction() as database:
            database.execute("BEGIN IMMEDIATE")  # read and claim in one step
            newest = database.execute(
                "SELECT max(round) FROM uploads WHERE run_id = ? AND phase = ?",
                (run_id, phase),
            ).fetchone()[0]
            if newest is not None and newest > server_round:
                raise RoundClosedError(f"round {server_round} is over for this client")
            database.execute(
                "INSERT OR IGNORE INTO uploads VALUES (?, ?, ?, ?, NULL, NULL)",
                (run_id, server_round, phase, context),
            )
            row = database.execute(
                "SELECT context, upload_digest, upload FROM uploads "
                "WHERE run_id = ? AND round = ? AND phase = ?",
                (run_id, server_round, phase),
            ).fetchone()
        used_for, digest, upload = row
        if used_for != context:
            raise RoundClosedError(
                f"round {server_round} phase {phase} was used for another context"
            )
        if upload == b"":
            return self._files.read(run_id, server_round, phase, digest)
        return bytes(upload) if upload else None

    def finish_upload(
        self, run_id: bytes, server_round: int, phase: int, upload: bytes
    ) -> None:
        """Commit an upload before it leaves, and forget the one before it.

        Raises:
            RoundClosedError: If this round was uploaded meanwhile.
        """
        key, is_large = (run_id, server_round, phase), len(upload) > _LARGE_BYTES
        with self._transaction() as database:
            database.execute("BEGIN IMMEDIATE")  # nobody else writes the file
            row = (sha256(upload).digest(), b"" if is_large else upload)
            changed = database.execute(
                "UPDATE uploads SET upload_digest = ?, upload = ? WHERE run_id = ? "
                "AND round = ? AND phase = ? AND upload IS NULL",
                (*row, *key),
            ).rowcount
            if changed != 1:
                raise RoundClosedError(f"round {server_round} was uploaded already")
            if is_large:
                self._files.write(*key, upload)
            database.execute(
                "UPDATE uploads SET upload = x'' "
                "WHERE run_id = ? AND phase = ? AND round < ?",
                (run_id, phase, server_round),
            )
        self._files.forget_before(*key)

    def upload_context(
        self, run_id: bytes, server_round: int, phase: int
    ) -> bytes | None:
        """Return the context this client uploaded for in a round, if it did."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT context FROM uploads "
                "WHERE run_id = ? AND round = ? AND phase = ?",
                (run_id, server_round, phase),
            ).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database:
            # FULL would not sync the journal's removal: a power cut could undo it.
            database.execute("PRAGMA synchronous = EXTRA")
            with database:
                yield database
