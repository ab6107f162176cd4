"""Draws E2: the words that can be read off what is sent, by the way of sending."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.privacy.numbers import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(bars: Sequence[tuple[str, Measure]]) -> "Figure":
    """Draw a bar for each way of sending, the null behind them.

    Args:
        bars: What to write beside the bar, and the F1 with its null.
    """
    # Not pyplot: a figure of our own needs no display and leaves no state behind.
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    axes = figure.subplots()
    names, measures = zip(*bars, strict=True)
    values = [one.value for one in measures]
    below = [one.value - one.low for one in measures]
    above = [one.high - one.value for one in measures]
    null = measures[0]
    axes.axvspan(
        null.null_low or 0.0,
        null.null_high or 0.0,
        color="0.85",
        label="null: guessing the commonest words",
    )
    axes.axvline(null.null or 0.0, color="0.5", linestyle=":")
    axes.barh(names, values, xerr=(below, above), capsize=3, height=0.6, color="C0")
    for place, value in enumerate(values):
        axes.text(0.02, place, f"{value:.2f}", va="center", color="white")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03)
    axes.set_xlabel(
        "F1 of the words of one mail, guessed from what is sent\n"
        "* what is read does not depend on the length of the key"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", frameon=False)
    return figure
