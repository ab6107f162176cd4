"""Bytes in and out of Flower messages, from the server's side.

What comes in has exactly one of two shapes, and is measured before it is unpacked: a
client could send anything. Implements PROTOCOL.md section 8.1.
"""

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from crypto.errors import ERROR_NAMES, MalformedMessageError
from crypto.message import octets_of_array
from server.errors import ClientError

RECORD = "unseen"
BULK = "unseen-bulk"
_INLINE_BYTES = 10_000_000  # above, Flower's chunked arrays carry bytes faster


def messages(
    kind: str,
    data: bytes,
    nodes: Mapping[int, int],
    *,
    message_type: str,
    group: str,
    ttl: float,
) -> list[Message]:
    """Address the same bytes to several nodes.

    Args:
        kind: What the mod should do: ``hello``, ``round``, ``open`` or ``prove``.
        data: The encoded message.
        nodes: Client id to node id.
        message_type: Flower's type; the mod sees only registered ones.
        group: The round, as Flower groups messages.
        ttl: Seconds after which nobody waits for the answer.
    """
    record = ConfigRecord({"kind": kind, "data": data})
    content = RecordDict({RECORD: record})
    if len(data) > _INLINE_BYTES:
        bulk = ArrayRecord({"data": Array(np.frombuffer(data, dtype=np.uint8))})
        content = RecordDict({RECORD: ConfigRecord({"kind": kind}), BULK: bulk})
    return [
        Message(content, node, message_type, group_id=group, ttl=ttl)
        for node in nodes.values()
    ]


def unwrap(reply: Message, kind: str) -> bytes:
    """Take the bytes out of a client's answer.

    Args:
        reply: The answer.
        kind: What it must be: ``hello``, ``upload``, ``partial`` or ``proof``.

    Raises:
        ClientError: If the client answered with an error.
        MalformedMessageError: If it holds anything but one of the mod's answers.
    """
    if reply.has_error():
        raise ClientError(f"NodeError{reply.error.code}")
    content = dict(reply.content)
    record, bulk = content.pop(RECORD, None), content.pop(BULK, None)
    if content or not isinstance(record, ConfigRecord):
        raise MalformedMessageError
    fields = dict(record)
    found = fields.pop("kind", None)
    data = fields.pop("data", None) if bulk is None else _from_bulk(bulk)
    if fields or not isinstance(data, bytes):
        raise MalformedMessageError
    if found == "error":
        name = data.decode(errors="replace")
        # One of our class names and nothing else: the text ends up on a terminal.
        raise ClientError(name if name in ERROR_NAMES else "UnnamedError")
    if found != kind:
        raise MalformedMessageError
    return data


def _from_bulk(bulk: object) -> bytes:
    """Return the bytes of the one array of a bulk record."""
    if not isinstance(bulk, ArrayRecord) or set(bulk) != {"data"}:
        raise MalformedMessageError
    return octets_of_array(bulk["data"].data)
