"""Widths of mode hybrid: they hold every sum, and no more than the ring can hide."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import ParameterError
from crypto.params import NOISE_BOUND, RING_DEGREE, AggregationParams
from tests import ring_reference as reference
from tests.crypto_group import make_params


def _params(clients: int, value_bits: int, **changes: Any) -> AggregationParams:
    return make_params(
        mode="hybrid",
        max_contributors=clients,
        min_contributors=2,
        max_corrupt=0,
        value_bits=value_bits,
        **changes,
    )


@pytest.mark.parametrize(
    ("clients", "value_bits", "expected"),
    [
        (2, 22, (8, 23, 1, 31)),
        (3, 8, (9, 10, 4, 49)),
        (10, 16, (11, 20, 2, 51)),
        (10, 20, (11, 24, 1, 35)),
        (100, 16, (14, 23, 1, 37)),
        (100, 20, (14, 27, 1, 41)),
        (100, 24, (14, 31, 1, 45)),
        (1000, 16, (17, 26, 1, 43)),
        (1000, 20, (17, 30, 1, 47)),
        (1000, 24, (17, 34, 1, 51)),
        (4096, 23, (19, 35, 1, 54)),
        (10_000, 16, (21, 30, 1, 51)),
    ],
)
def test_widths_are_those_of_the_design(
    clients: int, value_bits: int, expected: tuple[int, int, int, int]
) -> None:
    params = _params(clients, value_bits)

    widths = (
        params.noise_bits,
        params.sum_bits,
        params.values_per_coefficient,
        params.modulus_bits,
    )

    assert widths == expected


@pytest.mark.parametrize(
    ("clients", "value_bits", "noise", "total"),
    [
        (2049, 24, 19, 36),
        (4097, 24, 20, 37),
        (10_000, 20, 21, 34),
        (10_000, 24, 21, 38),
    ],
)
def test_modulus_that_is_too_wide_is_refused_with_the_numbers(
    clients: int, value_bits: int, noise: int, total: int
) -> None:
    with pytest.raises(ParameterError) as caught:
        _params(clients, value_bits)

    assert str(caught.value) == (
        f"value-bits {value_bits} with {clients} clients needs a ring modulus of "
        f"{noise} bits for noise and {total} for sums: {noise + total} bits, and at "
        f"most 54 are safe; use fewer value-bits or clients"
    )


def test_other_modes_have_no_modulus_to_refuse() -> None:
    params = make_params(value_bits=24, max_contributors=10_000)

    assert params.slot_bits == params.sum_bits == 38


@given(st.integers(2, 10_000), st.integers(4, 24))
def test_widths_hold_every_sum_and_agree_with_the_reference(
    clients: int, value_bits: int
) -> None:
    try:
        params = _params(clients, value_bits)
    except ParameterError:
        assert reference.Widths.of(clients, value_bits).modulus > 54
        return
    widths = reference.Widths.of(clients, value_bits)
    noise, total, rho = widths.noise, widths.sum, widths.per_coefficient

    assert (params.noise_bits, params.sum_bits) == (noise, total)
    assert (params.values_per_coefficient, params.modulus_bits) == (rho, widths.modulus)
    assert clients * (NOISE_BOUND + 1) <= 1 << (noise - 1)
    assert clients * params.max_value < 1 << (total - 1)
    assert 31 <= params.modulus_bits <= 54
    # More than one value in a coefficient never costs the 128-bit quantum row.
    assert rho == 1 or params.modulus_bits <= 53
    assert params.modulus_bits + total > 53  # and one more would not fit


@pytest.mark.parametrize(
    ("clients", "key_bits", "slots", "ciphertexts"),
    [
        (10, 2048, 185, 12),
        (10, 3072, 279, 8),
        (100, 2048, 146, 15),
        (100, 3072, 219, 10),
        (1000, 2048, 120, 18),
        (1000, 3072, 180, 12),
    ],
)
def test_one_time_key_takes_a_few_ciphertexts(
    clients: int, key_bits: int, slots: int, ciphertexts: int
) -> None:
    params = _params(clients, 16, key_bits=key_bits)

    assert params.slot_bits == params.noise_bits
    assert params.slots_per_plaintext == slots
    assert params.num_sealed(1) == params.num_sealed(10**7) == RING_DEGREE
    assert params.num_ciphertexts(1) == params.num_ciphertexts(10**7) == ciphertexts


def _bits_of_luck(clients: int) -> float:
    """Return -log2 of the chance that one garbled polynomial passes the noise check.

    A key that does not match leaves a uniform coefficient, L bits of it noise.
    """
    width = reference.Widths.of(clients, 8).noise
    return -RING_DEGREE * math.log2(clients * (2 * NOISE_BOUND + 1) / 2**width)


@pytest.mark.parametrize(
    ("clients", "bits"), [(5, 1400), (10, 1400), (65, 1900), (100, 750), (1000, 90)]
)
def test_noise_check_finds_a_key_that_does_not_match(clients: int, bits: int) -> None:
    assert _bits_of_luck(clients) > bits


@pytest.mark.parametrize("clients", [4, 64, 128, 1024])
def test_noise_check_is_weakest_where_a_full_set_fills_its_width(clients: int) -> None:
    # 64 * 127 of 2**13 values are noise, with a carry, that 64 clients can make.
    assert _bits_of_luck(clients) == pytest.approx(23.2, abs=0.05)
