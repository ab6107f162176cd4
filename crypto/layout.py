"""What a client's vector holds: model coordinates first, then extras in limbs.

Counts and metrics travel as further integers of the same encrypted vector, so none
of them leaves a client readable. Implements PROTOCOL.md section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from crypto.encoding import lp, u8, u32, u64
from crypto.errors import ParameterError
from crypto.params import METRIC_FRACTION_BITS, AggregationParams

TRAIN: Final = 1
EVALUATE: Final = 2

NUM_EXAMPLES: Final = "num-examples"
CLIPPED_SHARE: Final = "clipped-share"
UPDATE_PEAK: Final = "update-peak"
PEAK_LIMIT: Final = 16.0  # in clips; a larger one only has to show as large
RESERVED: Final = (NUM_EXAMPLES, CLIPPED_SHARE, UPDATE_PEAK)


@dataclass(frozen=True)
class Extra:
    """One number beside the model, as an integer split into limbs.

    Attributes:
        name: Its key in the opened metrics.
        limit: Largest absolute value one client sends; more is clamped to it.
        limbs: Balanced digits it takes, lowest first.
        fraction_bits: Scale exponent: integer = value * 2**fraction_bits.
        weighted: Whether the value is multiplied by the client's example count.
        largest: Largest absolute integer one client sends.
    """

    name: str
    limit: float
    limbs: int
    fraction_bits: int
    weighted: bool
    largest: int


@dataclass(frozen=True)
class Layout:
    """The vector of one round and phase.

    Attributes:
        dim: Model coordinates, in the order of the model's arrays.
        extras: Further numbers, sorted by name.
    """

    dim: int
    extras: tuple[Extra, ...]

    @cached_property
    def num_values(self) -> int:
        """Integers in the vector: coordinates and all limbs."""
        return self.dim + sum(extra.limbs for extra in self.extras)

    def to_bytes(self) -> bytes:
        """Return the bytes that go into the round context."""
        parts = [u64(self.dim), u32(len(self.extras))]
        for extra in self.extras:
            parts.append(lp(extra.name.encode()) + u8(extra.limbs))
            parts.append(u8(extra.fraction_bits) + u8(extra.weighted))
        return b"".join(parts)


def make_layout(
    params: AggregationParams, *, phase: int, dim: int, metrics: Sequence[str]
) -> Layout:
    """Lay out a round's vector from public facts only.

    Args:
        params: The run's parameters; they bound every metric.
        phase: `TRAIN` or `EVALUATE`.
        dim: Model coordinates; 0 in an evaluation.
        metrics: Names of the metrics that travel.

    Raises:
        ParameterError: If the phase is unknown, a dimension does not fit it, or a
            metric is unknown, reserved or named twice.
    """
    if phase not in (TRAIN, EVALUATE):
        raise ParameterError(f"unknown phase {phase}")
    if (dim > 0) != (phase == TRAIN):
        raise ParameterError(f"phase {phase} cannot have {dim} coordinates")
    if len(set(metrics)) != len(metrics):
        raise ParameterError("a metric is named twice")
    extras = [_extra(params, NUM_EXAMPLES, params.w_max, fraction_bits=0)]
    if phase == TRAIN:
        extras.append(_extra(params, CLIPPED_SHARE, 1.0))
        extras.append(_extra(params, UPDATE_PEAK, PEAK_LIMIT))
    extras += [_metric(params, name) for name in metrics]
    return Layout(dim, tuple(sorted(extras, key=lambda extra: extra.name)))


def _metric(params: AggregationParams, name: str) -> Extra:
    if name in RESERVED or name not in params.metrics:
        known = sorted(set(params.metrics) - set(RESERVED))
        raise ParameterError(f"metric {name!r} is not among the run's: {known}")
    return _extra(params, name, params.metrics[name], weighted=True)


def _extra(
    params: AggregationParams,
    name: str,
    limit: float,
    *,
    fraction_bits: int = METRIC_FRACTION_BITS,
    weighted: bool = False,
) -> Extra:
    """Size an extra: l digits of g bits hold ``|z| <= 2**(g*l - 2)`` (section 3.2)."""
    largest = round(limit * (params.w_max if weighted else 1) * 2**fraction_bits)
    limbs = -(-(largest.bit_length() + 2) // params.limb_bits)
    return Extra(name, limit, limbs, fraction_bits, weighted, largest)
