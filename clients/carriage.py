"""Bytes in and out of Flower messages, from the client's side.

Implements PROTOCOL.md section 8.1. What comes in has exactly one of two shapes, and is
measured before it is unpacked: the server could send anything.
"""

from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from crypto.errors import MalformedMessageError
from crypto.message import octets_of_array

RECORD: Final = "unseen"
BULK: Final = "unseen-bulk"
_INLINE_BYTES = 10_000_000  # above, Flower's chunked arrays carry bytes faster


def carry(kind: str, data: bytes) -> RecordDict:
    """Wrap bytes for Flower; few objects are fast, and large ones are chunked."""
    if len(data) <= _INLINE_BYTES:
        return RecordDict({RECORD: ConfigRecord({"kind": kind, "data": data})})
    bulk = ArrayRecord({"data": Array(np.frombuffer(data, dtype=np.uint8))})
    return RecordDict({RECORD: ConfigRecord({"kind": kind}), BULK: bulk})


def uncarry(message: Message) -> tuple[str, bytes]:
    """Unwrap what the server's `server.carriage` wrapped.

    Returns:
        The kind of the request, and its bytes.

    Raises:
        MalformedMessageError: If it is anything else.
    """
    if not message.has_content():
        raise MalformedMessageError
    content = dict(message.content)
    record, bulk = content.pop(RECORD, None), content.pop(BULK, None)
    if content or not isinstance(record, ConfigRecord):
        raise MalformedMessageError
    fields = dict(record)
    kind = fields.pop("kind", None)
    data = fields.pop("data", None) if bulk is None else _from_bulk(bulk)
    if fields or not isinstance(kind, str) or not isinstance(data, bytes):
        raise MalformedMessageError
    return kind, data


def _from_bulk(bulk: object) -> bytes:
    """Return the bytes of the one array of a bulk record."""
    if not isinstance(bulk, ArrayRecord) or set(bulk) != {"data"}:
        raise MalformedMessageError
    return octets_of_array(bulk["data"].data)
