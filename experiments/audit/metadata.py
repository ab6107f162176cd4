"""Flower's own arithmetic: what the metadata of a reply must be, given its request.

A client writes them itself, inside the message; the SuperLink compares a copy only.
Whatever does not follow from the request could carry something.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from experiments.audit.transcript import Parsed

# Clocks of different machines differ; a message cannot come from further away in time.
CLOCK_SECONDS: Final = 60.0

_SUPERLINK: Final = 1  # Flower's node id of the SuperLink
_UNAVAILABLE: Final = 3
# What Flower 1.41 itself answers with, by error code: an expired message, an expired
# reply, and a node that is gone.
FLOWER_TEXTS: Final[Mapping[int, str]] = {
    3: (
        "Error: Message Unavailable - The requested message could not be found in the "
        "database. It may have expired due to its TTL, been deleted because the "
        "destination SuperNode was removed from the federation, or never existed."
    ),
    4: "Error: Reply Message Unavailable - The reply message has expired.",
    5: (
        "Error: Node Unavailable \N{EM DASH} The destination node failed to report a "
        "heartbeat within 2 \N{MULTIPLICATION SIGN} its expected interval."
    ),
}
# Made by the server's own grid when a client went away in the middle of an upload.
_CUT_OFF = re.compile(
    r"Reply message objects are unavailable\. The sender may not have completed the "
    r"upload before the object-push session expired\. Failed to pull object with ID "
    r"'[0-9a-f]{64}': (the object could not be found\.|timeout or retry limit reached)"
)

Values = Mapping[str, object]


def metadata_problems(parsed: Parsed) -> Iterator[str]:
    """Yield what in an answer's metadata does not follow from its request.

    Type and group are the request's, sender and receiver change places, the id is the
    hash of the content, and `ttl` is what is left of the request's, computed as
    ``request.created_at + request.ttl - created_at``, so that it is the same float.
    Free is `created_at`, in microseconds of the sender's clock.
    """
    item, metadata = parsed.item, parsed.item.metadata
    if parsed.request is None:
        yield "answers nothing that the server asked"
        return
    request = parsed.request.item.metadata
    expected = _superlinks if is_flowers_own(parsed) else _mirrored
    for name, values in expected(metadata, request).items():
        if not any(_same(metadata[name], value) for value in values):
            yield f"its {name} is not what Flower makes of the request's"
    created, asked = metadata["created_at"], request["created_at"]
    if not isinstance(created, float) or not isinstance(asked, float):
        yield "its created_at is no time"
    elif not asked - CLOCK_SECONDS <= created <= item.time + CLOCK_SECONDS:
        yield "its created_at is no time at which it can have been made"
    elif created != round(created, 6):
        yield "its created_at is finer than Flower's clock"


def is_flowers_own(parsed: Parsed) -> bool:
    """Whether Flower itself answered, in its own words, since no client did.

    A client can write the SuperLink's node id into its message, so the words count:
    they are fixed, or of the server's own grid, which gives its errors no id.
    """
    item = parsed.item
    nodes = (item.metadata["src_node_id"], item.metadata["dst_node_id"])
    if item.error is None or nodes != (_SUPERLINK, _SUPERLINK):
        return False
    code, reason = item.error
    if not isinstance(code, int) or not isinstance(reason, str):
        return False
    is_local = item.metadata["message_id"] == "" and code == _UNAVAILABLE
    is_cut_off = is_local and _CUT_OFF.fullmatch(reason) is not None
    return is_cut_off or reason == FLOWER_TEXTS.get(code)


def _mirrored(metadata: Values, request: Values) -> dict[str, tuple[object, ...]]:
    """Return what a reply's metadata can be, as `flwr.app.Message` makes them."""
    created, asked, ttl = _numbers(metadata, request)
    return {
        "run_id": (request["run_id"],),
        # Empty where a grid gives replies no id.
        "message_id": (metadata["object_id"], ""),
        "src_node_id": (request["dst_node_id"],),
        "dst_node_id": (request["src_node_id"],),
        "src_task_id": (request["dst_task_id"],),
        "dst_task_id": (request["src_task_id"],),
        "group_id": (request["group_id"],),
        "message_type": (request["message_type"],),
        "delivered_at": ("",),
        "ttl": (asked + ttl - created,),
    }


def _superlinks(metadata: Values, request: Values) -> dict[str, tuple[object, ...]]:
    """Return what the metadata of the SuperLink's own errors can be."""
    created, asked, ttl = _numbers(metadata, request)
    return {
        "run_id": (request["run_id"],),
        "message_id": (metadata["object_id"], ""),
        "src_task_id": (request["dst_task_id"], None),
        "dst_task_id": (request["src_task_id"], None),
        "group_id": (request["group_id"], ""),
        "message_type": (request["message_type"], "system"),
        "delivered_at": ("",),
        "ttl": (max(ttl - (created - asked), 0), 0),
    }


def _numbers(metadata: Values, request: Values) -> tuple[float, float, float]:
    values = (metadata["created_at"], request["created_at"], request["ttl"])
    created, asked, ttl = (v if isinstance(v, float) else 0.0 for v in values)
    return created, asked, ttl


def _same(value: object, expected: object) -> bool:
    """Compare numbers as numbers, but a truth value only with one."""
    return isinstance(value, bool) == isinstance(expected, bool) and value == expected
