"""The floating-point product is exact: compared with one product of huge integers."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import ring
from crypto.params import NOISE_BOUND, RING_DEGREE
from crypto.ring import CLIENT_DIGITS, SERVER_DIGITS, SmallFactor
from tests import ring_reference as reference

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
Rows = list[list[int]]

WIDTHS = range(31, 55)  # every k that parameters reach
THOUSAND, MOST = 63_000, 630_000  # sums of 1,000 and of 10,000 keys at their bound


def _constant(value: int) -> Integers:
    return np.full(RING_DEGREE, value, dtype=np.int64)


def _alternating(value: int) -> Integers:
    values = _constant(value)
    values[1::2] *= -1
    return values


def _random(bound: int) -> Integers:
    return np.random.default_rng(bound).integers(-bound, bound + 1, RING_DEGREE)


FACTORS: dict[str, Callable[[int], Integers]] = {
    "all at the bound": _constant,
    "all at the lower bound": lambda bound: -_constant(bound),
    "alternating": _alternating,
    "random": _random,
    "one coefficient": lambda bound: bound * np.eye(1, RING_DEGREE, 7, np.int64)[0],
}


def _uniform(bits: int, count: int = 1) -> Words:
    generator = np.random.default_rng(bits)
    return generator.integers(0, 1 << bits, (count, RING_DEGREE), dtype=np.uint64)


def _extremes(bits: int) -> Words:
    """Polynomials whose digits are all at one end, or at both in turn."""
    rows = [_filled(0, 0), _filled((1 << bits) - 1, 0)]
    for digits in (CLIENT_DIGITS, SERVER_DIGITS):
        cuts = SmallFactor(_constant(1), bits=bits, digits=digits)._cuts
        lowest = sum(-(1 << (width - 1)) << at for at, width in cuts) % (1 << bits)
        highest = sum(((1 << (width - 1)) - 1) << at for at, width in cuts)
        rows += [_filled(lowest, lowest), _filled(highest, highest)]
        rows += [_filled(lowest, highest), np.sort(_filled(lowest, highest))]
    return np.stack(rows)


def _filled(even: int, odd: int) -> Words:
    return np.tile(np.array([even, odd], dtype=np.uint64), RING_DEGREE // 2)


def _times(
    polynomials: Words, small: Integers, bits: int, digits: int
) -> list[list[int]]:
    product = SmallFactor(small, bits=bits, digits=digits).times(polynomials)
    low: Rows = (product & np.uint64((1 << bits) - 1)).tolist()
    return low


def _exact(polynomials: Words, small: Integers, bits: int) -> Rows:
    rows = polynomials.tolist()
    return [reference.times(row, small.tolist(), bits) for row in rows]


def test_reference_multiplies_as_the_definition_says() -> None:
    a, s, bits = [5, 0, 7, 1], [-1, 2, 0, 3], 8
    expected = [0] * 4
    for i, x in enumerate(a):
        for j, y in enumerate(s):  # X**4 = -1
            expected[(i + j) % 4] += x * y if i + j < 4 else -x * y

    assert reference.times(a, s, bits) == [c % 256 for c in expected]


@pytest.mark.parametrize("digits", [CLIENT_DIGITS, SERVER_DIGITS])
@pytest.mark.parametrize("bits", WIDTHS)
def test_product_with_a_key_is_exact_for_every_width(bits: int, digits: int) -> None:
    small, polynomials = _random(NOISE_BOUND), _uniform(bits)

    expected = _exact(polynomials, small, bits)

    assert _times(polynomials, small, bits, digits) == expected


@pytest.mark.parametrize("bits", WIDTHS)
def test_product_with_a_sum_of_keys_is_exact_for_every_width(bits: int) -> None:
    # Every coefficient at its bound: one malicious client can bring a sum there.
    small, polynomials = _alternating(THOUSAND), _uniform(bits)

    expected = _exact(polynomials, small, bits)

    assert _times(polynomials, small, bits, SERVER_DIGITS) == expected


@pytest.mark.parametrize(
    ("bound", "digits"),
    [
        (NOISE_BOUND, CLIENT_DIGITS),
        (NOISE_BOUND, SERVER_DIGITS),
        (THOUSAND, SERVER_DIGITS),
        (MOST, SERVER_DIGITS),
    ],
)
@pytest.mark.parametrize("bits", [31, 43, 49, 51, 53, 54])
@pytest.mark.parametrize("name", FACTORS)
def test_product_of_extremes_is_exact(
    name: str, bits: int, bound: int, digits: int
) -> None:
    small, polynomials = FACTORS[name](bound), _extremes(bits)

    expected = _exact(polynomials, small, bits)

    assert _times(polynomials, small, bits, digits) == expected


@pytest.mark.parametrize(
    ("bound", "digits", "limit"),
    [
        (NOISE_BOUND, CLIENT_DIGITS, 0.01),
        (NOISE_BOUND, SERVER_DIGITS, 0.0001),
        (THOUSAND, SERVER_DIGITS, 0.02),
        (MOST, SERVER_DIGITS, 0.2),
    ],
)
@pytest.mark.parametrize("bits", [51, 53, 54])
def test_rounding_stays_below_a_quarter(
    bits: int, bound: int, digits: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = _watch_rounding(monkeypatch)
    for make in FACTORS.values():
        factor = SmallFactor(make(bound), bits=bits, digits=digits)
        factor.times(_uniform(bits, 4))
        factor.times(_extremes(bits))

    assert 0 < max(distances) < limit < 0.25


def test_two_digits_would_not_do_for_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distances = _watch_rounding(monkeypatch)

    SmallFactor(_constant(THOUSAND), bits=54, digits=2).times(_extremes(54))

    assert max(distances) > 0.25


def _watch_rounding(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep how far every product is from the integer it is rounded to."""
    distances, backward = [], ring._backward

    def watched(spectrum: ring.Spectrum) -> NDArray[np.float64]:
        product = backward(spectrum)
        distances.append(float(np.abs(product - np.rint(product)).max()))
        return product

    monkeypatch.setattr(ring, "_backward", watched)
    return distances


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40])
def test_rows_are_multiplied_one_by_one(count: int) -> None:
    small, polynomials = _random(NOISE_BOUND), _uniform(41, count)
    factor = SmallFactor(small, bits=41, digits=2)

    together = factor.times(polynomials)

    assert together.shape == (count, RING_DEGREE)
    rows = [factor.times(row[None, :])[0] for row in polynomials]
    assert together.tolist() == [row.tolist() for row in rows]


