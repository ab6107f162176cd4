"""What a task is: everything public that defines one training job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from models.data.dataset import Dataset
    from models.local import OptimizerName

Loss = Literal[
    "cross-entropy",
    "next-character",
    "binary-cross-entropy",
    "squared-error",
    "one-of-six",
]

# In nats and shares: what a client reports is cut there before it is sealed.
_METRIC_BOUNDS = {"train_loss": 1024.0, "loss": 1024.0, "accuracy": 1.0}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything public that defines one training job.

    Attributes:
        name: What ``--task`` takes.
        summary: One line for people who look for a task.
        make_network: Makes a network with fresh parameters.
        num_parameters: Of that network; stated here for those that must not load
            torch to count them.
        loss: The training loss, by its name in ``models.objectives``; it also
            decides what accuracy means.
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
        needs_data: Whether ``load`` needs a data folder.
        load: Reads the data set from a folder. Slow, and for the launcher
            only. Raises TaskError.
        num_clients: Default number of clients.
        num_rounds: Default number of rounds.
        equal_weights: Whether every client counts alike, whatever the size of
            its shard; else the mean is weighted by examples.
        max_grad_norm: Default bound on the norm of a step's gradient; 0 for none.
        language: Whether it predicts text, and is judged by its perplexity.
        metric_bounds: Largest value of every metric a client may report.
    """

    name: str
    summary: str
    make_network: Callable[[], nn.Module]
    num_parameters: int
    loss: Loss
    optimizer: OptimizerName
    momentum: float = 0.0
    learning_rate: float
    batch_size: int
    local_epochs: int
    clip: float
    w_max: int
    deadline_seconds: float
    default_partition: str
    needs_data: bool
    load: Callable[[Path | None], Dataset]
    num_clients: int = 5
    num_rounds: int = 10
    equal_weights: bool = False
    max_grad_norm: float = 0.0
    language: bool = False
    metric_bounds: Mapping[str, float] = field(default_factory=_METRIC_BOUNDS.copy)
