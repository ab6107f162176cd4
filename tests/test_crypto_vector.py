"""A sum of encodings decodes to the weighted mean, exactly as integers allow."""

from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import NonFiniteError, ParameterError, SumRangeError
from crypto.layout import (
    CLIPPED_SHARE,
    TRAIN,
    UPDATE_PEAK,
    make_layout,
)
from crypto.vector import Aggregate, Contribution, IntVector, decode, encode
from tests.crypto_group import make_params

PARAMS = make_params()
LAYOUT = make_layout(PARAMS, phase=TRAIN, dim=3, metrics=["loss"])
UPDATE = np.array([0.5, -1.25, 3.0], dtype=np.float32)


def _contribution(**changes: Any) -> Contribution:
    values: dict[str, Any] = {
        "update": UPDATE,
        "num_examples": 100,
        "metrics": {"loss": 0.25},
    }
    return Contribution(**(values | changes))


def _mean(contributions: list[Contribution], **changes: Any) -> Aggregate:
    params = make_params(**changes)
    dim = contributions[0].update.size
    names = sorted(contributions[0].metrics)
    layout = make_layout(params, phase=TRAIN, dim=dim, metrics=names)
    total = _sum([encode(one, params, layout) for one in contributions])
    return decode(total, len(contributions), params, layout)


def _sum(vectors: list[IntVector]) -> IntVector:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total += vector
    return total


