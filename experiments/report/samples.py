"""Test examples that a run keeps, and what its model says about them.

The launcher keeps a few examples of the public test split in the run folder, because
the rest of a run's data is deleted when it ends.
"""
# ruff: noqa: PLC0415 - torch takes seconds, and only a page with samples needs it

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.errors import TaskError
from models.shards import Shard, load_shard, save_shard
from models.tasks import get_task

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from models.tasks import Task

FILE: Final = "samples.npz"
MAX_SAMPLES: Final = 48


@dataclass(frozen=True)
class Prediction:
    """What the model takes one example for.

    Attributes:
        predicted: The label the model gives.
        truth: The label it has.
        probability: How sure the model is, in ``[0, 1]``.
    """

    predicted: int
    truth: int
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the model is right."""
        return self.predicted == self.truth


class NoSamplesError(Exception):
    """There is nothing to show; the text is a sentence for the page."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network and examples it has never seen.

    Attributes:
        folder: The run's folder.
        task: The task of the run.
        network: With the parameters after the last round, in evaluation mode.
        examples: Of the public test split.
    """

    folder: Path
    task: Task
    network: nn.Module
    examples: Shard

    def logits(self, examples: Shard) -> NDArray[np.float64]:
        """Return the network's output, one row an example, in float64.

        Raises:
            NoSamplesError: If the examples are not those of this network.
        """
        import torch

        inputs = {
            name: torch.from_numpy(array)
            for name, array in examples.arrays.items()
            if name != "labels"
        }
        try:
            with torch.inference_mode():
                output: torch.Tensor = self.network(**inputs)
        except (RuntimeError, TypeError, IndexError):
            raise NoSamplesError(
                f"The examples in {FILE} do not fit the network of {self.task.name}."
            ) from None
        values: NDArray[np.float64] = output.double().numpy()
        return values


def keep_samples(folder: Path, test: Shard) -> Path:
    """Keep some examples of the test split in a run's folder, spread over all of it.

    Args:
        folder: The run's folder.
        test: The public test split.

    Returns:
        The file's path.
    """
    count = min(MAX_SAMPLES, len(test))
    chosen = np.linspace(0, len(test) - 1, num=count).astype(np.int64)
    path = folder / FILE
    save_shard(path, test.take(chosen))
    return path


def load_trained(folder: Path, task_name: str) -> Trained:
    """Load what is needed to show predictions.

    Raises:
        NoSamplesError: Says what is missing, in a sentence for the page.
    """
    try:
        task = get_task(task_name)
        if not (folder / FILE).exists():
            raise NoSamplesError(f"The run's folder has no {FILE} to show.")
        examples = load_shard(folder / FILE)
        if not len(examples):
            raise NoSamplesError(f"The run's {FILE} has no examples.")
    except TaskError as error:
        raise NoSamplesError(f"There is nothing to show: {error}.") from None
    return Trained(folder, task, load_network(folder, task), examples)


def load_network(folder: Path, task: Task) -> nn.Module:
    """Load the network of a run's last round, in evaluation mode.

    Raises:
        NoSamplesError: If there is none, or it is not of this task.
    """
    from server.checkpoint import MODEL, load_model
    from server.errors import RunError

    network = task.make_network()
    try:
        network.load_state_dict(load_model(folder / MODEL, network.state_dict()))
    except RunError as error:
        raise NoSamplesError(f"There are no predictions: {error}.") from None
    return network.eval()


def decide(logits: NDArray[Any], loss: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Turn logits into the labels they stand for and how sure the network is.

    Args:
        logits: Shape ``(n, labels)`` for ``cross-entropy``, ``(n,)`` otherwise.
        loss: The task's.

    Returns:
        Labels, and their probabilities by softmax or sigmoid; both of shape ``(n,)``.
    """
    if loss == "cross-entropy":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return logits.argmax(axis=1), powers.max(axis=1) / powers.sum(axis=1)
    # exp of a large logit would overflow, of a negative one it cannot.
    return (logits > 0).astype(np.int64), 1 / (1 + np.exp(-np.abs(logits)))
