"""Integers of k bits side by side, without padding: the wire form of the bulk part.

Bit i of integer c is bit ``c*k + i`` of the bytes, least significant first. Eight
integers take k bytes, so integer ``8*g + i`` lies in the same 64-bit word of its group
for every group g: one strided view of words per i reads or writes them all.
Implements PROTOCOL.md section 4.5.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crypto.errors import MalformedMessageError

_GROUP = 8
_WORD_BYTES = 8
SUM_GROUP: Final = _GROUP * _WORD_BYTES  # so many integers fill whole words
_CHUNK = 1 << 13  # groups at once: what is touched stays in the processor's cache
_WORDS = 1 << 16  # words at once, for the same reason
_MOST_UNSETTLED = 255  # vectors: each carries at most 1 out of a word

Words = NDArray[np.uint64]
Octets = NDArray[np.uint8]


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
    if len(packed) != packed_size(count, bits):
        raise MalformedMessageError
    return _read(np.frombuffer(packed, dtype=np.uint8), bits)


class BitSum:
    """A sum of packed vectors, added in place without unpacking any.

    The vectors are added as long integers, so what an integer of the sum has above its
    k bits is carried into the next one: with n vectors at most ``n - 1``.

    Args:
        count: Integers in the vector, a multiple of `SUM_GROUP`.
        bits: 8 to 57.
    """

    def __init__(self, count: int, bits: int) -> None:
        self.count = count
        self._bits = bits
        size = packed_size(count, bits) // _WORD_BYTES
        self._words = np.zeros(size, dtype="<u8")
        self._carries = np.zeros(size, dtype=np.uint8)  # out of each word, to be added
        self._unsettled = 0  # vectors whose carries are not added yet
        self._over = np.empty(_WORDS, dtype=np.bool_)

    def add(self, packed: bytes) -> None:
        """Add one packed vector.

        Raises:
            MalformedMessageError: If it does not have the vector's size.
        """
        if len(packed) != packed_size(self.count, self._bits):
            raise MalformedMessageError
        added = np.frombuffer(packed, dtype="<u8")
        if self._unsettled == _MOST_UNSETTLED:
            self._settle()
        self._unsettled += 1
        for start in range(0, len(added), _WORDS):
            span = slice(start, start + _WORDS)
            words, carries = self._words[span], self._carries[span]
            words += added[span]
            over = np.less(words, added[span], out=self._over[: len(words)])
            carries += over.view(np.uint8)

    def total(self, start: int = 0, stop: int | None = None) -> Words:
        """Return the sum, or a part of it.

        Args:
            start: First integer, a multiple of 8.
            stop: The one behind the last, a multiple of 8; None for all.

        Returns:
            Shape (stop - start,), each in ``[0, 2**bits)``: the sum mod ``2**bits``
            with the carry of the integer before it.
        """
        if self._unsettled:
            self._settle()
        last = self.count if stop is None else stop
        first = packed_size(start, self._bits)
        octets = self._words.view(np.uint8)[first : packed_size(last, self._bits)]
        return _read(octets, self._bits)

    def _settle(self) -> None:
        """Add every word's carry to the next word, until there is none."""
        words, carries = self._words[1:], self._carries[:-1]
        while carries.any():
            words += carries
            over = words < carries
            carries[0], carries[1:] = 0, over[:-1]
        self._unsettled = 0


def _read(octets: Octets, bits: int) -> Words:
    """Read all the integers."""
    groups = len(octets) // bits
    values = np.empty((groups, _GROUP), dtype=np.uint64)
    for start in range(0, groups, _CHUNK):
        rows = values[start : start + _CHUNK]
        for i, view, shift in _places(octets, start, len(rows), bits):
            np.right_shift(view, shift, out=rows[:, i])
        rows &= np.uint64((1 << bits) - 1)
    return values.reshape(-1)


def _places(
    buffer: Octets, start: int, size: int, bits: int
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
