"""Keeps every message that the server sends or receives, as bytes, for an audit.

    RUN/record/
        manifest.json          the run's keys and parameters, all of them public
        run.json               run id, run configuration, protocol and code
        index.jsonl            one line per message, in the order of their numbers
        000001-sent.bin ...    the message: `message_bytes`

The seam is the grid, the only way in or out of a ServerApp. A `.bin` file is complete:
what is still being written ends in `.part`.
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from crypto.encoding import Canonical, canon
from crypto.manifest import Manifest
from crypto.provenance import PROTOCOL, code_digest
from server.errors import RunError
from server.grid import FastGrid, Replies

FORMAT: Final = "unseen-record/1"
RECEIVED: Final = "received"
SENT: Final = "sent"
_INTEGERS: Final = 1 << 64
METADATA: Final = (
    "run_id",
    "message_id",
    "src_node_id",
    "dst_node_id",
    "src_task_id",
    "dst_task_id",
    "reply_to_message_id",
    "group_id",
    "created_at",
    "delivered_at",
    "ttl",
    "message_type",
)


class Recorder:
    """Writes messages into a new folder; safe to use from several threads.

    Args:
        folder: The folder to make.
        manifest: The run's keys and parameters.
        run_id: 16 bytes.
        run_config: The run configuration as the clients' apps read it.

    Raises:
        RunError: If the folder is there already or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        manifest: Manifest,
        run_id: bytes,
        run_config: Mapping[str, Canonical],
    ) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._number = 0
        facts = {
            "format": FORMAT,
            "run_id": run_id.hex(),
            "run_config": dict(run_config),
            "protocol": PROTOCOL,
            "code": code_digest(),
        }
        try:
            folder.mkdir(mode=0o700)
            _append(folder / "manifest.json", _json(manifest.to_dict()))
            _append(folder / "run.json", _json(facts))
            _append(folder / "index.jsonl", b"")
        except OSError as error:
            raise RunError(
                f"cannot record the run in {folder}: {error.strerror}",
                "choose another run folder, or run without --record",
            ) from None

    def keep(self, direction: str, message: Message) -> None:
        """Write one message.

        Args:
            direction: `SENT` or `RECEIVED`.
            message: With its final metadata.

        Raises:
            RunError: If the disk takes no more, or it is no message of Flower's.
        """
        with self._lock:
            number = self._number + 1
            try:
                self._write(number, direction, message)
            except (OSError, TypeError, ValueError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise RunError(
                    f"cannot record message {number} of the run: {reason}",
                    f"make room at {self._folder}, or run without --record",
                ) from error
            self._number = number

    def _write(self, number: int, direction: str, message: Message) -> None:
        data = message_bytes(message)
        path = self._folder / f"{number:06d}-{direction}.bin"
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        _append(part, data)
        part.rename(path)
        head = {"number": number, "direction": direction, "time": time.time()}
        tail = {
            "file": path.name,
            "size": len(data),
            "sha256": sha256(data).hexdigest(),
        }
        line = head | _described(message, direction) | tail
        _append(self._folder / "index.jsonl", _json(line))


class RecordingGrid(FastGrid):
    """A grid that keeps what passes, whichever way it is used."""

    def __init__(self, grid: Grid, recorder: Recorder) -> None:
        super().__init__(grid)
        self._recorder = recorder

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages and keep them."""
        batch = list(messages)
        try:
            return list(super().push_messages(batch))
        finally:
            # Afterwards, since it gives them their ids; and also when it fails, since
            # some of them may have left.
            for message in batch:
                self._recorder.keep(SENT, message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Fetch replies and keep them before anybody reads them."""
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            self._recorder.keep(RECEIVED, reply)
        return replies

    def push(self, messages: Iterable[Message]) -> list[str]:
        """Send messages through this grid, not past it to the one underneath."""
        return FastGrid(self).push(messages)

    def collect(self, message_ids: Iterable[str], *, deadline: float | None) -> Replies:
        """Collect replies through this grid, not past it."""
        return FastGrid(self).collect(message_ids, deadline=deadline)


def message_bytes(message: Message) -> bytes:
    """Encode a whole message: metadata, error, and every record whatever it is.

    ``canon`` of `metadata` (the fields of `METADATA` and `object_id`, Flower's hash of
    the content as it was read), `error` (None or code and reason) and `content` (None
    or a list of name, type and items). A value of an array record is its dtype, stype,
    shape and serialised bytes.
    """
    metadata = {name: _value(getattr(message.metadata, name)) for name in METADATA}
    error = content = None
    if message.has_error():
        error = [message.error.code, _value(message.error.reason)]
    if message.has_content():
        content = [
            [_value(name), *_record(record)] for name, record in message.content.items()
        ]
    return canon(
        {
            "metadata": metadata | {"object_id": message.object_id},
            "error": error,
            "content": content,
        }
    )


def _record(record: ArrayRecord | ConfigRecord | MetricRecord) -> list[Canonical]:
    if isinstance(record, ArrayRecord):
        arrays = [
            [
                _value(name),
                [
                    _value(a.dtype),
                    _value(a.stype),
                    _value(list(a.shape)),
                    bytes(a.data),
                ],
            ]
            for name, a in record.items()
        ]
        return ["array", arrays]
    kind = "config" if isinstance(record, ConfigRecord) else "metric"
    return [kind, [[_value(name), _value(value)] for name, value in record.items()]]


def _value(value: Any) -> Canonical:
    """Return a value that has an encoding: not every one from outside has.

    Texts with half a surrogate pair and integers beyond 64 bits, which no honest
    message contains, become bytes.
    """
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, int) and abs(value) >= _INTEGERS:
        return f"{value:x}".encode()
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="surrogatepass")
    return value  # type: ignore[no-any-return] # Flower allows no other types


def _described(message: Message, direction: str) -> dict[str, Any]:
    """Return what people look for in the index."""
    metadata = message.metadata
    is_sent = direction == SENT
    error = message.error if message.has_error() else None
    return {
        "node": metadata.dst_node_id if is_sent else metadata.src_node_id,
        "message_id": metadata.message_id,
        "reply_to": metadata.reply_to_message_id,
        "type": metadata.message_type,
        "group": metadata.group_id,
        "ttl": metadata.ttl,
        "created_at": metadata.created_at,
        "error": {"code": error.code, "reason": error.reason} if error else None,
    }


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _append(path: Path, data: bytes) -> None:
    """Add bytes to a file that only its owner can read."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
