"""One injective encoding for everything that is hashed, signed or sent.

Implements `lp` and `canon` of PROTOCOL.md section 1.1. JSON would not do: it writes
1 and 1.0, or 1e-05 and 0.00001, in several ways. Integers of a stated width are
big-endian. `decode` accepts exactly what `canon` writes and nothing else.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

from crypto.errors import MalformedMessageError

Canonical: TypeAlias = Union[
    bool,
    int,
    float,
    str,
    bytes,
    "Sequence[Canonical]",
    "Mapping[str, Canonical]",
    None,
]

_MAX_DEPTH = 8
_MAX_ITEMS = (
    1 << 17
)  # in all lists and maps of a message  # deeper than any message of the protocol


def u8(value: int) -> bytes:
    """Encode an integer in ``[0, 2**8)``."""
    return value.to_bytes(1, "big")


def u32(value: int) -> bytes:
    """Encode an integer in ``[0, 2**32)``."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Encode an integer in ``[0, 2**64)``."""
    return value.to_bytes(8, "big")


def lp(data: bytes) -> bytes:
    """Prefix bytes with their length as 32 bits."""
    return u32(len(data)) + data


def canon(value: Canonical) -> bytes:
    """Encode a value so that different values never share their bytes.

    Args:
        value: None, bool, int, float, str, bytes, or lists and string-keyed maps
            of these. The type counts: ``1``, ``1.0``, ``True`` and ``"1"`` differ.

    Raises:
        TypeError: For any other type.

    Example:
        >>> canon([1, 1.0]) == canon([1, 1])
        False
        >>> canon({"b": 1, "a": 2}) == canon({"a": 2, "b": 1})
        True
    """
    scalar = _canon_scalar(value)
    if scalar is not None:
        return scalar
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("no canonical encoding for a key that is not a string")
        items = sorted((key.encode(), item) for key, item in value.items())
        body = b"".join(lp(key) + canon(item) for key, item in items)
        return b"m" + u32(len(items)) + body
    if isinstance(value, Sequence) and not isinstance(value, bytearray | memoryview):
        return b"l" + u32(len(value)) + b"".join(canon(item) for item in value)
    raise TypeError(f"no canonical encoding for {type(value).__name__}")


def _canon_scalar(value: Canonical) -> bytes | None:
    if isinstance(value, bool):  # before int: bool is an int
        return b"b" + u8(value)
    if isinstance(value, int):
        return b"i" + lp(str(value).encode())
    if isinstance(value, float):
        return b"f" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"s" + lp(value.encode())
    if isinstance(value, bytes):
        return b"y" + lp(value)
    return b"n" if value is None else None


def decode(data: bytes) -> Canonical:
    """Read back what `canon` wrote.

    Args:
        data: Untrusted bytes. Time and memory stay linear in their length, and the
            number of items is bounded.

    Raises:
        MalformedMessageError: For anything that `canon` does not write.
    """
    reader = _Reader(data)
    try:
        value = reader.item(0)
    except (ValueError, IndexError, struct.error):
        raise MalformedMessageError from None
    # Covers trailing bytes, unsorted or double keys, leading zeros and booleans of 2.
    if canon(value) != data:
        raise MalformedMessageError
    return value


class _Reader:
    """A cursor over untrusted bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._items_left = _MAX_ITEMS

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise MalformedMessageError
        self._at += size
        return self._data[self._at - size : self._at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def count(self) -> int:
        count = self.u32()
        self._items_left -= count
        # An item takes at least one byte, and a hundred of them once it is read.
        if count > len(self._data) - self._at or self._items_left < 0:
            raise MalformedMessageError
        return count

    def lp(self) -> bytes:
        return self.take(self.u32())

    def item(self, depth: int) -> Canonical:
        if depth > _MAX_DEPTH:
            raise MalformedMessageError
        kind = self.take(1)
        if kind == b"m":
            return {
                self.lp().decode(): self.item(depth + 1) for _ in range(self.count())
            }
        if kind == b"l":
            return [self.item(depth + 1) for _ in range(self.count())]
        return self._scalar(kind)

    def _scalar(self, kind: bytes) -> Canonical:
        if kind == b"n":
            return None
        if kind == b"b":
            return bool(self.take(1)[0])
        if kind == b"i":
            return int(self._short(self.lp()))
        if kind == b"f":
            return float(struct.unpack(">d", self.take(8))[0])
        if kind == b"s":
            return self.lp().decode()
        if kind == b"y":
            return self.lp()
        raise MalformedMessageError

    @staticmethod
    def _short(digits: bytes) -> str:
        if len(digits) > 20:  # noqa: PLR2004 - the digits of a signed 64-bit integer
            raise MalformedMessageError
        return digits.decode()
