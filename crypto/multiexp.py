"""Products of many powers at once, faster than one power each.

The bucket method of Pippenger ("On the evaluation of powers and monomials", SIAM J.
Comput. 9, 1980): in every window of the exponents, bases with the same digit share one
bucket, and the buckets are added up with running products.
"""

from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz

_FEW = 4  # fewer bases are faster with one power each


def multi_exponentiation(
    bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz, *, exponent_bits: int
) -> mpz:
    """Return ``prod bases[j]**exponents[j] mod modulus``.

    Args:
        bases: Integers below the modulus.
        exponents: As many public integers in ``[0, 2**exponent_bits)``; not for
            secrets, the time depends on them.
        modulus: At least 2.
        exponent_bits: Bound on the exponents' length.

    Raises:
        ValueError: If there are more or fewer exponents than bases.
    """
    if len(bases) < _FEW:
        return _one_by_one(bases, exponents, modulus)
    window = _window(len(bases))
    mask = (1 << window) - 1
    result = mpz(1)
    for place in reversed(range(-(-exponent_bits // window))):
        result = gmpy2.powmod(result, 1 << window, modulus)
        digits = ((exponent >> place * window) & mask for exponent in exponents)
        buckets = _fill(zip(bases, digits, strict=True), mask, modulus)
        result = result * _collapse(buckets, modulus) % modulus
    return result


def _one_by_one(bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz) -> mpz:
    result = mpz(1)
    for base, exponent in zip(bases, exponents, strict=True):
        result = result * gmpy2.powmod(base, exponent, modulus) % modulus
    return result


def _window(count: int) -> int:
    """Choose the window in bits, measured at 3072 bits for 4 to 1,000 bases."""
    return max(2, min(7, count.bit_length() - 2))


def _fill(
    pairs: Iterable[tuple[mpz, int]], size: int, modulus: mpz
) -> list[mpz | None]:
    """Multiply the bases of every digit 1..size together."""
    buckets: list[mpz | None] = [None] * (size + 1)
    for base, digit in pairs:
        if digit:
            known = buckets[digit]
            buckets[digit] = base if known is None else known * base % modulus
    return buckets


def _collapse(buckets: Sequence[mpz | None], modulus: mpz) -> mpz:
    """Return ``prod buckets[d]**d``, with one or two multiplications per digit."""
    total, running = mpz(1), mpz(1)
    for bucket in reversed(buckets[1:]):
        if bucket is not None:
            running = running * bucket % modulus
        if running != 1:
            total = total * running % modulus
    return total
