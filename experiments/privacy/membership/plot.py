"""The ROC curves of the attacks on a released model."""
# ruff: noqa: PLC0415 - matplotlib takes a second to import

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    rates: Sequence[float],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    null: tuple[Sequence[float], Sequence[float]],
) -> "Figure":
    """Draw both attacks, plain and encrypted over one another, on log axes.

    Args:
        rates: False positives.
        curves: Attack, then view, to true positives.
        null: Lower and upper end of the 95 % band by chance.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(rates, *null, color="0.85", label="95 % of targets, by chance")
    axes.plot(rates, rates, color="0.5", linewidth=1)
    for number, (name, views) in enumerate(curves.items()):
        colour, label = f"C{number}", f"{name}, plain"
        axes.plot(rates, views["plain"], color=colour, alpha=0.6, lw=5, label=label)
        label = "the same two, encrypted" if number else ""
        axes.plot(rates, views["encrypted"], ":", color="black", lw=2, label=label)
    axes.set(xscale="log", yscale="log", xlim=(rates[0], 1), ylim=(rates[0], 1.1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.set_xlabel("others wrongly called members")
    axes.set_ylabel("members found, mean of targets")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="lower right")
    return figure
