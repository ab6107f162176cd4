"""What an experiment is, and the command line that all of them have.

    python -m experiments.word_leak [--quick] [--data DIR] [--seed 2026] [--out DIR]

Writes `result.json` with every number, interval and null, and the plot as PNG and SVG;
exits with 1 if a control does not hold, because then its numbers mean nothing.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.errors import SettingsError
from experiments.privacy.numbers import Control, Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS: Final = Path("runs/experiments")
SEED: Final = 2026
_MARKS: Final = {True: "holds", False: "DOES NOT HOLD"}


@dataclass(frozen=True)
class Options:
    """What an experiment is told.

    Attributes:
        quick: Whether to stay below half a minute, with fewer victims and sizes.
        seed: Of everything that is drawn, but for secrets.
        data: Folder of the real data sets; None for what is bundled.
        tell: Takes a line about what is going on.
    """

    quick: bool
    seed: int
    data: Path | None
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Attributes:
        measures: Every number; the table.
        controls: What must have come out.
        conclusion: One or two sentences that a reader without cryptography
            understands, with the figures of this run in them.
        setup: The setting of the numbers: data, victims, key bits, what is assumed.
        plot: Draws the figure of the specification.
        series: What the plot shows, as JSON values.
    """

    measures: Sequence[Measure]
    controls: Sequence[Control]
    conclusion: str
    setup: Mapping[str, Any]
    plot: Callable[[], "Figure"]
    series: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One of the eight.

    Attributes:
        number: `E1` to `E8`.
        name: Of its module in `experiments/`.
        title: For people.
        question: What it asks, a sentence.
        encryption_helps: Whether encrypted aggregation is the answer to it.
        measure: Does the work.
        later: What the next step will add, shown in place of an empty plot.
    """

    number: str
    name: str
    title: str
    question: str
    encryption_helps: bool
    measure: Callable[[Options], Outcome]
    later: str = ""


class ControlError(Exception):
    """A control does not hold: the numbers of this experiment mean nothing."""


def carry_out(
    experiment: Experiment, options: Options, out: Path, console: Console
) -> Outcome:
    """Do an experiment; write and show what it found.

    Raises:
        ControlError: If a control does not hold; everything is written nevertheless.
    """
    started, cpu = time.monotonic(), _cpu_seconds()
    console.print(f"{experiment.number} {experiment.title}: {experiment.question}")
    outcome = experiment.measure(options)
    seconds = {
        "seconds": time.monotonic() - started,
        "cpu_seconds": _cpu_seconds() - cpu,
    }
    out.mkdir(parents=True, exist_ok=True)
    result = _result(experiment, options, outcome) | seconds
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    figure = outcome.plot()
    for kind in ("png", "svg"):
        figure.savefig(out / f"{experiment.name}.{kind}", dpi=150, bbox_inches="tight")
    console.print(measures_table(outcome.measures))
    console.print(controls_table(outcome.controls))
    console.print(outcome.conclusion)
    console.print(
        f"{out}: result.json, {experiment.name}.png and .svg "
        f"({seconds['seconds']:.0f} s, {seconds['cpu_seconds']:.0f} CPU s)"
    )
    failed = [control.name for control in outcome.controls if not control.holds]
    if failed:
        raise ControlError(f"{experiment.number}: {'; '.join(failed)}")
    return outcome


def _result(
    experiment: Experiment, options: Options, outcome: Outcome
) -> dict[str, Any]:
    return {
        "number": experiment.number,
        "name": experiment.name,
        "title": experiment.title,
        "question": experiment.question,
        "encryption_helps": experiment.encryption_helps,
        "later": experiment.later,
        "conclusion": outcome.conclusion,
        "quick": options.quick,
        "seed": options.seed,
        "real_data": options.data is not None,
        "python": platform.python_version(),
        "setup": dict(outcome.setup),
        "measures": [one.to_dict() for one in outcome.measures],
        "controls": [one.to_dict() for one in outcome.controls],
        "series": dict(outcome.series),
    }


def measures_table(measures: Sequence[Measure]) -> Table:
    """Return the numbers as a table, the null beside each."""
    table = Table(box=box.SIMPLE)
    for name in ("", "view", "", "95 %", "null", "n"):
        table.add_column(name, justify="left" if name in ("", "view") else "right")
    for one in measures:
        null = "-" if one.null is None else f"{one.null:.3g}"
        table.add_row(
            one.name,
            one.view,
            f"{one.value:.3g} {one.metric}",
            f"{one.low:.3g} .. {one.high:.3g}",
            null,
            str(one.samples),
        )
    return table


def controls_table(controls: Sequence[Control]) -> Table:
    """Return what had to come out, and whether it did."""
    table = Table(box=box.SIMPLE)
    for name in ("control", "must", "", ""):
        table.add_column(name)
    for one in controls:
        kind = "succeed" if one.is_positive else "fail"
        table.add_row(one.name, kind, f"{one.value:.4g}", _MARKS[one.holds])
    return table


def main(experiment: Experiment) -> None:
    """Run one experiment from the command line."""

    def command(
        quick: Annotated[
            bool, typer.Option("--quick", help="Half a minute, rough numbers.")
        ] = False,
        data: Annotated[
            Path | None, typer.Option(help="Folder of the real data sets.")
        ] = None,
        seed: Annotated[int, typer.Option(help="Of everything but secrets.")] = SEED,
        out: Annotated[Path | None, typer.Option(help="Results.")] = None,
    ) -> None:
        console = Console(highlight=False)
        error = Console(stderr=True, highlight=False)
        options = Options(quick, seed, data, lambda line: console.print(f"  {line}"))
        prepare_process()
        try:
            carry_out(experiment, options, out or RESULTS / experiment.name, console)
        except ControlError as failed:
            error.print(f"unseen: error: a control does not hold: {failed}")
            raise typer.Exit(1) from None
        except SettingsError as wrong:
            error.print(f"unseen: error: {wrong}\nunseen: hint: {wrong.hint}")
            raise typer.Exit(2) from None

    command.__doc__ = f"{experiment.number}. {experiment.question}"
    typer.run(command)


def prepare_process() -> None:
    """Keep log lines out, and denormal numbers from slowing training."""
    import logging  # noqa: PLC0415

    import torch  # noqa: PLC0415 - takes seconds

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in ("flwr", "clients"):  # a client warns whenever it refuses
        logging.getLogger(name).setLevel(logging.ERROR)


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
