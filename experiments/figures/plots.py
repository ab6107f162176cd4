"""Draws the figures as PNG and SVG."""
# ruff: noqa: PLC0415 - matplotlib takes a second to import

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.figures.alone import Curve
from experiments.figures.chapter15 import BOOK, Chapter15
from experiments.figures.comparison import Comparison
from experiments.figures.runs import FinishedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.2, 3.2  # inches of one panel


def plot_comparisons(comparisons: Sequence[Comparison], folder: Path) -> Path:
    """Draw one panel a task; return the PNG, the SVG lies beside it."""
    figure, panels = _panels(len(comparisons))
    for axes, one in zip(panels, comparisons, strict=True):
        _draw_comparison(axes, one)
    panels[0].legend(fontsize=8)
    return _save(figure, folder / "training")


def plot_chapter15(result: Chapter15, folder: Path) -> Path:
    """Draw the five shuffles, their mean, Sue by herself and the book's curve."""
    figure, (axes,) = _panels(1)
    rounds = np.arange(1, result.federated.shape[1] + 1)
    for curve in result.federated:
        axes.plot(rounds, curve, color="C0", alpha=0.3, linewidth=1)
    mean = result.federated.mean(axis=0)
    axes.plot(rounds, mean, "o-", color="C0", label="encrypted, mean of 5 shuffles")
    axes.plot(rounds, result.sue.mean(axis=0), "s--", color="C1", label="Sue alone")
    axes.plot(rounds, BOOK, "x:", color="0.4", label="the book, its own data")
    axes.set_title("Chapter 15: Bob, Alice and Sue", fontsize=10)
    axes.set_xticks(rounds)
    _label(axes, "test accuracy")
    axes.legend(fontsize=8)
    return _save(figure, folder / "chapter15")


def _draw_comparison(axes: "Axes", one: Comparison) -> None:
    curves: list[tuple[str, str, Curve | FinishedRun]] = [
        ("encrypted", "-", one.encrypted),
        ("centralised", "--", one.central),
        ("plain", "x", one.plain),
    ]
    for name, style, curve in curves:
        values = np.exp(curve.losses) if one.language else np.array(curve.accuracies)
        # The first network guesses: leaving it out shows the rest in full height.
        rounds = np.arange(1, len(values))
        axes.plot(rounds, values[1:], style, label=name, markersize=5)
    axes.set_title(f"{one.task}: {one.clients} clients, {one.partition}", fontsize=10)
    _label(axes, "test perplexity" if one.language else "test accuracy")


def _label(axes: "Axes", what: str) -> None:
    axes.set_xlabel("round")
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)


def _panels(count: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    return figure, panels


def _save(figure: "Figure", path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".svg"))
    figure.savefig(path.with_suffix(".png"), dpi=120)
    return path.with_suffix(".png")
