"""Draws E1: how well a client's words are found, against the number of clients."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.privacy.numbers import Measure
from experiments.privacy.plotting import draw_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^")
_COLOURS = ("C0", "C1", "C2")

Curve = Mapping[int, Measure]
"""By number of clients; each measure has its null."""


def draw(ranked: Mapping[int, Curve], rarest: Mapping[int, Curve]) -> "Figure":
    """Draw both panels, one above the other so that a phone can show them.

    Args:
        ranked: Average precision, by the mails of a client.
        rarest: Share of the rarest words found, by the mails of a client.
    """
    # Not pyplot: a figure of our own needs no display and leaves no state behind.
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    figure = Figure(figsize=(6.8, 7.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_panel(upper, ranked, "listing the commonest words first")
    _draw_panel(lower, rarest, "the same attack on somebody not in the sum")
    upper.set_ylabel("average precision\nof a client's words")
    lower.set_ylabel("share of its 50 rarest\nwords found")
    lower.set_xlabel("clients in the sum (1: the plain view)")
    ticks = sorted({n for curve in ranked.values() for n in curve})
    lower.set_xscale("log")
    lower.set_xticks(ticks, [str(n) for n in ticks])
    lower.minorticks_off()
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_panel(axes: "Axes", curves: Mapping[int, Curve], null: str) -> None:
    for marker, colour, (mails, curve) in zip(
        _MARKERS, _COLOURS, curves.items(), strict=False
    ):
        measures = list(curve.values())
        _draw_null(axes, list(curve), measures, colour)
        draw_measures(
            axes,
            list(curve),
            measures,
            marker=marker,
            color=colour,
            label="1 mail each" if mails == 1 else f"{mails} mails each",
        )
    axes.fill_between([], [], [], color="0.85", label="null of each")
    axes.set_title(f"null: {null}", loc="left", fontsize="medium")
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_null(
    axes: "Axes",
    clients: Sequence[int],
    measures: Sequence[Measure],
    colour: str,
) -> None:
    """Draw a grey band, with a dotted line in the colour of what it belongs to."""
    nulls = np.array([(m.null_low, m.null, m.null_high) for m in measures], float)
    axes.fill_between(clients, nulls[:, 0], nulls[:, 2], color="0.85", linewidth=0)
    axes.plot(clients, nulls[:, 1], linestyle=":", color=colour)
