"""Integers of k bits side by side, without padding: the wire form of the bulk part.

Bit i of integer c is bit ``c*k + i`` of the bytes, least significant first. Eight
integers take k bytes, so integer ``8*g + i`` starts at bit ``i*k mod 8`` of byte
``g*k + i*k // 8``, for every group g alike: one strided view of 64-bit words per i
reads or writes them all. Implements PROTOCOL.md section 4.5.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crypto.errors import MalformedMessageError

_GROUP = 8
_CHUNK = 1 << 14  # groups at once: what is touched stays in the processor's cache

Words = NDArray[np.uint64]


def packed_size(count: int, bits: int) -> int:
    """Return the bytes of `count` integers, a multiple of 8, of `bits` bits."""
    return count * bits // 8


def pack_bits(values: Words, bits: int) -> bytes:
    """Write integers in ``[0, 2**bits)`` side by side.

    Args:
        values: Shape (count,), count a multiple of 8.
        bits: 8 to 57, so that a shifted integer still lies in one 64-bit word.
    """
    columns = values.reshape(-1, _GROUP)
    buffer = np.zeros(packed_size(len(values), bits) + 8, dtype=np.uint8)
    for start in range(0, len(columns), _CHUNK):
        rows = columns[start : start + _CHUNK]
        for i, view, shift in _places(buffer, start, len(rows), bits):
            np.bitwise_or(view, rows[:, i] << shift, out=view)
    return buffer[:-8].tobytes()


def unpack_bits(packed: bytes, count: int, bits: int) -> Words:
    """Read packed integers.

    Raises:
        MalformedMessageError: If there are more or fewer.
    """
    single = BitSum(count, bits)
    single.add(packed)
    return single.total()


class BitSum:
    """A sum of vectors of k-bit integers mod 2**k, added in place from packed bytes.

    Args:
        count: Integers in the vector, a multiple of 8.
        bits: 8 to 57.
    """

    def __init__(self, count: int, bits: int) -> None:
        self._bits = bits
        # One row per place in a group. What is above k bits is cut off at the end.
        self._rows = np.zeros((_GROUP, count // _GROUP), dtype=np.uint64)
        self._room = np.empty(_CHUNK, dtype=np.uint64)

    def add(self, packed: bytes) -> None:
        """Add one packed vector.

        Raises:
            MalformedMessageError: If it does not have the vector's size.
        """
        if len(packed) != packed_size(self._rows.size, self._bits):
            raise MalformedMessageError
        last = self._rows.shape[1] - 1
        body = np.frombuffer(packed, dtype=np.uint8)
        for start in range(0, last, _CHUNK):
            self._add(body, start, min(_CHUNK, last - start), at=start)
        # The words of the last group would reach over the end.
        tail = np.frombuffer(packed[-self._bits :] + bytes(8), dtype=np.uint8)
        self._add(tail, 0, 1, at=last)

    def total(self) -> Words:
        """Return the sum, shape (count,), in ``[0, 2**bits)``."""
        return (self._rows.T & np.uint64((1 << self._bits) - 1)).reshape(-1)

    def _add(
        self, buffer: NDArray[np.uint8], start: int, size: int, *, at: int
    ) -> None:
        room = self._room[:size]
        for i, view, shift in _places(buffer, start, size, self._bits):
            np.right_shift(view, shift, out=room)
            self._rows[i, at : at + size] += room


def _places(
    buffer: NDArray[np.uint8], start: int, size: int, bits: int
) -> Iterator[tuple[int, Words, np.uint64]]:
    """Yield the words that hold place i of these groups, and the shift inside them."""
    for i in range(_GROUP):
        offset = start * bits + i * bits // 8
        view: Words = np.ndarray(
            (size,), dtype="<u8", buffer=buffer.data, offset=offset, strides=(bits,)
        )
        yield i, view, np.uint64(i * bits % 8)
