"""A product of powers by buckets is the product of the powers."""

import math

import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from crypto.multiexp import _window, multi_exponentiation
from tests.crypto_reference import shake_integer
from tests.proof_reference import multi_power

MODULUS = mpz((1 << 127) - 1)
NUMBERS = st.integers(0, int(MODULUS) - 1)
BITS = 128
# Zero, one and the largest more often than they would come by themselves.
EXPONENTS = st.integers(0, (1 << BITS) - 1) | st.sampled_from([0, 1, (1 << BITS) - 1])


def _product(bases: list[int], exponents: list[int], *, bits: int = BITS) -> int:
    numbers = [mpz(base) for base in bases]
    return int(multi_exponentiation(numbers, exponents, MODULUS, exponent_bits=bits))


@given(st.lists(st.tuples(NUMBERS, EXPONENTS), max_size=40))
def test_product_is_that_of_single_powers(pairs: list[tuple[int, int]]) -> None:
    bases, exponents = [b for b, _ in pairs], [e for _, e in pairs]

    assert _product(bases, exponents) == multi_power(bases, exponents, int(MODULUS))


# On both sides of every size at which the window changes.
@pytest.mark.parametrize("count", [1, 2, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256])
def test_every_window_gives_the_product(count: int) -> None:
    bases = [shake_integer(b"base %d" % i, int(MODULUS)) for i in range(count)]
    exponents = [shake_integer(b"exponent %d" % i, 1 << BITS) for i in range(count)]

    assert _product(bases, exponents) == multi_power(bases, exponents, int(MODULUS))


def test_sizes_above_reach_every_window() -> None:
    windows = {_window(count) for count in (32, 63, 64, 128, 255, 256, 512, 10_000)}

    assert windows == {4, 5, 6, 7}


@pytest.mark.parametrize("bits", [1, 2, 3, 7, 8, 9, 64, 127, 129, 257])
def test_exponents_of_any_length_are_used_in_full(bits: int) -> None:
    exponents = [(1 << bits) - 1, 1 << (bits - 1), 1, 0]

    product = _product([3, 5, 7, 11], exponents, bits=bits)

    assert product == multi_power([3, 5, 7, 11], exponents, int(MODULUS))


@pytest.mark.parametrize("count", [0, 1, 5, 70])
def test_exponents_of_zero_give_one(count: int) -> None:
    assert _product([7] * count, [0] * count) == 1


@pytest.mark.parametrize("count", [2, 5, 70])
def test_equal_bases_add_their_exponents(count: int) -> None:
    assert _product([7] * count, [5] * count) == pow(7, 5 * count, int(MODULUS))


def test_pairs_in_another_order_give_the_same_product() -> None:
    bases, exponents = [3, 5, 7], [1 << 100, 12345, 1]

    assert _product(bases[::-1], exponents[::-1]) == _product(bases, exponents)


def test_base_of_zero_gives_zero() -> None:
    assert _product([0, 5], [1, 1]) == 0


def test_product_of_one_inside_a_bucket_changes_nothing() -> None:
    # A bucket whose product is 1 is not the same as an empty one.
    inverse = pow(3, -1, int(MODULUS))

    assert _product([3, inverse, 5], [6, 6, 2]) == 25


def test_product_stays_below_the_modulus() -> None:
    numbers = [MODULUS - 1] * 3

    assert multi_exponentiation(numbers, [1, 1, 1], MODULUS, exponent_bits=1) == (
        math.prod(numbers) % MODULUS
    )


@pytest.mark.parametrize("exponents", [[], [1], [1, 2, 3]])
def test_every_base_needs_one_exponent(exponents: list[int]) -> None:
    with pytest.raises(ValueError, match="zip"):
        _product([3, 5], exponents)
