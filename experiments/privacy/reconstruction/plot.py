"""The plot of E4: what was rebuilt, and how well against the number of clients."""
# ruff: noqa: PLC0415 - matplotlib takes a second to import

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.privacy.images.victims import Pixels
from experiments.privacy.numbers import Measure
from experiments.privacy.plotting import draw_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NULL_STYLES = ("-", "--", ":")
_MARKERS = "osD^*P"
_ASIDE = 1.12


@dataclass(frozen=True)
class Panels:
    """What the plot shows.

    Attributes:
        grid: Rows of images by name; every row has one image a victim.
        curves: By name, the number of clients and the PSNR.
        colluded: By name, the number of clients and the PSNR of uploads that the server
            opened together with key holders.
        nulls: By name, the strongest first.
    """

    grid: Mapping[str, Pixels]
    curves: Mapping[str, Sequence[tuple[int, Measure]]]
    colluded: Mapping[str, tuple[int, Measure]]
    nulls: Mapping[str, Measure]


def draw(panels: Panels) -> "Figure":
    """Draw the images above, the curves and the nulls below."""
    from matplotlib.figure import Figure

    rows = len(panels.grid)
    figure = Figure(figsize=(6.6, 0.62 * rows + 4.2), layout="constrained")
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=[0.62 * rows, 4.2]))
    columns = max(len(pixels) for pixels in panels.grid.values())
    axes = above.subplots(rows, columns, squeeze=False)
    for row, (name, pixels) in enumerate(panels.grid.items()):
        for column in range(columns):
            _draw_image(axes[row][column], pixels[column, 0])
        axes[row][0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=9, labelpad=6
        )
    _draw_curves(below.subplots(), panels)
    below.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _draw_image(axes: "Axes", pixels: Pixels) -> None:
    axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_linewidth(0.4)


def _draw_curves(axes: "Axes", panels: Panels) -> None:
    for (name, null), style in zip(panels.nulls.items(), _NULL_STYLES, strict=True):
        axes.axhline(null.value, color="0.5", linestyle=style, label=name)
        if style == _NULL_STYLES[0]:
            axes.axhspan(null.low, null.high, color="0.5", alpha=0.25, linewidth=0)
    ticks: set[int] = set()
    for i, (name, points) in enumerate(panels.curves.items()):
        clients = [num for num, _ in points]
        measures = [one for _, one in points]
        draw_measures(axes, clients, measures, fmt=f"{_MARKERS[i]}-", label=name)
        ticks.update(clients)
    for i, (name, (num, one)) in enumerate(panels.colluded.items()):
        place = num * _ASIDE  # beside the figures of the sums
        style = f"{_MARKERS[-1 - i]}"
        axes.plot(
            place, one.value, style, color="k", fillstyle="none", ms=9, label=name
        )
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [str(num) for num in sorted(ticks)], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 104)
    axes.set_xlabel("clients in the round, one image each (1: no encryption)")
    axes.set_ylabel("likeness to the true image, dB")
    axes.grid(alpha=0.3)
