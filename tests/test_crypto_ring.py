"""The floating-point product is exact: compared with one product of huge integers."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import ring
from crypto.gaussian import sample
from crypto.params import NOISE_BOUND, RING_DEGREE
from crypto.randomness import hedged_stream
from crypto.ring import Polynomials, digit_cuts
from tests import ring_reference as reference

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
Rows = list[list[int]]

WIDTHS = range(31, 55)  # every k that parameters reach
KEY, THOUSAND, MOST = 8, 63_000, 630_000  # a key; sums of 1,000 and 10,000 of them
DRAWN = [18, 80, 253, 800]  # sums of 5, 100, 1,000 and 10,000 as they are drawn
LARGEST = [NOISE_BOUND, 5 * NOISE_BOUND, 100 * NOISE_BOUND, THOUSAND, MOST]
BOUNDS = [KEY, *DRAWN, *LARGEST]


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


def _extremes(bits: int, bound: int) -> Words:
    """Polynomials whose digits are all at one end, or at both in turn."""
    cuts = digit_cuts(bits, bound)
    lowest = sum(-(1 << (width - 1)) << at for at, width in cuts) % (1 << bits)
    highest = sum(((1 << (width - 1)) - 1) << at for at, width in cuts)
    rows = [_filled(0, 0), _filled((1 << bits) - 1, 0)]
    rows += [_filled(lowest, lowest), _filled(highest, highest)]
    rows += [_filled(lowest, highest), np.sort(_filled(lowest, highest))]
    return np.stack(rows)


def _filled(even: int, odd: int) -> Words:
    return np.tile(np.array([even, odd], dtype=np.uint64), RING_DEGREE // 2)


def _times(polynomials: Words, small: Integers, bits: int, bound: int) -> Rows:
    product = Polynomials(polynomials, bits=bits, mean_bound=bound).times(small)
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


@pytest.mark.parametrize("bits", WIDTHS)
def test_product_with_a_key_is_exact_for_every_width(bits: int) -> None:
    key = sample(RING_DEGREE, hedged_stream(b"", "s")).astype(np.int64)
    polynomials = _uniform(bits)

    expected = _exact(polynomials, key, bits)

    assert _times(polynomials, key, bits, KEY) == expected


@pytest.mark.parametrize("bits", WIDTHS)
def test_product_with_a_sum_of_keys_is_exact_for_every_width(bits: int) -> None:
    # Every coefficient at its bound: one malicious client can bring a sum there.
    small, polynomials = _alternating(THOUSAND), _uniform(bits)

    expected = _exact(polynomials, small, bits)

    assert _times(polynomials, small, bits, THOUSAND) == expected


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("bits", [31, 33, 35, 43, 49, 51, 53, 54])
@pytest.mark.parametrize("name", FACTORS)
def test_product_of_extremes_is_exact(name: str, bits: int, bound: int) -> None:
    small, polynomials = FACTORS[name](bound), _extremes(bits, bound)

    expected = _exact(polynomials, small, bits)

    assert _times(polynomials, small, bits, bound) == expected


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_rounding_stays_below_a_quarter(
    bits: int, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = _watch_rounding(monkeypatch)
    for rows in (_uniform(bits, 4), _extremes(bits, bound)):
        polynomials = Polynomials(rows, bits=bits, mean_bound=bound)
        for make in FACTORS.values():
            polynomials.times(make(bound))

    assert max(distances) <= 0.125


def test_two_digits_would_not_do_for_a_thousand_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(digit_cuts(54, THOUSAND)) == 3
    monkeypatch.setattr(ring, "_EXACT_BITS", 54)
    assert len(digit_cuts(54, THOUSAND)) == 2
    distances = _watch_rounding(monkeypatch)

    _times(_extremes(54, THOUSAND), _constant(THOUSAND), 54, THOUSAND)

    assert max(distances) > 0.25


@pytest.mark.parametrize("sign", [1, -1])
def test_factor_larger_than_was_said_is_refused(sign: int) -> None:
    polynomials = Polynomials(_uniform(41), bits=41, mean_bound=KEY)
    small = _constant(sign * KEY)
    polynomials.times(small)
    small[7] += sign

    with pytest.raises(ValueError, match="too large for an exact product"):
        polynomials.times(small)


def _watch_rounding(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep how far every product is from the integer it is rounded to."""
    distances, backward = [], ring._backward

    def watched(spectrum: ring.Spectrum) -> NDArray[np.float64]:
        product = backward(spectrum)
        distances.append(float(np.abs(product - np.rint(product)).max()))
        return product

    monkeypatch.setattr(ring, "_backward", watched)
    return distances


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_rows_are_multiplied_one_by_one(count: int) -> None:
    small, rows = _random(NOISE_BOUND), _uniform(41, count)

    together = _times(rows, small, 41, NOISE_BOUND)

    assert together == [_times(r[None, :], small, 41, NOISE_BOUND)[0] for r in rows]


def test_product_leaves_its_factors_alone() -> None:
    small, rows = _random(NOISE_BOUND), _uniform(51)
    kept = small.copy(), rows.copy()
    polynomials = Polynomials(rows, bits=51, mean_bound=NOISE_BOUND)

    first, second = polynomials.times(small), polynomials.times(small)

    assert (first == second).all()
    assert (small == kept[0]).all()
    assert (rows == kept[1]).all()


@pytest.mark.parametrize(
    ("bits", "bound", "widths"),
    [
        (31, KEY, [31]),
        (35, KEY, [35]),
        (36, KEY, [18, 18]),
        (51, KEY, [26, 25]),
        (33, DRAWN[0], [33]),
        (33, 5 * NOISE_BOUND, [17, 16]),
        (41, 100 * NOISE_BOUND, [21, 20]),
        (43, THOUSAND, [22, 21]),
        (47, THOUSAND, [16, 16, 15]),
        (54, DRAWN[-1], [27, 27]),
        (54, MOST, [18, 18, 18]),
    ],
)
def test_digits_cover_all_bits_once(bits: int, bound: int, widths: list[int]) -> None:
    cuts = digit_cuts(bits, bound)

    assert [width for _, width in cuts] == widths
    assert [at for at, _ in cuts] == [sum(widths[:i]) for i in range(len(widths))]
    assert sum(widths) == bits


@pytest.mark.parametrize(
    ("bits", "bound"), [(33, KEY), (51, KEY), (53, THOUSAND), (49, MOST), (43, KEY)]
)
def test_every_digit_is_centred_by_its_own_width(
    bits: int, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last digit has fewer bits; balanced by another's width, it would lie to one
    # side and cost precision.
    largest = list[float]()

    def watched(polynomials: NDArray[np.int64], *, out: ring.Spectrum) -> ring.Spectrum:
        largest.append(float(np.abs(polynomials).max()))
        return forward(polynomials, out=out)

    forward = ring._forward
    monkeypatch.setattr(ring, "_forward", watched)
    Polynomials(_extremes(bits, bound), bits=bits, mean_bound=bound)

    widths = [width for _, width in digit_cuts(bits, bound)]
    peaks = np.reshape(largest, (-1, len(widths))).max(axis=0)  # over the FFT calls
    assert peaks.tolist() == [2.0 ** (width - 1) for width in widths]
