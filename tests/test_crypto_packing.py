"""Packing is exact and linear for every sum that the parameters allow."""

from fractions import Fraction

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crypto.errors import PlaintextOverflowError, SumRangeError
from crypto.packing import pack, unpack
from tests.crypto_group import make_params

SLOT_BITS = [4, 7, 8, 11, 20, 23, 31, 32, 38, 59, 62]


def _trip(values: NDArray[np.int64], slot_bits: int, slots: int) -> list[int]:
    packed = pack(values, slot_bits=slot_bits, slots_per_plaintext=slots)
    opened = unpack(
        packed, count=values.size, slot_bits=slot_bits, slots_per_plaintext=slots
    )
    return [int(value) for value in opened]


@pytest.mark.parametrize("slot_bits", SLOT_BITS)
@pytest.mark.parametrize("sign", [1, -1], ids=["largest", "smallest"])
def test_every_slot_at_its_limit_survives(slot_bits: int, sign: int) -> None:
    slots = 253 // slot_bits
    limit = sign * ((1 << (slot_bits - 1)) - 1)
    values = np.full(2 * slots, limit, dtype=np.int64)

    assert _trip(values, slot_bits, slots) == values.tolist()


@pytest.mark.parametrize("slot_bits", SLOT_BITS)
@pytest.mark.parametrize("sign", [1, -1], ids=["from largest", "from smallest"])
def test_alternating_limits_survive(slot_bits: int, sign: int) -> None:
    slots = 253 // slot_bits
    limit = (1 << (slot_bits - 1)) - 1
    values = np.array([sign * limit, -sign * limit] * slots, dtype=np.int64)

    assert _trip(values, slot_bits, slots) == values.tolist()


@pytest.mark.parametrize("slot_bits", SLOT_BITS)
def test_lowest_integer_of_a_slot_survives(slot_bits: int) -> None:
    values = np.array([-(1 << (slot_bits - 1)), 0], dtype=np.int64)

    assert _trip(values, slot_bits, 2) == values.tolist()


@pytest.mark.parametrize("count", [1, 4, 5, 6, 9, 10, 11])
def test_any_length_survives_an_unfilled_last_plaintext(count: int) -> None:
    values = np.arange(-count, 0, dtype=np.int64)

    assert _trip(values, 23, 5) == values.tolist()


@pytest.mark.parametrize("count", [1, 5, 6, 10, 11])
def test_number_of_plaintexts_rounds_up(count: int) -> None:
    packed = pack(np.zeros(count, dtype=np.int64), slot_bits=9, slots_per_plaintext=5)

    assert packed == [0] * -(-count // 5)


@pytest.mark.parametrize("sign", [1, -1], ids=["largest", "smallest"])
@pytest.mark.parametrize("clients", [2, 5, 1000, 10_000])
def test_sum_of_all_clients_at_their_limit_survives(clients: int, sign: int) -> None:
    params = make_params(max_contributors=clients, min_contributors=2, max_corrupt=0)
    slots, slot_bits = params.slots_per_plaintext, params.slot_bits
    values = np.full(slots + 1, sign * params.max_value, dtype=np.int64)
    packed = pack(values, slot_bits=slot_bits, slots_per_plaintext=slots)

    opened = unpack(
        [clients * plaintext for plaintext in packed],
        count=slots + 1,
        slot_bits=slot_bits,
        slots_per_plaintext=slots,
    )

    assert opened.tolist() == (clients * values).tolist()


@settings(max_examples=200)
@given(st.data())
def test_packing_is_linear(data: st.DataObject) -> None:
    slot_bits = data.draw(st.integers(4, 62))
    slots = data.draw(st.integers(1, 40))
    clients = data.draw(st.integers(1, 6))
    bound = ((1 << (slot_bits - 1)) - 1) // clients
    rows = data.draw(
        st.integers(1, 2 * slots).flatmap(
            lambda count: st.lists(
                st.lists(st.integers(-bound, bound), min_size=count, max_size=count),
                min_size=clients,
                max_size=clients,
            )
        )
    )
    vectors = [np.array(row, dtype=np.int64) for row in rows]

    packed = [
        pack(vector, slot_bits=slot_bits, slots_per_plaintext=slots)
        for vector in vectors
    ]

    total = sum(vectors, np.zeros_like(vectors[0]))
    assert [sum(column) for column in zip(*packed, strict=True)] == pack(
        total, slot_bits=slot_bits, slots_per_plaintext=slots
    )


@settings(max_examples=200)
@given(st.data())
def test_packing_is_the_sum_of_shifted_values(data: st.DataObject) -> None:
    slot_bits = data.draw(st.integers(4, 62))
    half = 1 << (slot_bits - 1)
    values = data.draw(st.lists(st.integers(-half, half - 1), min_size=1, max_size=20))

    (packed,) = pack(
        np.array(values, dtype=np.int64), slot_bits=slot_bits, slots_per_plaintext=20
    )

    assert packed == sum(x << (slot_bits * i) for i, x in enumerate(values))


@pytest.mark.parametrize("value", [128, -129, 1 << 40, -(1 << 62)])
def test_value_outside_its_slot_is_refused_by_index(value: int) -> None:
    values = np.array([127, -128, value], dtype=np.int64)

    with pytest.raises(PlaintextOverflowError) as caught:
        pack(values, slot_bits=8, slots_per_plaintext=2)

    assert str(caught.value) == "value at index 2 does not fit a slot of 8 bits"


@pytest.mark.parametrize(
    "plaintext", [mpz(1) << 31, mpz(1) << 200, -(mpz(1) << 32), -(mpz(1) << 200)]
)
def test_plaintext_outside_its_slots_is_refused(plaintext: mpz) -> None:
    with pytest.raises(SumRangeError, match="outside the range of its slots"):
        unpack([plaintext], count=4, slot_bits=8, slots_per_plaintext=4)


@pytest.mark.parametrize("slots", [3, 8])  # 33 bits, and 88: whole bytes
def test_slots_reach_exactly_their_limits(slots: int) -> None:
    ones = sum(1 << (11 * i) for i in range(slots))
    lowest, highest = -1024 * ones, 1023 * ones

    for plaintext, value in ((lowest, -1024), (highest, 1023)):
        opened = unpack(
            [mpz(plaintext)], count=slots, slot_bits=11, slots_per_plaintext=slots
        )
        assert opened.tolist() == [value] * slots
    for plaintext in (lowest - 1, highest + 1):
        with pytest.raises(SumRangeError, match="outside the range of its slots"):
            unpack(
                [mpz(plaintext)], count=slots, slot_bits=11, slots_per_plaintext=slots
            )


@pytest.mark.parametrize("value", [1, -1, 127, -128])
def test_value_after_the_last_slot_is_refused(value: int) -> None:
    with pytest.raises(SumRangeError, match="after the last slot"):
        unpack([mpz(value) << 24], count=3, slot_bits=8, slots_per_plaintext=4)


@pytest.mark.parametrize("key_bits", [64, 256, 1024, 2048, 3072])
def test_packed_plaintext_stays_below_a_third_of_the_smallest_key(
    key_bits: int,
) -> None:
    smallest_n = (1 << (key_bits - 1)) + 1
    for slot_bits in range(11, 60):
        slots = (key_bits - 3) // slot_bits
        digit = Fraction(1 << (slot_bits - 1))
        largest = digit * ((1 << (slot_bits * slots)) - 1) / ((1 << slot_bits) - 1)
        assert 3 * largest < smallest_n
