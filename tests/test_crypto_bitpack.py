"""Integers of k bits on the wire: one big integer, read from its low end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crypto import bitpack
from crypto.bitpack import SUM_GROUP, BitSum, pack_bits, packed_size, unpack_bits
from crypto.errors import MalformedMessageError
from tests import ring_reference as reference

WIDTHS = [8, 16, 31, 32, 33, 41, 48, 49, 51, 53, 54, 57]


def _words(bits: int, count: int, seed: int = 0) -> NDArray[np.uint64]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 1 << bits, count, dtype=np.uint64)


def test_bits_lie_side_by_side_from_the_lowest() -> None:
    packed = pack_bits(np.arange(1, 9, dtype=np.uint64), 12)

    assert packed.hex() == "012000034000056000078000"


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("count", [8, 16, 2048, 4096])
def test_packed_bytes_are_one_big_integer(bits: int, count: int) -> None:
    values = _words(bits, count)

    packed = pack_bits(values, bits)

    assert packed == reference.pack_bits(values.tolist(), bits)
    assert len(packed) == packed_size(count, bits) == count * bits // 8


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("count", [8, 16, 2048])
def test_unpacking_gives_the_integers_back(bits: int, count: int) -> None:
    values = _words(bits, count)

    assert unpack_bits(pack_bits(values, bits), count, bits).tolist() == values.tolist()


@pytest.mark.parametrize("bits", WIDTHS)
def test_largest_integers_do_not_touch_their_neighbours(bits: int) -> None:
    values = np.zeros(64, dtype=np.uint64)
    values[::3] = (1 << bits) - 1

    packed = pack_bits(values, bits)

    assert unpack_bits(packed, 64, bits).tolist() == values.tolist()
    assert reference.unpack_bits(packed, bits) == values.tolist()


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_pieces_of_any_size_give_the_same(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = _words(51, 96)
    whole = pack_bits(values, 51)
    monkeypatch.setattr(bitpack, "_CHUNK", chunk)

    assert pack_bits(values, 51) == whole
    assert unpack_bits(whole, 96, 51).tolist() == values.tolist()


def test_more_integers_than_one_piece_survive_the_trip() -> None:
    count = 8 * (2 * bitpack._CHUNK + 3)
    values = _words(41, count)

    assert (unpack_bits(pack_bits(values, 41), count, 41) == values).all()


@given(st.integers(8, 57), st.integers(1, 20), st.integers(0, 2**32))
def test_any_integers_survive_the_trip(bits: int, groups: int, seed: int) -> None:
    values = _words(bits, 8 * groups, seed)

    packed = pack_bits(values, bits)

    assert packed == reference.pack_bits(values.tolist(), bits)
    assert unpack_bits(packed, 8 * groups, bits).tolist() == values.tolist()


def _long_integer_sum(rows: list[NDArray[np.uint64]], bits: int) -> list[int]:
    """Add packed vectors as the long integers they are."""
    packed = [reference.pack_bits(row.tolist(), bits) for row in rows]
    size = len(packed[0])
    total = sum(int.from_bytes(octets, "little") for octets in packed)
    octets = (total % (1 << 8 * size)).to_bytes(size, "little")
    return reference.unpack_bits(octets, bits)


@pytest.mark.parametrize("bits", WIDTHS)
def test_sum_is_that_of_long_integers(bits: int) -> None:
    rows = [_words(bits, 3 * SUM_GROUP, seed) for seed in range(20)]
    total = BitSum(3 * SUM_GROUP, bits)
    for row in rows:
        total.add(pack_bits(row, bits))

    assert total.total().tolist() == _long_integer_sum(rows, bits)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_carry_is_all_that_differs_from_sums_modulo_two_to_the_k(bits: int) -> None:
    rows = [_words(bits, SUM_GROUP, seed) for seed in range(20)]
    total = BitSum(SUM_GROUP, bits)
    for row in rows:
        total.add(pack_bits(row, bits))

    columns = zip(*(row.tolist() for row in rows), strict=True)
    sums = [sum(column) % (1 << bits) for column in columns]
    carries = (total.total() - np.array(sums, np.uint64)) % np.uint64(1 << bits)
    assert carries[0] == 0
    assert 0 < carries.max() < len(rows)


@pytest.mark.parametrize("words", [1, 2, 3, 7])
def test_sums_in_pieces_of_any_size_are_the_same(
    words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [_words(51, 2 * SUM_GROUP, seed) for seed in range(9)]
    monkeypatch.setattr(bitpack, "_WORDS", words)
    total = BitSum(2 * SUM_GROUP, 51)
    for row in rows:
        total.add(pack_bits(row, 51))

    assert total.total().tolist() == _long_integer_sum(rows, 51)


def test_a_carry_runs_through_words_that_are_full() -> None:
    full = np.full(2 * SUM_GROUP, (1 << 41) - 1, dtype=np.uint64)
    one = np.eye(1, 2 * SUM_GROUP, dtype=np.uint64)[0]
    total = BitSum(2 * SUM_GROUP, 41)
    total.add(pack_bits(full, 41))
    total.add(pack_bits(one, 41))

    assert not total.total().any()


def test_sum_of_ten_thousand_largest_integers_is_right() -> None:
    largest = np.full(SUM_GROUP, (1 << 54) - 1, np.uint64)
    packed, total = pack_bits(largest, 54), BitSum(SUM_GROUP, 54)
    for _ in range(10_000):
        total.add(packed)

    expected = [(1 << 54) - 10_000] + [(1 << 54) - 1] * (SUM_GROUP - 1)
    assert total.total().tolist() == expected


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (8, 24), (16, 40), (0, 64)])
def test_part_of_a_sum_is_that_part(start: int, stop: int) -> None:
    total = BitSum(SUM_GROUP, 33)
    total.add(pack_bits(_words(33, SUM_GROUP), 33))
    total.add(pack_bits(_words(33, SUM_GROUP, 1), 33))

    part = total.total(start, stop)

    assert part.tolist() == total.total().tolist()[start:stop]


def test_sum_can_be_read_more_than_once_and_goes_on() -> None:
    values = np.full(SUM_GROUP, (1 << 31) - 2, dtype=np.uint64)
    packed, total = pack_bits(values, 31), BitSum(SUM_GROUP, 31)
    total.add(packed)
    first = total.total()
    first += np.uint64(5)
    total.add(packed)
    assert total.total().tolist() == _long_integer_sum([values] * 2, 31)
    total.add(packed)

    assert total.total().tolist() == _long_integer_sum([values] * 3, 31)


@pytest.mark.parametrize("change", [-41, -8, -1, 1, 8, 41])
def test_bytes_of_another_size_are_malformed_and_add_nothing(change: int) -> None:
    packed = pack_bits(_words(41, SUM_GROUP), 41)
    total, other = BitSum(SUM_GROUP, 41), (packed + bytes(41))[: len(packed) + change]

    with pytest.raises(MalformedMessageError):
        total.add(other)

    assert not total.total().any()


def test_no_bytes_are_malformed() -> None:
    with pytest.raises(MalformedMessageError):
        unpack_bits(b"", 8, 41)
