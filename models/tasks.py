"""The tasks: for each one its data, network, loss and public numbers.

Importing this module loads neither torch nor a data library: the command line
looks tasks up before it knows whether it will train, and a client process
never opens a data set.
"""
# ruff: noqa: PLC0415 - imports inside functions, see above

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from models.datasets import SPAM_WORDS, Dataset, load_digits, load_spam
from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

# Bounds of the metrics in nats and shares: what a client reports is cut there
# before it is sealed. The same for every task until one needs others.
_METRIC_BOUNDS = {"train_loss": 1024.0, "loss": 1024.0, "accuracy": 1.0}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything public that defines one training job.

    Attributes:
        name: What ``--task`` takes.
        make_network: Makes a network with fresh parameters.
        num_parameters: Of that network; stated here for those that must not load
            torch to count them.
        loss: The training loss; it also decides what accuracy means (the
            largest of the logits, or the sign of the one logit).
        optimizer: Made anew for every round, so it keeps no state between two.
        momentum: Of ``sgd``; ``adam`` ignores it.
        learning_rate: Default step size.
        batch_size: Default number of examples in one step.
        local_epochs: Default number of passes over the shard in a round.
        clip: Bound on one coordinate of an update. Not below the largest
            honest update, or training loses accuracy; not far above it, or
            the fixed-point encoding loses resolution.
        w_max: The number of examples that counts as weight 1. Not below the
            largest shard, or large clients lose weight without a word.
        deadline_seconds: Default time for a client to train and answer.
        default_partition: What ``--partition`` is when nobody says it.
        metric_bounds: Largest value of every metric a client may report.
        needs_data: Whether ``load`` needs a data folder.
        load: Reads the data set from a folder. Slow, and for the launcher
            only. Raises TaskError.
    """

    name: str
    make_network: Callable[[], nn.Module]
    num_parameters: int
    loss: Literal["cross-entropy", "binary-cross-entropy"]
    optimizer: Literal["sgd", "adam"]
    momentum: float = 0.0
    learning_rate: float
    batch_size: int
    local_epochs: int
    clip: float
    w_max: int
    deadline_seconds: float
    default_partition: str
    metric_bounds: Mapping[str, float]
    needs_data: bool
    load: Callable[[Path | None], Dataset]


def _make_digits_network() -> nn.Module:
    from models.networks import DigitsNetwork

    return DigitsNetwork()


def _make_spam_network() -> nn.Module:
    from models.networks import WordSumNetwork

    return WordSumNetwork(num_words=SPAM_WORDS)


_TASKS = {
    task.name: task
    for task in (
        Task(
            name="digits",
            make_network=_make_digits_network,
            num_parameters=5930,
            loss="cross-entropy",
            optimizer="sgd",
            momentum=0.9,
            learning_rate=0.1,
            batch_size=16,
            local_epochs=2,
            clip=2.0,
            w_max=1024,
            deadline_seconds=30.0,
            default_partition="dirichlet:0.5",
            metric_bounds=_METRIC_BOUNDS,
            needs_data=False,
            load=load_digits,
        ),
        Task(
            name="spam",
            make_network=_make_spam_network,
            num_parameters=SPAM_WORDS,
            loss="binary-cross-entropy",
            optimizer="adam",
            learning_rate=0.05,
            batch_size=64,
            local_epochs=1,
            clip=2.0,
            w_max=65_536,
            deadline_seconds=60.0,
            default_partition="natural",
            metric_bounds=_METRIC_BOUNDS,
            needs_data=True,
            load=load_spam,
        ),
    )
}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in the order they are shown."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """Return the task called ``name``.

    Raises:
        TaskError: If there is no such task.
    """
    if name not in _TASKS:
        known = ", ".join(_TASKS)
        raise TaskError(f"unknown task {name!r}", hint=f"the tasks are {known}")
    return _TASKS[name]
