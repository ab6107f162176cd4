"""Draws E5: the test against the number of clients, and the average-case view."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.privacy.numbers import Measure
from experiments.privacy.plotting import draw_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = (("o-", "first step, from zero weights"), ("s--", "later round"))
_PLAIN_PLACE = 1  # a single update is a sum of one


def draw(
    clients: Sequence[int],
    curves: Sequence[Sequence[Measure]],
    plain: Sequence[Measure],
    variances: Sequence[Measure],
) -> "Figure":
    """Draw both panels.

    Args:
        clients: In the sums.
        curves: The AUC per number of clients, at the first step and later.
        plain: The AUC on the target's own update, at both models.
        variances: Per number of clients, the share of the sum that is the target's.
    """
    # Not pyplot: a figure of our own needs no display and leaves no state behind.
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    figure = Figure(figsize=(7, 8), layout="constrained")
    above, below = figure.subplots(2, 1)
    _draw_test(above, clients, curves, plain)
    _draw_average(below, clients, variances)
    # Between the curves and the null.
    between = {"loc": "upper right", "bbox_to_anchor": (1, 0.81)}
    above.legend(fontsize=9, frameon=False, **between)
    below.legend(fontsize=9, frameon=False)
    for axes in (above, below):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("clients in the sum")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_test(
    axes: "Axes",
    clients: Sequence[int],
    curves: Sequence[Sequence[Measure]],
    plain: Sequence[Measure],
) -> None:
    nulls = [one for curve in curves for one in curve]
    axes.axhspan(
        min(one.null_low or 0.0 for one in nulls),
        max(one.null_high or 1.0 for one in nulls),
        color="0.85",
        label="null: it sent neither",
    )
    axes.axhline(0.5, color="0.5", linewidth=1)
    for curve, (style, name) in zip(curves, _STYLES, strict=True):
        draw_measures(axes, clients, curve, fmt=style, label=f"opened sum, {name}")
    axes.set_prop_cycle(None)  # the same colours again
    for one, (style, name) in zip(plain, _STYLES, strict=True):
        place, form = [_PLAIN_PLACE], style[0]
        label = f"plain: one update, {name}"
        axes.plot(
            place, [one.value], form, markersize=11, fillstyle="none", label=label
        )
    axes.set_ylim(0.3, 1.03)
    axes.set_ylabel("AUC, attacker knows the two mails")


def _draw_average(
    axes: "Axes", clients: Sequence[int], variances: Sequence[Measure]
) -> None:
    axes.fill_between(
        clients,
        [one.null_low or 0.0 for one in variances],
        [one.null_high or 0.0 for one in variances],
        color="0.85",
        label="null: a mail that is not in the sum",
    )
    draw_measures(axes, clients, variances, fmt="o-", label="average case, first step")
    falling = [1 / n for n in clients]
    axes.plot(
        clients, falling, color="0.3", linestyle=":", label="1/n (Elkordy et al. 2023)"
    )
    axes.set_yscale("log")
    axes.set_ylabel("squared correlation of sum and target")
