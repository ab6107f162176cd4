"""Draws E6: the error against the number of clients, and against drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.privacy.numbers import Measure
from experiments.privacy.plotting import draw_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = ("o-", "s--", "^:")
_LABELS = {
    "two sets": "default rules: two sums",
    "min-set-change 2": "min-set-change 2: three sums, if allowed",
    "one set": "one set for the run: one sum",
}


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        clients: Of the groups.
        plans: By plan, the relative error per number of clients.
        real: Number of clients and relative error, of real key holders.
        distances: Rounds between the two sums.
        drift: By setting, the relative error per distance.
        anew: The error on one model where clients train in another order.
    """

    clients: Sequence[int]
    plans: Mapping[str, Sequence[Measure]]
    real: Sequence[tuple[int, float]]
    distances: Sequence[int]
    drift: Mapping[str, Sequence[Measure]]
    anew: Measure


def draw(drawing: Drawing) -> "Figure":
    """Draw both panels."""
    # Not pyplot: a figure of our own needs no display and leaves no state behind.
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    figure = Figure(figsize=(7, 8.4), layout="constrained")
    above, below = figure.subplots(2, 1)
    _draw_plans(above, drawing)
    _draw_drift(below, drawing)
    for axes in (above, below):
        axes.set_yscale("log")
        axes.set_ylabel("relative error of the target's update")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=9, frameon=False)
    return figure


def _draw_plans(axes: "Axes", drawing: Drawing) -> None:
    some = next(iter(drawing.plans.values()))
    _draw_null(axes, drawing.clients, some)
    for (name, curve), style in zip(drawing.plans.items(), _STYLES, strict=True):
        draw_measures(axes, drawing.clients, curve, fmt=style, label=_LABELS[name])
    places, values = zip(*drawing.real, strict=True)
    label = "real ciphertexts and key holders"
    axes.plot(places, values, "kx", markersize=9, label=label)
    axes.set_xscale("log")
    axes.set_xticks(drawing.clients, [str(n) for n in drawing.clients], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("clients, same model in every sum")


def _draw_drift(axes: "Axes", drawing: Drawing) -> None:
    some = next(iter(drawing.drift.values()))
    _draw_null(axes, drawing.distances, some)
    for (name, curve), style in zip(drawing.drift.items(), _STYLES, strict=True):
        draw_measures(axes, drawing.distances, curve, fmt=style, label=name)
    anew = drawing.anew
    label = "same model, trained anew in another order"
    axes.plot([0], [anew.value], "kD", markersize=7, label=label)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(drawing.distances, [str(d) for d in drawing.distances])
    axes.minorticks_off()
    axes.set_xlabel("rounds between the sum with and the sum without the target")


def _draw_null(axes: "Axes", places: Sequence[int], curve: Sequence[Measure]) -> None:
    axes.fill_between(
        places,
        [one.null_low or 0.0 for one in curve],
        [one.null_high or 0.0 for one in curve],
        color="0.8",
        label="null: the mean of the others",
    )
