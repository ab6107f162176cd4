"""The sampler of one-time keys and errors: the distribution, bit by bit."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from crypto import gaussian
from crypto.gaussian import sample
from crypto.params import NOISE_BOUND
from crypto.randomness import RandomStream
from tests import ring_reference as reference

KEY = bytes(range(32))


class _Octets(RandomStream):
    """A stream of chosen bytes."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.taken = 0

    def take(self, size: int) -> bytes:
        self.taken += size
        return self._octets[self.taken - size : self.taken]


def _drawn(uniform: int) -> tuple[int, int]:
    """Return the sample of an 80-bit number, and the bytes it took."""
    high, low = divmod(uniform, 1 << 64)
    stream = _Octets(high.to_bytes(2, "little") + low.to_bytes(8, "little"))
    (value,) = sample(1, stream)
    return int(value), stream.taken


def test_fixed_key_gives_fixed_samples() -> None:
    drawn = sample(16, RandomStream(KEY))

    expected = [1, 4, -4, 6, 11, -1, -6, 0, -2, 3, 4, 8, 12, -6, 5, -5]
    assert drawn.tolist() == expected
    assert drawn.dtype == np.int8


def test_samples_agree_with_the_reference() -> None:
    # Among 20,000 samples some 17 need their 64 further bits.
    expected = reference.sample(KEY, 20_000)

    assert sample(20_000, RandomStream(KEY)).tolist() == expected


def test_no_samples_take_no_bytes() -> None:
    stream = _Octets(b"")

    assert (sample(0, stream).size, stream.taken) == (0, 0)


def test_distribution_function_is_that_of_decimal_arithmetic() -> None:
    assert gaussian._boundaries() == reference.boundaries()


def test_sigma_is_the_documented_one() -> None:
    assert 2 * Decimal(gaussian.SIGMA) ** 2 == Decimal("84.5")


@pytest.mark.parametrize("place", range(2 * NOISE_BOUND))
def test_both_sides_of_every_boundary_are_decided_by_the_long_part(place: int) -> None:
    boundary = reference.boundaries()[place]

    below, at = _drawn(boundary - 1), _drawn(boundary)

    assert below == (place - NOISE_BOUND, 10)
    assert at == (place - NOISE_BOUND + 1, 10)


@pytest.mark.parametrize(
    ("uniform", "expected"), [(0, -NOISE_BOUND), ((1 << 80) - 1, NOISE_BOUND)]
)
def test_ends_of_the_distribution_are_its_cut(uniform: int, expected: int) -> None:
    assert _drawn(uniform) == (expected, 10)


@pytest.mark.parametrize("prefix", [1 << 15, (1 << 15) - 1, 20_000, 45_000])
def test_most_samples_take_two_bytes(prefix: int) -> None:
    values = {_drawn((prefix << 64) + low) for low in (0, (1 << 64) - 1)}

    assert len(values) == 1
    assert values.pop()[1] == 2


def test_undecided_entries_are_those_that_a_boundary_runs_through() -> None:
    undecided = np.flatnonzero(gaussian._table() == gaussian._UNDECIDED)

    assert len(undecided) == 56
    assert set(undecided) == {boundary >> 64 for boundary in reference.boundaries()}


def test_bytes_of_undecided_samples_come_after_all_short_parts() -> None:
    # Two undecided samples around a decided one; the long parts keep their order.
    boundaries = reference.boundaries()
    first, last = boundaries[NOISE_BOUND - 1], boundaries[NOISE_BOUND + 1]
    short = b"".join((u >> 64).to_bytes(2, "little") for u in (first, 1 << 79, last))
    low = (1 << 64) - 1
    octets = short + b"".join((u & low).to_bytes(8, "little") for u in (first, last))
    stream = _Octets(octets)

    assert sample(3, stream).tolist() == [0, 0, 2]
    assert stream.taken == len(octets)


def test_distance_from_the_discrete_gaussian_is_below_two_to_minus_75() -> None:
    with localcontext() as context:
        context.prec = 100
        weights, ends = reference.weights_of_sigma(), [0, *reference.boundaries()]
        widths = np.diff([*ends, 1 << 80])
        total = sum(weights)
        errors = (
            abs(Decimal(int(width)) / (1 << 80) - weight / total)
            for width, weight in zip(widths, weights, strict=True)
        )

        assert sum(errors) / 2 < Decimal(2) ** -75


def test_mass_outside_the_cut_is_below_two_to_minus_72() -> None:
    outside = 2 * sum(math.exp(-i * i / 84.5) for i in range(NOISE_BOUND + 1, 200))

    assert outside / sum(map(float, reference.weights_of_sigma())) < 2**-72


def test_ten_million_samples_have_the_distribution() -> None:
    drawn = sample(10_000_000, RandomStream(KEY))
    counted = np.bincount(drawn + NOISE_BOUND, minlength=2 * NOISE_BOUND + 1)
    ends = [0, *reference.boundaries(), 1 << 80]
    expected = np.diff(np.array(ends, dtype=object)).astype(float) / 2**80 * drawn.size

    # The tails with less than ten expected samples make one class.
    common = expected >= 10
    pairs = [(counted[i], expected[i]) for i in np.flatnonzero(common)]
    pairs.append((drawn.size - sum(seen for seen, _ in pairs), expected[~common].sum()))
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in pairs)

    freedom = len(pairs) - 1
    assert freedom > 60
    # The key is fixed: this cannot fail by chance, only by a change.
    assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)
    assert np.abs(drawn).max() <= NOISE_BOUND
    assert drawn.std() == pytest.approx(6.5, abs=0.005)
    assert drawn.mean() == pytest.approx(0, abs=0.01)
