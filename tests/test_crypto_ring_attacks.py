"""Two ways to lose a one-time key, kept as tests: both need no lattice at all.

The ring has degree 64 here; nothing below gets harder with more.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from crypto.errors import ParameterError
from crypto.params import AggregationParams
from tests import ring_reference as reference
from tests.crypto_group import make_params

DEGREE, BITS, NOISE_BITS = 64, 54, 17

Polynomial = list[int]


def _public(seed: int) -> Polynomial:
    """Draw a public polynomial that has an inverse: half of all do."""
    generator = np.random.default_rng(seed)
    drawn: Polynomial = generator.integers(0, 1 << BITS, DEGREE).tolist()
    drawn[0] ^= 1 - sum(drawn) % 2
    return drawn


def _small(seed: int) -> Polynomial:
    return reference.sample(bytes([seed] * 32), DEGREE)


def _encrypt(
    a: Polynomial, s: Polynomial, e: Polynomial, x: Sequence[int]
) -> Polynomial:
    """Return a*s + e + x, with errors and values at the places they are given at."""
    product = reference.times(a, s, BITS)
    rows = zip(product, e, x, strict=True)
    return [(p + error + value) % (1 << BITS) for p, error, value in rows]


def _inverse(a: Polynomial, bits: int) -> Polynomial:
    """Invert mod X^64 + 1 and 2^bits: mod 2 it is a^63, and Newton lifts that."""
    inverse = [1] + [0] * (DEGREE - 1)
    for _ in range(DEGREE - 1):
        inverse = [c % 2 for c in reference.times(_reduced(a, 1), inverse, 1)]
    for _ in range(bits.bit_length()):
        product = reference.times(_reduced(a, bits), inverse, bits)
        two_less = [(2 * (i == 0) - c) % (1 << bits) for i, c in enumerate(product)]
        inverse = reference.times(two_less, inverse, bits)
    return inverse


def _reduced(a: Polynomial, bits: int) -> Polynomial:
    """Reduce coefficients mod 2^bits."""
    return [c % (1 << bits) for c in a]


def _solved(a: Polynomial, right: Polynomial, bits: int) -> Polynomial:
    """Return the small s with a*s = right mod 2^bits."""
    s = reference.times(_reduced(right, bits), _inverse(a, bits), bits)
    half = 1 << (bits - 1)
    return [(c + half) % (1 << bits) - half for c in s]


def test_inverse_is_one() -> None:
    a = _public(1)

    one = reference.times(_reduced(a, 34), _inverse(a, 34), 34)

    assert one == [1] + [0] * (DEGREE - 1)


@pytest.mark.parametrize("spare", [8, 17, 34])
def test_values_in_the_low_bits_give_the_key_away(spare: int) -> None:
    # c = a*s + T*e + x with T = 2**t and one block of zeros, such as padding: mod T
    # the error is gone.
    a, s, e = _public(1), _small(1), _small(2)
    c = _encrypt(a, s, [error << spare for error in e], [0] * DEGREE)

    assert _solved(a, c, spare) == s


@pytest.mark.parametrize("bits", [8, NOISE_BITS, 34, BITS])
def test_values_in_the_high_bits_do_not(bits: int) -> None:
    # The same attack on the encoding of the protocol, at any modulus: the error stays.
    a, s, e = _public(1), _small(1), _small(2)
    c = _encrypt(a, s, e, [0] * DEGREE)

    assert _solved(a, c, bits) != s


@pytest.mark.parametrize("name", ["noise_multiplier", "plaintext_modulus", "encoding"])
def test_parameters_cannot_ask_for_values_in_the_low_bits(name: str) -> None:
    values = make_params(mode="hybrid").to_dict() | {name: 2}

    with pytest.raises(ParameterError, match=rf"\['{name}'\]"):
        AggregationParams.from_dict(values)


def test_errors_that_repeat_give_the_key_away() -> None:
    # One repeated generator state in two rounds: a differs, s and e do not.
    generator = np.random.default_rng(5)
    s, e = _small(1), _small(2)
    one, two = _public(1), _public(2)
    one[0] ^= 1  # so that their difference has an inverse
    messages = (
        (generator.integers(-99, 99, DEGREE) << NOISE_BITS).tolist() for _ in range(2)
    )
    c, d = (_encrypt(a, s, e, x) for a, x in zip((one, two), messages, strict=True))

    difference = [x - y for x, y in zip(one, two, strict=True)]
    left = [x - y for x, y in zip(c, d, strict=True)]
    assert _solved(_reduced(difference, BITS), left, NOISE_BITS) == s


def test_errors_of_their_own_do_not() -> None:
    s, one, two = _small(1), _public(1), _public(2)
    one[0] ^= 1
    zeros = [0] * DEGREE
    c, d = (_encrypt(a, s, _small(i), zeros) for i, a in ((2, one), (3, two)))

    difference = [x - y for x, y in zip(one, two, strict=True)]
    left = [x - y for x, y in zip(c, d, strict=True)]
    assert _solved(_reduced(difference, BITS), left, NOISE_BITS) != s
