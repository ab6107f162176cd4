"""Attacks with bytes that make whoever reads them run out of memory or stack.

What is allocated while a message is refused stays in proportion to its bytes.
"""

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.supercore.task_identity import TaskIdentity
from numpy.lib import format as npy

import clients.carriage
import crypto.encoding
import server.carriage
from crypto.encoding import canon, decode, lp, u32
from crypto.errors import MalformedMessageError
from crypto.message import Message
from crypto.wire import Broadcast, OpenRequest
from tests.attack_table import Attack
from tests.message_exchange import encoded

GIB = 1 << 30
SMALL = 1 << 16  # bytes that any refusal may take
PER_BYTE = 128  # objects of Python per byte, at most


def with_field(data: bytes, name: str, raw: bytes) -> bytes:
    """Put any bytes in the place of a message's field."""
    values: Any = decode(data)
    fields = {key: canon(value) for key, value in values.items()} | {name: raw}
    body = b"".join(lp(key.encode()) + fields[key] for key in sorted(fields))
    return b"m" + u32(len(fields)) + body


def spoiled(raw: bytes) -> list[tuple[type[Message], bytes]]:
    """Return hostile bytes as a message, and in the place of every field of one."""
    return [
        (kind, bad)
        for kind, data in encoded()
        for bad in (raw, *(with_field(data, n, raw) for n in fields_of(data)))
    ]


def fields_of(data: bytes) -> list[str]:
    """Return the names of a message's fields."""
    values: Any = decode(data)
    return list(values)


def peak_of(read: Callable[[], object]) -> int:
    """Return the most bytes that are allocated at once while something is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessageError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.attack("a message nested thousands deep")
def test_deeply_nested_messages(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = b"l\0\0\0\1" * 10_000 + b"n"
    with monkeypatch.context() as off:
        off.setattr(crypto.encoding, "_MAX_DEPTH", GIB)
        with pytest.raises(RecursionError):
            decode(deep)
    attack.leaked("no data, but RecursionError escapes")

    for kind, data in spoiled(deep):
        assert peak_of(lambda: kind.from_bytes(data)) < SMALL + 4 * len(data)  # noqa: B023
    attack.stopped_by(MalformedMessageError)


# The start of an item that claims 4 GiB of bytes, or 4 thousand million items.
CLAIMS = [kind + b"\xff\xff\xff\xff" for kind in (b"s", b"y", b"i", b"l", b"m")]


def bulk_of(claimed: int) -> RecordDict:
    """Return a bulk record of one byte whose header claims so many."""
    stream = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (claimed,)}
    npy.write_array_header_1_0(stream, header)
    data = stream.getvalue() + b"x"
    array = Array(dtype="uint8", shape=(1,), stype="numpy.ndarray", data=data)
    record = ConfigRecord({"kind": "upload"})
    return RecordDict({"unseen": record, "unseen-bulk": ArrayRecord({"data": array})})


@pytest.mark.attack("a few bytes that claim gigabytes")
def test_hostile_counts_and_lengths(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    message = FlowerMessage(bulk_of(GIB), 1, "train")
    readers = [
        lambda: clients.carriage.uncarry(message),
        lambda: server.carriage.unwrap(message, "upload"),
    ]

    def trusting(bulk: Any) -> bytes:
        try:
            return bytes(bulk["data"].numpy())
        except ValueError:
            raise MalformedMessageError from None

    with monkeypatch.context() as off:
        off.setattr(clients.carriage, "_from_bulk", trusting)
        off.setattr(server.carriage, "_from_bulk", trusting)
        assert all(peak_of(read) > GIB for read in readers)
    attack.leaked("no data, but 200 bytes allocate a gigabyte")

    assert all(peak_of(read) < SMALL for read in readers)
    for claim in CLAIMS:
        for kind, data in spoiled(claim):
            peak = peak_of(lambda: kind.from_bytes(data))  # noqa: B023
            assert peak < SMALL + PER_BYTE * len(data)
    attack.stopped_by(MalformedMessageError)


# What takes the most memory for its bytes, and where a list of it is looked at.
ITEMS: list[Any] = [None, True, 0, 0.5, "", b"", [], {}, [[[]]], {"": {}}]
LISTS: list[tuple[type[Message], str]] = [
    (Broadcast, "arrays"),
    (Broadcast, "metrics"),
    (OpenRequest, "entries"),
]


@pytest.mark.parametrize("item", ITEMS, ids=repr)
def test_memory_stays_in_proportion_to_a_message(item: Any) -> None:
    many, whole = canon([item] * 2000), dict(encoded())
    for kind, name in LISTS:
        data = with_field(whole[kind], name, many)
        tracemalloc.start()
        with suppress(MalformedMessageError):
            kind.from_bytes(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < SMALL + PER_BYTE * len(data)
