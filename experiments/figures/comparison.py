"""Encrypted beside plain and centralised: what encryption and federation cost."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from safetensors.numpy import load_file

from experiments.figures.alone import Curve, centralised
from experiments.figures.runs import FinishedRun, finished_run, settings_of
from experiments.settings import find_task


@dataclass(frozen=True)
class Comparison:
    """One task, trained three times.

    Attributes:
        task: Its name.
        partition: How the data was shared out.
        clients: How many.
        language: Whether perplexity is what counts.
        encrypted: The federated, encrypted run.
        plain: The same one with updates in the clear.
        central: The same network on all data in one place.
        same_sum: Whether the encrypted and the plain run opened the same integers
            after the first round.
        difference: Largest difference of two parameters at the end of the two runs.
    """

    task: str
    partition: str
    clients: int
    language: bool
    encrypted: FinishedRun
    plain: FinishedRun
    central: Curve
    same_sum: bool
    difference: float


def compare(
    task: str, data: Path | None, runs: Path, console: Console, **changes: int | str
) -> Comparison:
    """Train a task encrypted, plain and centralised from the same seed."""
    settings = settings_of(task, data, **changes)
    encrypted = finished_run(settings, runs / f"{task}-encrypted", console)
    clear = replace(settings, protocol="plain")
    plain = finished_run(clear, runs / f"{task}-plain", console)
    defaults = find_task(task)
    return Comparison(
        task=task,
        partition=settings.partition or defaults.default_partition,
        clients=settings.clients,
        language=defaults.language,
        encrypted=encrypted,
        plain=plain,
        central=centralised(settings, runs / f"{task}-centralised.json", console),
        same_sum=encrypted.sums[1] == plain.sums[1],
        difference=_largest_difference(encrypted, plain),
    )


def row(one: Comparison) -> list[str]:
    """Return the cells of a comparison in the table of results."""
    curves = (one.encrypted, one.plain, one.central)
    if one.language:
        values = [f"{math.exp(curve.losses[-1]):.2f}" for curve in curves]
    else:
        values = [f"{curve.accuracies[-1]:.4f}" for curve in curves]
    return [
        one.task,
        "perplexity" if one.language else "accuracy",
        f"{one.clients}, {one.partition}",
        str(len(one.encrypted.rows) - 1),
        *values,
        "equal" if one.same_sum else "DIFFERENT",
        f"{one.difference:.2g}",
    ]


COLUMNS = (
    "task",
    "measured",
    "clients, partition",
    "rounds",
    "encrypted",
    "plain",
    "centralised",
    "first opened sum, encrypted and plain",
    "largest difference of a parameter at the end",
)


def _largest_difference(one: FinishedRun, other: FinishedRun) -> float:
    first, second = load_file(one.model), load_file(other.model)
    return max(float(abs(first[name] - second[name]).max()) for name in first)
