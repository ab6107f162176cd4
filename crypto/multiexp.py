"""Products of many powers at once, faster than one power each.

Few bases share their squarings, each with a table of its small powers: Straus
("Addition chains of vectors", Amer. Math. Monthly 71, 1964). For many there is the
bucket method of Pippenger ("On the evaluation of powers and monomials", SIAM J.
Comput. 9, 1980): in every window of the exponents, bases with the same digit share one
bucket, and the buckets are added up with running products.
"""

from collections.abc import Iterable, Sequence

from gmpy2 import mpz

_FEW = 32  # fewer bases are faster with a table each
_TABLE_BITS = 4  # of an exponent at once; measured at 3072 bits for 4 to 32 bases


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
        return _with_tables(bases, exponents, modulus, exponent_bits)
    window = _window(len(bases))
    mask = (1 << window) - 1
    result = mpz(1)
    for place in reversed(range(-(-exponent_bits // window))):
        result = _squared(result, window, modulus)
        digits = ((exponent >> place * window) & mask for exponent in exponents)
        buckets = _fill(zip(bases, digits, strict=True), mask, modulus)
        result = result * _collapse(buckets, modulus) % modulus
    return result


def _with_tables(
    bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz, exponent_bits: int
) -> mpz:
    """Square for all bases together, and multiply by a small power of each."""
    pairs = list(zip(bases, exponents, strict=True))
    mask = (1 << _TABLE_BITS) - 1
    tables = [(_small_powers(base, mask, modulus), e) for base, e in pairs]
    result = mpz(1)
    for place in reversed(range(-(-exponent_bits // _TABLE_BITS))):
        result = _squared(result, _TABLE_BITS, modulus)
        for powers, exponent in tables:
            digit = (exponent >> place * _TABLE_BITS) & mask
            if digit:
                result = result * powers[digit] % modulus
    return result


def _squared(value: mpz, times: int, modulus: mpz) -> mpz:
    """Square a few times: `powmod` spends as long on what it prepares."""
    for _ in range(times):
        value = value * value % modulus
    return value


def _small_powers(base: mpz, largest: int, modulus: mpz) -> list[mpz]:
    """Return the powers of 0 to `largest`."""
    powers = [mpz(1), base]
    while len(powers) <= largest:
        powers.append(powers[-1] * base % modulus)
    return powers


def _window(count: int) -> int:
    """Choose the window in bits, measured at 3072 bits for 32 to 1,000 bases."""
    return min(7, count.bit_length() - 2)


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
