"""Fair timing: every measurement in turn, again and again, and medians of that.

A busy machine slows whatever runs at that moment. Taken in alternation, both sides
of a comparison are slowed alike; CPU seconds leave out the waiting.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_MIN_SAMPLE_SECONDS = 0.002  # shorter calls are repeated within one sample
_MAX_CALLS = 1000
_LONG_SECONDS = 1.0  # a first call that takes longer is not made again to see


@dataclass(frozen=True)
class Measurement:
    """Something to time.

    Attributes:
        name: What the reports call it.
        call: Does it once.
        items: How many items one call handles; times are per item.
    """

    name: str
    call: Callable[[], object]
    items: int = 1


@dataclass(frozen=True)
class Sample:
    """What one item took.

    Attributes:
        wall_seconds: On the clock.
        cpu_seconds: Of this process, all its threads together.
    """

    wall_seconds: float
    cpu_seconds: float


Samples = Mapping[str, Sequence[Sample]]


def alternate(
    measurements: Sequence[Measurement],
    *,
    repetitions: int,
    tick: Callable[[], object] = lambda: None,
) -> Samples:
    """Time all measurements, one after the other, several times over.

    Args:
        measurements: With different names.
        repetitions: Samples of each.
        tick: Called after every repetition.

    Returns:
        The samples by name, in the order they were taken.
    """
    calls = {one.name: _calls_per_sample(one) for one in measurements}
    samples: dict[str, list[Sample]] = {one.name: [] for one in measurements}
    for _ in range(repetitions):
        for one in measurements:
            samples[one.name].append(_sample(one, calls[one.name]))
        tick()
    return samples


def middle(samples: Sequence[Sample]) -> Sample:
    """Return the medians of wall and of CPU time."""
    return Sample(
        median(sample.wall_seconds for sample in samples),
        median(sample.cpu_seconds for sample in samples),
    )


def cpu_ratio(slower: Sequence[Sample], faster: Sequence[Sample]) -> float:
    """Return how many times faster, in CPU time; median over pairs taken together."""
    pairs = zip(slower, faster, strict=True)
    return median(one.cpu_seconds / other.cpu_seconds for one, other in pairs)


def wall_ratio(slower: Sequence[Sample], faster: Sequence[Sample]) -> float:
    """Return how many times faster on the clock; median over pairs taken together."""
    pairs = zip(slower, faster, strict=True)
    return median(one.wall_seconds / other.wall_seconds for one, other in pairs)


def saved_share(whole: Sequence[Sample], less: Sequence[Sample]) -> float:
    """Return the share of the whole's CPU time that is saved without something.

    Median over pairs taken together.
    """
    pairs = zip(whole, less, strict=True)
    return median(1 - part.cpu_seconds / all_.cpu_seconds for all_, part in pairs)


def _calls_per_sample(measurement: Measurement) -> int:
    first = time.perf_counter()
    measurement.call()  # the first call may fill caches
    if time.perf_counter() - first > _LONG_SECONDS:
        return 1
    took = _sample(measurement, 1).wall_seconds * measurement.items
    return min(_MAX_CALLS, max(1, math.ceil(_MIN_SAMPLE_SECONDS / max(took, 1e-9))))


def _sample(measurement: Measurement, calls: int) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        measurement.call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    items = calls * measurement.items
    return Sample(wall / items, cpu / items)