def test_product_leaves_its_factors_alone() -> None:
    small, polynomials = _random(NOISE_BOUND), _uniform(51)
    kept = small.copy(), polynomials.copy()

    SmallFactor(small, bits=51, digits=2).times(polynomials)

    assert (small == kept[0]).all()
    assert (polynomials == kept[1]).all()


@pytest.mark.parametrize(("bits", "digits"), [(51, 2), (54, 3), (31, 2), (49, 3)])
def test_digits_cover_all_bits_once(bits: int, digits: int) -> None:
    cuts = SmallFactor(_constant(1), bits=bits, digits=digits)._cuts

    assert len(cuts) == digits
    assert [at for at, _ in cuts] == [
        sum(w for _, w in cuts[:i]) for i in range(digits)
    ]
    assert sum(width for _, width in cuts) == bits


@pytest.mark.parametrize(("bits", "digits"), [(51, 2), (53, 3), (49, 3), (43, 2)])
def test_every_digit_is_centred_by_its_own_width(
    bits: int, digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last digit has fewer bits; balanced by another's width, it would lie to one
    # side and cost precision.
    factor = SmallFactor(_constant(1), bits=bits, digits=digits)
    polynomials, largest = _extremes(bits), list[float]()

    def watched(polynomials: NDArray[np.int64]) -> ring.Spectrum:
        largest.append(float(np.abs(polynomials).max()))
        return forward(polynomials)

    forward = ring._forward
    monkeypatch.setattr(ring, "_forward", watched)
    factor.times(polynomials)

    peaks = np.reshape(largest, (-1, digits)).max(axis=0)  # over the FFT calls
    assert peaks.tolist() == [2.0 ** (width - 1) for _, width in factor._cuts]
