"""Bytes in and out of Flower messages, from the server's side."""

import re
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from crypto.errors import MalformedMessageError
from server.errors import ClientError

RECORD = "unseen"
BULK = "unseen-bulk"
_CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
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
        kind: What the mod should do: ``hello``, ``round`` or ``open``.
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


def unwrap(reply: Message) -> bytes:
    """Take the bytes out of a client's answer.

    Raises:
        ClientError: If the client answered with an error.
        MalformedMessageError: If the answer is not one of the mod's.
    """
    if reply.has_error():
        raise ClientError(f"NodeError{reply.error.code}")
    try:
        record = reply.content.config_records[RECORD]
        kind, data = record["kind"], record.get("data")
        if BULK in reply.content.array_records:
            data = reply.content.array_records[BULK]["data"].numpy().tobytes()
    except Exception:  # whatever a hostile client makes of its records
        raise MalformedMessageError from None
    if not isinstance(data, bytes):
        raise MalformedMessageError
    if kind == "error":
        name = data.decode(errors="replace")
        # A class name and nothing else: the text ends up on a terminal.
        raise ClientError(name if _CLASS_NAME.fullmatch(name) else "UnnamedError")
    return data


def error_name(error: Exception) -> str:
    """Name an error for the log: the client's own, or the server's class."""
    return str(error) if isinstance(error, ClientError) else type(error).__name__
