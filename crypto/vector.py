"""A client's float update and metrics as one vector of bounded integers, and back.

Every protocol mode encodes with these functions, so all give the same integer sum.
Implements PROTOCOL.md section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from crypto.errors import NonFiniteError, ParameterError, SumRangeError
from crypto.layout import (
    CLIPPED_SHARE,
    NUM_EXAMPLES,
    UPDATE_PEAK,
    Extra,
    Layout,
)
from crypto.params import AggregationParams

_CHUNK = 1 << 15  # coordinates at once: what is touched stays in the processor's cache

IntVector = NDArray[np.int64]


@dataclass(frozen=True)
class Contribution:
    """What one client brings to a round, before encoding; never printed.

    Attributes:
        update: Shape (dim,), float32: local minus global parameters, unclipped.
        num_examples: Size of its shard; the weight of the client.
        metrics: Means over the client's examples, by name.
    """

    update: NDArray[np.float32] = field(repr=False)
    num_examples: int = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)


@dataclass(frozen=True)
class Aggregate:
    """The opened sum of one round, as means.

    Attributes:
        mean_update: Shape (dim,), float64, in the units of the updates.
        num_examples: Summed example counts, each clamped to ``w_max``.
        metrics: Means over examples, and over clients for clipped-share and
            update-peak.
    """

    mean_update: NDArray[np.float64]
    num_examples: int
    metrics: Mapping[str, float]


def encode(
    contribution: Contribution, params: AggregationParams, layout: Layout
) -> IntVector:
    """Clip, weight and round a contribution to integers.

    A coordinate becomes ``rint(clip(u) * min(num, w_max) / w_max * scale)``: the
    weight is normalised before rounding, so that ``|x| <= params.max_value`` and the
    slot does not grow with it. Rounding adds at most half a step per client.

    Returns:
        Shape (layout.num_values,), int64, every value in
        ``[-params.max_value, params.max_value]``.

    Raises:
        NonFiniteError: If the update or a metric is NaN or infinite.
        ParameterError: If the update does not fit the layout, there is no example,
            or a metric of the layout is missing.
    """
    update = contribution.update
    if update.shape != (layout.dim,):
        raise ParameterError(
            f"the update has {update.size} values, the layout {layout.dim}"
        )
    if contribution.num_examples < 1:
        raise ParameterError("a client without examples has nothing to contribute")
    weight = min(contribution.num_examples, params.w_max)
    values = np.empty(layout.num_values, dtype=np.int64)
    own = _encode_update(update, weight, params, values[: layout.dim])
    values[layout.dim :] = [
        limb
        for extra in layout.extras
        for limb in _to_limbs(_extra_value(extra, contribution, own), extra, params)
    ]
    return values


def decode(
    total: IntVector, num_clients: int, params: AggregationParams, layout: Layout
) -> Aggregate:
    """Turn the exact integer sum of `num_clients` vectors into means.

    Against the mean of the unrounded clipped updates the error is at most half a
    step per client: ``num_clients * 0.5 / (scale * sum of normalised weights)``.

    Args:
        total: Shape (layout.num_values,), the sum of `encode` over the clients.
        num_clients: How many clients are in the sum.
        params: The run's parameters.
        layout: The round's layout.

    Raises:
        SumRangeError: If a sum is larger than honest clients can make it, or the
            examples add up to nothing.
    """
    if total.shape != (layout.num_values,):
        raise SumRangeError("the opened sum has another length than the layout")
    largest = num_clients * params.max_value
    if total.max(initial=0) > largest or total.min(initial=0) < -largest:
        raise SumRangeError("a sum is larger than its contributors can make it")
    sums = _extra_sums(total, params, layout)
    if any(abs(sums[e.name]) > num_clients * e.largest for e in layout.extras):
        raise SumRangeError("a metric is larger than its contributors can make it")
    num_examples = sums.pop(NUM_EXAMPLES)
    if num_examples < 1:
        raise SumRangeError("the contributors' examples add up to nothing")
    metrics = {}
    for extra in layout.extras:
        if extra.name != NUM_EXAMPLES:
            divisor = num_examples if extra.weighted else num_clients
            metrics[extra.name] = sums[extra.name] / 2**extra.fraction_bits / divisor
    steps = params.scale * num_examples / params.w_max
    return Aggregate(total[: layout.dim] / steps, num_examples, metrics)


def _encode_update(
    update: NDArray[np.float32],
    weight: int,
    params: AggregationParams,
    values: IntVector,
) -> dict[str, float]:
    """Write the coordinates, and return the extras that come from the update itself."""
    peak, clipped = 0.0, 0
    for start in range(0, len(update), _CHUNK):
        chunk = update[start : start + _CHUNK].astype(np.float64)
        size = np.abs(chunk)
        largest = float(size.max())
        if not isfinite(largest):  # a NaN is the largest, too
            raise NonFiniteError("the update contains NaN or infinity; it is not sent")
        peak = max(peak, largest)
        if largest > params.clip:
            clipped += int(np.count_nonzero(size > params.clip))
            np.clip(chunk, -params.clip, params.clip, out=chunk)
        chunk *= weight / params.w_max
        chunk *= params.scale
        values[start : start + _CHUNK] = np.rint(chunk, out=chunk)
    return {
        NUM_EXAMPLES: float(weight),
        CLIPPED_SHARE: clipped / max(1, len(update)),
        UPDATE_PEAK: peak / params.clip,
    }


def _extra_value(
    extra: Extra, contribution: Contribution, own: Mapping[str, float]
) -> int:
    if extra.name in own:
        value = own[extra.name]
    elif extra.name in contribution.metrics:
        value = float(contribution.metrics[extra.name])
    else:
        raise ParameterError(f"the app's reply has no metric {extra.name!r}")
    if not isfinite(value):
        raise NonFiniteError(f"metric {extra.name!r} is NaN or infinite")
    clamped = max(-extra.limit, min(extra.limit, value))
    weight = own[NUM_EXAMPLES] if extra.weighted else 1.0
    return round(clamped * weight * (1 << extra.fraction_bits))


def _to_limbs(value: int, extra: Extra, params: AggregationParams) -> list[int]:
    """Write an integer as balanced digits, lowest first (PROTOCOL.md 3.2)."""
    base = 1 << params.limb_bits
    limbs = []
    for _ in range(extra.limbs):
        digit = (value + base // 2) % base - base // 2
        limbs.append(digit)
        value = (value - digit) // base
    return limbs


def _extra_sums(
    total: IntVector, params: AggregationParams, layout: Layout
) -> dict[str, int]:
    """Recombine the summed limbs of every extra, exactly."""
    sums = {}
    at = layout.dim
    for extra in layout.extras:
        limbs = total[at : at + extra.limbs].tolist()
        at += extra.limbs
        sums[extra.name] = sum(
            limb << (params.limb_bits * i) for i, limb in enumerate(limbs)
        )
    return sums
