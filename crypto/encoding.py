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

_MAX_DEPTH = 8  # deeper than any message of the protocol
_MAX_ITEMS = 1 << 17  # in all lists and maps of a message


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
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Canonical, parts: list[bytes]) -> None:
    """Append an encoding in parts: long byte strings are copied once, when joined."""
    scalar = _canon_scalar(value)
    if scalar is not None:
        parts.append(scalar)
    elif isinstance(value, bytes):
        parts += (b"y" + u32(len(value)), value)
    elif isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("no canonical encoding for a key that is not a string")
        parts.append(b"m" + u32(len(value)))
        for key, item in sorted((key.encode(), item) for key, item in value.items()):
            parts.append(lp(key))
            _write(item, parts)
    elif isinstance(value, Sequence) and not isinstance(value, bytearray | memoryview):
        parts.append(b"l" + u32(len(value)))
        for item in value:
            _write(item, parts)
    else:
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
    if not reader.is_done:
        raise MalformedMessageError
    return value


class _Reader:
    """A cursor over untrusted bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._items_left = _MAX_ITEMS

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

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
            return self._map(depth)
        if kind == b"l":
            return [self.item(depth + 1) for _ in range(self.count())]
        if kind == b"y":
            return self.lp()
        return self._scalar(kind)

    def _map(self, depth: int) -> Canonical:
        items = [(self.lp(), self.item(depth + 1)) for _ in range(self.count())]
        keys = [key for key, _ in items]
        if keys != sorted(set(keys)):
            raise MalformedMessageError
        return {key.decode(): item for key, item in items}

    def _scalar(self, kind: bytes) -> Canonical:
        start = self._at
        value = self._value(kind)
        # Covers leading zeros, booleans of 2 and whatever else has two encodings.
        if _canon_scalar(value) != kind + self._data[start : self._at]:
            raise MalformedMessageError
        return value

    def _value(self, kind: bytes) -> bool | int | float | str | None:
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
        raise MalformedMessageError

    @staticmethod
    def _short(digits: bytes) -> str:
        if len(digits) > 20:  # noqa: PLR2004 - the digits of a signed 64-bit integer
            raise MalformedMessageError
        return digits.decode()
