"""One way to draw measures with their intervals, for the plots of all experiments."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.privacy.numbers import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_measures(
    axes: "Axes", places: Sequence[float], measures: Sequence[Measure], **style: Any
) -> None:
    """Draw measures as points with error bars.

    Args:
        axes: Where to draw.
        places: Along the x axis, one a measure.
        measures: Values with their intervals.
        style: What matplotlib's `errorbar` takes: ``fmt``, ``color``, ``label``..
    """
    values = [one.value for one in measures]
    axes.errorbar(places, values, errors(measures), capsize=3, **style)


def errors(measures: Sequence[Measure]) -> tuple[list[float], list[float]]:
    """Return how far each interval reaches below its value, and above."""
    below = [max(0.0, one.value - one.low) for one in measures]
    above = [max(0.0, one.high - one.value) for one in measures]
    return below, above
