"""The charts of the report: matplotlib draws them as SVG, the page colours them.

A colour is a name that the page's style sheet knows, so one drawing serves light and
dark pages. Text stays text, in the reader's own font.
"""
# ruff: noqa: PLC0415 - matplotlib takes half a second, and the command line waits

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal as readable_bytes

from experiments.summary import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from experiments.summary import Row

# Stand-ins that matplotlib takes for colours; each becomes var(--NAME) in the page.
_COLOURS: Final = {
    name: f"#0102{number:02x}"
    for number, name in enumerate(
        ("ink", "rule", "blue", "orange", "green", "purple", "grey")
    )
}
_PHASE_COLOURS: Final = ("blue", "orange", "green", "purple", "grey")
_SIZE: Final = (4.2, 2.5)  # inches: 403 pixels, a phone's width, so text stays legible
_MANY_POINTS: Final = 40  # more of them, and markers hide the line
_BAR: Final = 0.4  # half the width of a bar, in rounds
# Names of groups that nothing refers to; the same in every drawing, so not unique.
_NAMES = re.compile(r' id="[A-Za-z0-9.]+_\d+"')
_PATH = re.compile(r' d="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")  # after the second place they show nothing
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def line_chart(rows: Sequence[Row], name: str) -> str:
    """Draw one value over the rounds; empty if no round has a finite one.

    Args:
        rows: The rounds.
        name: ``accuracy``, ``loss`` or ``perplexity``.
    """
    points = [(row["round"], row[name]) for row in rows if row[name] is not None]
    if not any(math.isfinite(value) for _, value in points):
        return ""
    rounds = [number for number, _ in points]
    values = [value if math.isfinite(value) else math.nan for _, value in points]

    def paint(axes: Axes) -> None:
        marker = "o" if len(points) <= _MANY_POINTS else ""
        blue = _COLOURS["blue"]
        axes.plot(rounds, values, color=blue, marker=marker, markersize=3.5)

    return _draw(name, f"{name} over the rounds", paint)


def seconds_chart(rows: Sequence[Row]) -> str:
    """Draw the seconds of every round, phase upon phase; empty if no round ended."""
    done = [row for row in rows if row["seconds"]["total"] is not None]
    if not done:
        return ""
    rounds = [row["round"] for row in done]
    phases = [phase for phase in PHASES if phase != "total"]
    parts = {p: [row["seconds"][p] or 0.0 for row in done] for p in phases}
    # What no phase counts: choosing clients, packing the model, waiting for clients.
    parts["other"] = [
        max(0.0, row["seconds"]["total"] - sum(parts[p][i] for p in phases))
        for i, row in enumerate(done)
    ]

    def paint(axes: Axes) -> None:
        base = [0.0] * len(done)
        for colour, (phase, seconds) in zip(_PHASE_COLOURS, parts.items(), strict=True):
            top = [low + more for low, more in zip(base, seconds, strict=True)]
            _bars(
                axes,
                rounds,
                (base, top),
                (-_BAR, _BAR),
                label=phase,
                colour=colour,
            )
            base = top
        axes.set_ylim(bottom=0)

    return _draw("seconds", "seconds by phase over the rounds", paint)


def bytes_chart(rows: Sequence[Row], plain: Sequence[int]) -> str:
    """Draw what went up and down in every round; empty if no round ended.

    Args:
        rows: The rounds.
        plain: For each row the bytes of the float32 models of the clients asked.
    """
    done = [
        (row, size)
        for row, size in zip(rows, plain, strict=True)
        if row["seconds"]["total"] is not None
    ]
    if not done:
        return ""
    rounds = [row["round"] for row, _ in done]

    def paint(axes: Axes) -> None:
        zero = [0.0] * len(done)
        up, down = ([row[f"bytes_{way}"] for row, _ in done] for way in ("up", "down"))
        _bars(axes, rounds, (zero, up), (-_BAR, 0.0), label="up", colour="blue")
        _bars(axes, rounds, (zero, down), (0.0, _BAR), label="down", colour="orange")
        edges = (-_BAR, _BAR)
        starts, ends = ([number + edge for number in rounds] for edge in edges)
        axes.hlines(
            [size for _, size in done],
            starts,
            ends,
            color=_COLOURS["ink"],
            linestyle="dashed",
            linewidth=1.2,
            label="float32, in the clear",
        )
        axes.yaxis.set_major_formatter(lambda size, _: readable_bytes(int(size)))
        axes.set_ylim(bottom=0)

    return _draw("bytes", "bytes up and down over the rounds", paint)


def _bars(
    axes: Axes,
    rounds: Sequence[int],
    span: tuple[Sequence[float], Sequence[float]],
    edges: tuple[float, float],
    *,
    label: str,
    colour: str,
) -> None:
    """Draw one bar a round as one path, so that a thousand rounds stay a small page.

    Args:
        axes: Where to.
        rounds: Numbers of the rounds, rising.
        span: Where each bar starts and ends.
        edges: Left and right of a bar, from its round's number.
        label: Of all bars, in the legend.
        colour: Its name.
    """
    sides = [number + edge for number in rounds for edge in edges]
    base, top = (list(_with_gaps(values)) for values in span)
    axes.stairs(
        top, sides, baseline=base, fill=True, color=_COLOURS[colour], label=label
    )


def _with_gaps(values: Sequence[float]) -> Iterator[float]:
    """Put an empty bar between two bars."""
    for i, value in enumerate(values):
        if i:
            yield math.nan
        yield value


def _draw(name: str, label: str, paint: Callable[[Axes], None]) -> str:
    """Return a drawing as an SVG element to be put into a page.

    Args:
        name: Tells the ids inside apart from those of the page's other drawings.
        label: What people hear who cannot see it.
        paint: Draws into the axes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(_style(name)):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        paint(axes)
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.grid(visible=True)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            figure.legend(loc="outside upper left", ncols=5, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _for_the_page(text.getvalue(), label)


def _style(name: str) -> dict[Any, Any]:
    ink, rule = _COLOURS["ink"], _COLOURS["rule"]
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 8.5,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": rule,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": rule,
        "grid.linewidth": 0.6,
        "xtick.color": ink,
        "ytick.color": ink,
        "legend.columnspacing": 1.0,
        "legend.handlelength": 1.2,
    }


def _for_the_page(svg: str, label: str) -> str:
    svg = _METADATA.sub("", svg[svg.index("<svg") :])
    svg = _NAMES.sub("", svg)
    svg = _PATH.sub(lambda path: _DIGITS.sub(r"\1", path[0]), svg)
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    # The page decides how large it is; viewBox keeps its proportions.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
