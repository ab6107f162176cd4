"""Integers of k bits side by side, without padding: the wire form of the bulk part.

Bit i of integer c is bit ``c*k + i`` of the bytes, least significant first. Eight
integers take k bytes, so integer ``8*g + i`` lies in the same 64-bit word of its group
for every group g: one strided view of words per i reads or writes them all.
Implements PROTOCOL.md section 4.5.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crypto.errors import MalformedMessageError

_GROUP = 8
_WORD_BYTES = 8
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
    buffer = np.zeros(packed_size(len(values), bits), dtype=np.uint8)
    for start in range(0, len(columns), _CHUNK):
        rows = columns[start : start + _CHUNK]
        for i, view, shift in _places(buffer, start, len(rows), bits):
            np.bitwise_or(view, rows[:, i] << shift, out=view)
    return buffer.tobytes()


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

    @property
    def count(self) -> int:
        """Integers in the vector."""
        return self._rows.size

    def add(self, packed: bytes) -> None:
        """Add one packed vector.

        Raises:
            MalformedMessageError: If it does not have the vector's size.
        """
        if len(packed) != packed_size(self.count, self._bits):
            raise MalformedMessageError
        body, groups = np.frombuffer(packed, dtype=np.uint8), self._rows.shape[1]
        # One thread: this waits for memory, and two wait twice as long.
        for start in range(0, groups, _CHUNK):
            size = min(_CHUNK, groups - start)
            for i, view, shift in _places(body, start, size, self._bits):
                np.right_shift(view, shift, out=self._room[:size])
                self._rows[i, start : start + size] += self._room[:size]

    def total(self, start: int = 0, stop: int | None = None) -> Words:
        """Return the sum, or a part of it.

        Args:
            start: First integer, a multiple of 8.
            stop: The one behind the last, a multiple of 8; None for all.

        Returns:
            Shape (stop - start,), each in ``[0, 2**bits)``.
        """
        last = self.count if stop is None else stop
        rows = self._rows[:, start // _GROUP : last // _GROUP]
        return (rows.T & np.uint64((1 << self._bits) - 1)).reshape(-1)


def _places(
    buffer: NDArray[np.uint8], start: int, size: int, bits: int
) -> Iterator[tuple[int, Words, np.uint64]]:
    """Yield the words that hold place i of these groups, and the shift inside them."""
    for i in range(_GROUP):
        # A word further on would reach over the end of the last group.
        offset = min(i * bits // 8, bits - _WORD_BYTES)
        view: Words = np.ndarray(
            (size,),
            dtype="<u8",
            buffer=buffer.data,
            offset=start * bits + offset,
            strides=(bits,),
        )
        yield i, view, np.uint64(i * bits - 8 * offset)
