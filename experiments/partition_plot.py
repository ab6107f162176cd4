"""Draws who holds what: one stacked bar a client."""
# ruff: noqa: PLC0415 - matplotlib takes half a second, and --help should not wait

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from experiments.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.holdings import Holding, Holdings

# Inches.
_WIDTH: Final = 8.0
_ROW_HEIGHT: Final = 0.28
_MARGINS: Final = 1.2
_MAX_HEIGHT: Final = 24.0
_MAX_NAMES: Final = 60  # more of them would run into each other
_NAME_CHARACTERS: Final = 24


def save_plot(holdings: Holdings, title: str, path: Path) -> tuple[Path, Path]:
    """Draw one bar a client, stacked by label, as PNG and as SVG.

    Args:
        holdings: What to draw.
        title: Above the bars.
        path: Where to write; both files have its name, each with its own ending.

    Returns:
        The two files.

    Raises:
        SettingsError: If they cannot be written.
    """
    import matplotlib as mpl

    files = path.with_suffix(".png"), path.with_suffix(".svg")
    # The same drawing gives the same file: no random names, no date.
    with mpl.rc_context({"svg.hashsalt": "unseen"}):
        figure = _draw(holdings, title)
        try:
            figure.savefig(files[0], dpi=150)
            figure.savefig(files[1], metadata={"Date": None})
        except OSError as error:
            raise SettingsError(
                f"cannot write {path}: {error.strerror}",
                "name another file with --out",
            ) from None
    return files


def _draw(holdings: Holdings, title: str) -> Any:
    # Not pyplot: a figure of our own needs no display and leaves no state behind.
    from matplotlib.figure import Figure

    clients = holdings.clients
    rows = max(len(clients), len(holdings.labels))  # the legend needs them, too
    height = min(_MAX_HEIGHT, _MARGINS + _ROW_HEIGHT * rows)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    _draw_bars(axes, holdings)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_xlabel(holdings.unit)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()  # client 1 on top, as in the table
    axes.set_ylim(len(clients) + 0.5, 0.5)
    if len(clients) <= _MAX_NAMES:
        axes.set_yticks(
            [holding.client for holding in clients],
            [_name(holding) for holding in clients],
        )
    else:
        axes.set_ylabel("client")
    return figure


def _draw_bars(axes: Any, holdings: Holdings) -> None:
    import matplotlib as mpl

    numbers = [holding.client for holding in holdings.clients]
    bars = [holdings.bar(holding) for holding in holdings.clients]
    colours = mpl.colormaps["tab10" if len(bars[0]) <= 10 else "tab20"]  # noqa: PLR2004 - the map's size
    starts = [0] * len(bars)
    for part in range(len(bars[0])):
        sizes = [bar[part] for bar in bars]
        label = str(holdings.labels[part]) if len(bars[0]) > 1 else None
        axes.barh(numbers, sizes, left=starts, color=colours(part), label=label)
        starts = [start + size for start, size in zip(starts, sizes, strict=True)]
    if len(bars[0]) > 1:
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5))


def _name(holding: Holding) -> str:
    if len(holding.owners) != 1:
        return f"client {holding.client}"
    # matplotlib takes what stands between two dollar signs for a formula.
    owner = holding.owners[0][:_NAME_CHARACTERS].replace("$", r"\$")
    return f"{owner} ({holding.client})"