@given(
    st.integers(4, 24),
    st.lists(
        st.tuples(
            st.integers(1, 3000),
            st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_weighted_mean_is_within_half_a_step_per_client(
    bits: int, clients: list[tuple[int, list[float]]]
) -> None:
    params = make_params(value_bits=bits)
    opened = _mean(
        [
            Contribution(np.array(update, dtype=np.float32), number, {})
            for number, update in clients
        ],
        value_bits=bits,
    )

    weights = [
        Fraction(min(number, params.w_max), params.w_max) for number, _ in clients
    ]
    bound = len(clients) / 2 / (Fraction(params.scale) * sum(weights))
    for i in range(2):
        values = [Fraction(max(-2.0, min(2.0, update[i]))) for _, update in clients]
        exact = sum(map(mul, weights, values), Fraction()) / sum(weights)
        error = abs(Fraction(float(opened.mean_update[i])) - exact)
        # Float64 adds a few units of 2**-53 on values of 23 bits: below 2**-20 steps.
        assert error <= bound * (1 + Fraction(1, 2**20))


def test_equal_weights_give_the_plain_mean() -> None:
    clients = [
        _contribution(update=np.array([u], dtype=np.float32)) for u in (-1, 0, 1.75)
    ]

    opened = _mean(clients)

    assert opened.mean_update == pytest.approx([0.25], abs=1e-4)


def test_weights_count_in_the_mean() -> None:
    clients = [
        _contribution(update=np.array([1], dtype=np.float32), num_examples=900),
        _contribution(update=np.array([-1], dtype=np.float32), num_examples=100),
    ]

    assert _mean(clients).mean_update == pytest.approx([0.8], abs=1e-4)


def test_count_above_the_largest_weight_is_clamped() -> None:
    clients = [_contribution(num_examples=10**9), _contribution(num_examples=24)]

    assert _mean(clients).num_examples == 1024 + 24


def test_encoding_never_exceeds_the_largest_value() -> None:
    huge = np.array([3e38, -3e38, 2.0], dtype=np.float32)

    encoded = encode(_contribution(update=huge, num_examples=1024), PARAMS, LAYOUT)

    limit = PARAMS.max_value
    assert encoded[:3].tolist() == [limit, -limit, limit]
    assert np.abs(encoded).max() <= limit


@pytest.mark.parametrize("clip", [2.0**-126, 1e-30, 1e30, 2.0**126])
def test_extreme_clip_still_encodes_within_its_bound(clip: float) -> None:
    params = make_params(clip=clip)
    update = np.array([1e-45, -3e38, 0], dtype=np.float32)

    encoded = encode(_contribution(update=update), params, LAYOUT)

    assert np.abs(encoded).max() <= params.max_value


def test_order_of_the_clients_does_not_matter() -> None:
    clients = [_contribution(num_examples=n) for n in (1, 500, 77)]

    one, two = _mean(clients), _mean(clients[::-1])

    assert one.mean_update.tolist() == two.mean_update.tolist()
    assert one.metrics == two.metrics


def test_clipped_share_is_the_mean_share_of_clipped_coordinates() -> None:
    half = _contribution(update=np.array([3, 0, 0, -3], dtype=np.float32))
    none = _contribution(update=np.zeros(4, dtype=np.float32))

    assert _mean([half, none]).metrics[CLIPPED_SHARE] == 0.25


def test_coordinate_at_the_clip_counts_as_unclipped() -> None:
    edge = _contribution(update=np.array([2, -2], dtype=np.float32))

    assert _mean([edge]).metrics[CLIPPED_SHARE] == 0


def test_update_peak_is_counted_in_clips() -> None:
    peak = _contribution(update=np.array([0, -5], dtype=np.float32))

    assert _mean([peak]).metrics[UPDATE_PEAK] == 2.5


def test_update_peak_is_clamped() -> None:
    peak = _contribution(update=np.array([1e30], dtype=np.float32))

    assert _mean([peak]).metrics[UPDATE_PEAK] == 16


def test_metric_above_its_bound_is_clamped() -> None:
    assert _mean([_contribution(metrics={"loss": 1e300})]).metrics["loss"] == 1024


def test_metric_is_weighted_by_examples() -> None:
    clients = [
        _contribution(metrics={"loss": 1.0}, num_examples=300),
        _contribution(metrics={"loss": 5.0}, num_examples=100),
    ]

    assert _mean(clients).metrics["loss"] == 2.0


def test_metric_that_is_not_asked_for_stays_with_the_client() -> None:
    extra = _contribution(metrics={"loss": 0.25, "secret": 7.0})

    assert encode(extra, PARAMS, LAYOUT).tolist() == (
        encode(_contribution(), PARAMS, LAYOUT).tolist()
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_update_that_is_not_finite_is_refused(value: float) -> None:
    update = np.array([0, value, 0], dtype=np.float32)

    with pytest.raises(NonFiniteError, match="the update contains NaN or infinity"):
        encode(_contribution(update=update), PARAMS, LAYOUT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_metric_that_is_not_finite_is_refused_by_name(value: float) -> None:
    with pytest.raises(NonFiniteError, match="metric 'loss' is NaN or infinite"):
        encode(_contribution(metrics={"loss": value}), PARAMS, LAYOUT)


def test_missing_metric_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="has no metric 'loss'"):
        encode(_contribution(metrics={}), PARAMS, LAYOUT)


@pytest.mark.parametrize("size", [0, 2, 4])
def test_update_of_another_length_is_refused(size: int) -> None:
    update = np.zeros(size, dtype=np.float32)

    with pytest.raises(ParameterError, match=f"has {size} values, the layout 3"):
        encode(_contribution(update=update), PARAMS, LAYOUT)


def test_update_of_another_shape_is_refused() -> None:
    with pytest.raises(ParameterError, match="the layout 3"):
        encode(_contribution(update=UPDATE.reshape(1, 3)), PARAMS, LAYOUT)


@pytest.mark.parametrize("number", [0, -1])
def test_client_without_examples_is_refused(number: int) -> None:
    with pytest.raises(ParameterError, match="without examples"):
        encode(_contribution(num_examples=number), PARAMS, LAYOUT)


def test_sum_of_another_length_is_refused() -> None:
    total = encode(_contribution(), PARAMS, LAYOUT)

    with pytest.raises(SumRangeError, match="another length"):
        decode(total[:-1], 1, PARAMS, LAYOUT)


@pytest.mark.parametrize("sign", [1, -1])
def test_sum_that_its_clients_cannot_reach_is_refused(sign: int) -> None:
    total = 2 * encode(_contribution(), PARAMS, LAYOUT)
    total[1] = sign * (2 * PARAMS.max_value + 1)

    with pytest.raises(SumRangeError, match="larger than its contributors"):
        decode(total, 2, PARAMS, LAYOUT)


def test_largest_sum_of_its_clients_is_decoded() -> None:
    total = 2 * encode(_contribution(num_examples=1024), PARAMS, LAYOUT)
    total[1] = 2 * PARAMS.max_value

    assert decode(total, 2, PARAMS, LAYOUT).mean_update[1] == PARAMS.clip


@pytest.mark.parametrize("name", [extra.name for extra in LAYOUT.extras])
@pytest.mark.parametrize("sign", [1, -1])
def test_extra_that_its_clients_cannot_reach_is_refused(name: str, sign: int) -> None:
    total = encode(_contribution(), PARAMS, LAYOUT)
    at = LAYOUT.dim
    for extra in LAYOUT.extras:
        at += extra.limbs
        if extra.name == name:
            total[at - 1] = sign * PARAMS.max_value  # the highest limb

    with pytest.raises(SumRangeError, match="a metric is larger than"):
        decode(total, 1, PARAMS, LAYOUT)


def test_examples_that_add_up_to_nothing_are_refused() -> None:
    total = np.zeros(LAYOUT.num_values, dtype=np.int64)

    with pytest.raises(SumRangeError, match="add up to nothing"):
        decode(total, 3, PARAMS, LAYOUT)


def test_contribution_prints_none_of_its_data() -> None:
    assert repr(_contribution()) == "Contribution()"
