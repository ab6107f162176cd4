"""Which share of the images a cheating server gets, and what each check leaves."""
# ruff: noqa: PLC0415 - matplotlib takes a second to import

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.privacy.imprint.attack import expected_share
from experiments.privacy.plotting import draw_measures, errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.privacy.numbers import Measure

_MARKERS = "os^D"


def draw(
    points: Mapping[int, Mapping[int, "Measure"]],
    bars: Mapping[str, Sequence["Measure"]],
    clients: Sequence[int],
    null: "Measure",
) -> "Figure":
    """Draw both panels.

    Args:
        points: Bins, then images in the sum, to the share of them.
        bars: What the server tries, to its share for every number of clients.
        clients: Those numbers.
        null: The share that the nearest public image would do for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.1))
    _draw_points(above, points)
    _draw_bars(below, bars, clients)
    high = max(null.high, 0.006)  # a line where it is nothing
    for band in (above.axhspan, below.axvspan):
        band(null.low, high, color="0.6", label="nearest public image (null)")
    above.legend(fontsize=9)
    place = {"loc": "lower center", "bbox_to_anchor": (0.36, 1.0)}
    below.legend(fontsize=9, ncols=len(clients) + 1, columnspacing=1, **place)
    return figure


def _draw_points(axes: "Axes", points: Mapping[int, Mapping[int, "Measure"]]) -> None:
    every = [count / bins for bins, shares in points.items() for count in shares]
    ratios = np.geomspace(min(every) / 1.3, max(every) * 1.3, 200)
    bins = max(points)
    curve = [expected_share(bins, ratio * bins) for ratio in ratios]
    axes.plot(ratios, curve, color="0.3", lw=1, label="chance to be alone in a bin")
    for number, (bins, shares) in enumerate(sorted(points.items())):
        values = list(shares.values())
        draw_measures(
            axes,
            [count / bins for count in shares],
            values,
            fmt=_MARKERS[number % len(_MARKERS)],
            label=f"layer of {bins:,} bins",
        )
    axes.set(xscale="log", ylim=(-0.03, 1.05))
    axes.set_xlabel("images in the opened sum, per bin")
    axes.set_ylabel("share of images rebuilt")
    axes.grid(alpha=0.3)


def _draw_bars(
    axes: "Axes", bars: Mapping[str, Sequence["Measure"]], clients: Sequence[int]
) -> None:
    height = 0.8 / len(clients)
    for number, count in enumerate(clients):
        values = [measures[number] for measures in bars.values()]
        axes.barh(
            np.arange(len(bars)) + (number - (len(clients) - 1) / 2) * height,
            [one.value for one in values],
            height,
            xerr=errors(values),
            capsize=3,
            label=f"{count} clients",
        )
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("share of images rebuilt")
    axes.grid(alpha=0.3, axis="x")
