"""The plot of E3: what is right about one client's labels, against the group's size."""
# ruff: noqa: PLC0415 - matplotlib takes a second to import

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.privacy.numbers import Measure
from experiments.privacy.plotting import draw_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "0.45"


@dataclass(frozen=True)
class Curves:
    """What the plot shows.

    Attributes:
        clients: In the group, rising; the encrypted figures and both nulls' x.
        plain: One client's own update.
        late: The same once the network is trained.
        sums: The opened sum, one a group size; the null is the true mix.
        late_sums: The same once the network is trained.
        alike: The same where all clients hold the same classes.
        guessed: Without any message, one a group size.
        colluded: The server with members of the committee.
        colluded_clients: In that round.
    """

    clients: Sequence[int]
    plain: Measure
    late: Measure
    sums: Sequence[Measure]
    late_sums: Sequence[Measure]
    alike: Sequence[Measure]
    guessed: Sequence[Measure]
    colluded: Measure
    colluded_clients: int


def draw(curves: Curves) -> "Figure":
    """Draw the shares of labels got right against the number of clients."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    _draw_nulls(axes, curves)
    every = [1, *curves.clients]
    for one, style, label in (
        (curves.plain, "-", "plain"),
        (curves.late, ":", "plain, network trained"),
    ):
        axes.plot(every, [one.value] * len(every), style, color="C0", label=label)
    axes.plot(
        curves.colluded_clients,
        curves.colluded.value,
        "D",
        color="C0",
        fillstyle="none",
        markersize=10,
        label="server and key holders collude",
    )
    _draw_line(axes, curves.clients, curves.alike, "C1", "encrypted, clients alike")
    _draw_line(axes, curves.clients, curves.sums, "C2", "encrypted, clients differ")
    late = [one.value for one in curves.late_sums]
    label = "clients differ, network trained"
    axes.plot(curves.clients, late, ":", color="C2", label=label)
    axes.set_xscale("log")
    axes.set_xticks(every, [str(n) for n in every], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1.04)
    axes.set_xlabel("clients in the round")
    axes.set_ylabel("share of a client's labels known")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _draw_nulls(axes: "Axes", curves: Curves) -> None:
    axes.fill_between(
        curves.clients,
        [one.low for one in curves.guessed],
        [one.high for one in curves.guessed],
        color=_GREY,
        alpha=0.35,
        label="guess without a message",
    )
    axes.plot(
        curves.clients,
        [one.null if one.null is not None else float("nan") for one in curves.sums],
        "--",
        color=_GREY,
        linewidth=2.5,
        zorder=4,  # the line of the encrypted view lies on this one
        label="guess the true mix of all",
    )


def _draw_line(
    axes: "Axes",
    clients: Sequence[int],
    measures: Sequence[Measure],
    color: str,
    label: str,
) -> None:
    marker = "o" if color == "C2" else "s"
    draw_measures(axes, clients, measures, fmt=f"{marker}-", color=color, label=label)
