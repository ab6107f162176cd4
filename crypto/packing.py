"""Signed integers side by side in one Paillier plaintext, linearly.

Packing is linear: the sum of packed plaintexts is the packing of the sums, slot by
slot, while every sum fits its slot (`AggregationParams.slot_bits` sees to that).
Implements PROTOCOL.md section 4.1.
"""

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.errors import PlaintextOverflowError, SumRangeError


def pack(
    values: NDArray[np.int64], *, slot_bits: int, slots_per_plaintext: int
) -> list[mpz]:
    """Pack integers into plaintexts, lowest slot first.

    Args:
        values: Shape (count,), each in ``[-2**(slot_bits-1), 2**(slot_bits-1))``.
        slot_bits: Width of a slot, headroom for the sum included; at most 62.
        slots_per_plaintext: Slots in one plaintext. The last plaintext is filled
            with zeros.

    Returns:
        ``ceil(count / slots_per_plaintext)`` signed integers; the caller reduces
        them modulo n.

    Raises:
        PlaintextOverflowError: If a value does not fit its slot.

    Example:
        >>> one = pack(np.array([1, -1]), slot_bits=8, slots_per_plaintext=2)
        >>> two = pack(np.array([2, 5]), slot_bits=8, slots_per_plaintext=2)
        >>> int(one[0] + two[0])
        1027
        >>> pack(np.array([3, 4]), slot_bits=8, slots_per_plaintext=2)
        [mpz(1027)]
    """
    half = 1 << (slot_bits - 1)
    outside = np.flatnonzero((values < -half) | (values >= half))
    if outside.size:
        raise PlaintextOverflowError(
            f"value at index {outside[0]} does not fit a slot of {slot_bits} bits"
        )
    rows = -(-values.size // slots_per_plaintext)
    padded = np.zeros(rows * slots_per_plaintext, dtype=np.int64)
    padded[: values.size] = values
    # Shifted by half, every slot is an unsigned digit; `bias` takes the shift back.
    digits = (padded + half).astype("<u8")
    bits = np.unpackbits(
        digits.view(np.uint8).reshape(-1, 8), axis=1, count=slot_bits, bitorder="little"
    )
    packed = np.packbits(bits.reshape(rows, -1), axis=1, bitorder="little")
    bias = _bias(slot_bits, slots_per_plaintext)
    return [mpz(int.from_bytes(row.tobytes(), "little")) - bias for row in packed]


def unpack(
    plaintexts: list[mpz], *, count: int, slot_bits: int, slots_per_plaintext: int
) -> NDArray[np.int64]:
    """Split opened plaintexts into their slots.

    Args:
        plaintexts: Signed integers, centred to ``(-n/2, n/2)``.
        count: Integers to return; the slots after them must be zero.
        slot_bits: Width of a slot.
        slots_per_plaintext: Slots in one plaintext.

    Returns:
        Shape (count,), int64.

    Raises:
        SumRangeError: If a plaintext is not a packing of that many slots.
    """
    bias = _bias(slot_bits, slots_per_plaintext)
    size = -(-slot_bits * slots_per_plaintext // 8)
    rows = []
    for plaintext in plaintexts:
        shifted = plaintext + bias
        if not 0 <= shifted < mpz(1) << (slot_bits * slots_per_plaintext):
            raise SumRangeError("an opened plaintext is outside the range of its slots")
        rows.append(np.frombuffer(int(shifted).to_bytes(size, "little"), np.uint8))
    bits = np.unpackbits(
        np.stack(rows), axis=1, count=slot_bits * slots_per_plaintext, bitorder="little"
    ).reshape(-1, slot_bits)
    octets = np.packbits(bits, axis=1, bitorder="little")
    digits = np.zeros((octets.shape[0], 8), dtype=np.uint8)
    digits[:, : octets.shape[1]] = octets
    values = digits.view("<u8").ravel().astype(np.int64) - (1 << (slot_bits - 1))
    if values[count:].any():
        raise SumRangeError("an opened plaintext has values after the last slot")
    return values[:count]


def _bias(slot_bits: int, slots_per_plaintext: int) -> mpz:
    """Half a slot in every slot: ``sum 2**(w-1) * 2**(w*i)``."""
    ones = ((mpz(1) << (slot_bits * slots_per_plaintext)) - 1) // (
        (mpz(1) << slot_bits) - 1
    )
    return ones << (slot_bits - 1)
