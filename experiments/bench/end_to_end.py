"""What encryption adds to a whole round, with real processes and the network between.

    python -m experiments.bench.end_to_end [--train-seconds 5] [--repetitions 3]

Five client processes train a character LSTM of 2.1 million parameters, in mode plain
and in mode hybrid in turn. Without training it is the aggregation alone, beside
Flower's own SecAgg+ on the same vectors, all of them in simulations
(`experiments.bench.simulation`).
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from experiments.bench.group import MODES, Group, Rounds
from experiments.bench.scene import CLIENTS
from experiments.bench.simulation import CHEAPEST, LIKE_OURS, SAME_ENGINE, WAYS

MOST_TIMES: Final = 1.25  # an encrypted round against a plaintext one
MOST_BYTES: Final = 1.35  # bytes up against float32
PARAMETERS: Final = 2_102_112
_FLOAT_BYTES: Final = 4


def compare(group: Group, train_seconds: float, repetitions: int) -> dict[str, Any]:
    """Run both modes in turn.

    Returns:
        The figures, as the JSON report has them.
    """
    taken: dict[str, list[Rounds]] = {mode: [] for mode in MODES}
    for _ in range(repetitions):
        for mode in MODES:
            taken[mode].append(group.run(mode, train_seconds))
    pairs = zip(*(taken[mode] for mode in MODES), strict=True)
    return {
        "train_seconds": train_seconds,
        "modes": {mode: _figures(taken[mode]) for mode in MODES},
        "times": median(
            median(hybrid.seconds) / median(plain.seconds) for plain, hybrid in pairs
        ),
    }


def _figures(taken: Sequence[Rounds]) -> dict[str, Any]:
    bytes_up = median(one.bytes_up for one in taken)
    return {
        "seconds": median(second for one in taken for second in one.seconds),
        "run_cpu_seconds": median(one.run_cpu_seconds for one in taken),
        "bytes_up": bytes_up,
        "of_float32": bytes_up / (_FLOAT_BYTES * PARAMETERS),
    }


def aggregate(group: Group, repetitions: int) -> dict[str, float]:
    """Run every way of aggregating in Flower's simulation, in turn.

    Returns:
        Median seconds of a round, by way.
    """
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repetitions):
        for way in WAYS:
            taken[way] += group.simulate(way)
    return {way: median(seconds) for way, seconds in taken.items()}


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the figures for people."""
    for one in figures["rounds"]:
        console.print(_mode_table(one))
        console.print(
            f"  hybrid takes {one['times']:.2f} times as long as plain (median over "
            f"runs in turn)",
            highlight=False,
        )
    rounds = figures["rounds"][0]
    hybrid = rounds["modes"]["hybrid"]
    for met, line in (
        (rounds["times"] <= MOST_TIMES, f"with training at most {MOST_TIMES} times"),
        (hybrid["of_float32"] <= MOST_BYTES, f"at most {MOST_BYTES} times float32 up"),
    ):
        console.print(f"  target {line}: {_verdict(met)}", highlight=False)
    console.print()
    simulated = figures["simulation"]
    console.print(_way_table(simulated))
    for way, words in (
        (LIKE_OURS, "of as many holders"),
        (CHEAPEST, "at its cheapest"),
        (SAME_ENGINE, "at its cheapest, in our engine"),
    ):
        met = simulated["hybrid"] <= simulated[way]
        line = f"  target hybrid not slower than SecAgg+ {words}: {_verdict(met)}"
        console.print(line, highlight=False)


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _mode_table(one: dict[str, Any]) -> Table:
    table = Table(
        "protocol",
        title=f"A round of {CLIENTS} processes, {PARAMETERS:,} parameters, "
        f"{one['train_seconds']:g} core-seconds of training each",
    )
    for heading in ("seconds", "CPU s of a run", "MB up / client", "of float32"):
        table.add_column(heading, justify="right")
    for mode, taken in one["modes"].items():
        table.add_row(
            mode,
            f"{taken['seconds']:.2f}",
            f"{taken['run_cpu_seconds']:.0f}",
            f"{taken['bytes_up'] / 1e6:.2f}",
            f"{taken['of_float32']:.2f} x",
        )
    return table


def _way_table(simulated: dict[str, float]) -> Table:
    table = Table("way", title="Aggregation alone: the same vectors in simulations")
    for heading in ("seconds", "of fedavg"):
        table.add_column(heading, justify="right")
    for way, seconds in simulated.items():
        times = seconds / simulated["fedavg"]
        table.add_row(way, f"{seconds:.2f}", f"{times:.1f} x")
    return table


def main(
    train_seconds: Annotated[
        float, typer.Option(min=0.1, help="Core-seconds that a client trains a round.")
    ] = 5.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Runs of every kind.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON.")
    ] = False,
) -> None:
    """Time encrypted rounds beside plaintext ones, and aggregation beside SecAgg+."""
    # Importing ray turns on warnings about the insides of Flower's bundle builder.
    warnings.simplefilter("ignore", DeprecationWarning)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        group = Group(Path(folder))
        rounds = []
        for seconds in (train_seconds, 0.0):
            console.print(f"{repetitions} runs of each mode, {seconds:g} s of training")
            rounds.append(compare(group, seconds, repetitions))
        console.print(f"{repetitions} simulations of each way")
        figures = {"rounds": rounds, "simulation": aggregate(group, repetitions)}
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, Console())


if __name__ == "__main__":
    typer.run(main)
