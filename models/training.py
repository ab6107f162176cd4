"""Local training and evaluation of one network on one shard and one device."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.shards import Shard
    from models.tasks import Task

_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class TrainReport:
    """What training on one shard gave.

    Attributes:
        num_examples: Size of the shard, the client's weight.
        train_loss: Mean loss an example over all local epochs, in nats, each
            batch measured just before its step.
    """

    num_examples: int
    train_loss: float


@dataclass(frozen=True)
class EvaluationReport:
    """How good a network is on one shard.

    Attributes:
        num_examples: Size of the shard.
        loss: Mean loss an example, in nats.
        accuracy: Share of the examples it gets right, in ``[0, 1]``.
    """

    num_examples: int
    loss: float
    accuracy: float


def initial_network(task: Task, *, seed: int) -> nn.Module:
    """Return the task's network with parameters that depend on ``seed`` only."""
    with _seeded(seed, torch.device("cpu")):
        return task.make_network()


def train(
    network: nn.Module,
    shard: Shard,
    task: Task,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: torch.device | str,
) -> TrainReport:
    """Train ``network`` in place on one shard.

    On a CPU with one thread the result depends on the arguments only: order
    and dropout are drawn from ``seed``, and torch's global generator is left
    as it was.

    Args:
        network: Starts from the parameters it has; ends on ``device``.
        shard: The only data used.
        task: Says which loss and which optimizer.
        epochs: Passes over the shard, at least 1.
        batch_size: Examples in one step, at least 1; the last batch of an
            epoch may be smaller.
        learning_rate: Step size, above 0.
        seed: In ``[0, 2**63)``.
        device: Where to compute.

    Returns:
        The report. A loss that is not finite is reported as it is.

    Raises:
        TaskError: If the shard is empty or a number is out of its range.
    """
    _check_not_empty(shard)
    _check_settings(epochs, batch_size, learning_rate)
    device = torch.device(device)
    network.to(device).train()
    optimizer = _make_optimizer(network, task, learning_rate)
    generator = np.random.default_rng(seed)
    loss_sum = 0.0
    with _seeded(seed, device):
        for _ in range(epochs):
            order = generator.permutation(len(shard))
            for start in range(0, len(shard), batch_size):
                batch = shard.take(order[start : start + batch_size])
                loss = _loss(task, *_predict(network, batch, device))
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                loss_sum += loss.item() * len(batch)
    return TrainReport(
        num_examples=len(shard), train_loss=loss_sum / (epochs * len(shard))
    )


def evaluate(
    network: nn.Module, shard: Shard, task: Task, *, device: torch.device | str
) -> EvaluationReport:
    """Measure ``network`` on one shard; dropout is off.

    Raises:
        TaskError: If the shard is empty.
    """
    _check_not_empty(shard)
    device = torch.device(device)
    network.to(device).eval()
    loss_sum, num_right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(shard), _EVALUATION_BATCH):
            end = min(start + _EVALUATION_BATCH, len(shard))
            batch = shard.take(np.arange(start, end))
            logits, labels = _predict(network, batch, device)
            loss_sum += _loss(task, logits, labels).item() * len(batch)
            num_right += int((_classes(task, logits) == labels).sum())
    return EvaluationReport(
        num_examples=len(shard),
        loss=loss_sum / len(shard),
        accuracy=num_right / len(shard),
    )


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators, and put them back as they were at the end."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.manual_seed(seed)
        yield


def _predict(
    network: nn.Module, batch: Shard, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the logits and the labels of a batch, on ``device``."""
    tensors = {
        name: torch.from_numpy(array).to(device) for name, array in batch.arrays.items()
    }
    labels = tensors.pop("labels")
    return network(**tensors), labels


def _loss(task: Task, logits: Tensor, labels: Tensor) -> Tensor:
    if task.loss == "cross-entropy":
        return nn.functional.cross_entropy(logits, labels)
    return nn.functional.binary_cross_entropy_with_logits(
        logits, labels.to(logits.dtype)
    )


def _classes(task: Task, logits: Tensor) -> Tensor:
    if task.loss == "cross-entropy":
        return logits.argmax(dim=1)
    return (logits > 0).long()


def _make_optimizer(
    network: nn.Module, task: Task, learning_rate: float
) -> torch.optim.Optimizer:
    if task.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=learning_rate, momentum=task.momentum
        )
    return torch.optim.Adam(network.parameters(), lr=learning_rate)


def _check_not_empty(shard: Shard) -> None:
    if len(shard) == 0:
        raise TaskError("the shard has no examples")


def _check_settings(epochs: int, batch_size: int, learning_rate: float) -> None:
    if epochs < 1:
        raise TaskError(f"the number of local epochs must be at least 1, got {epochs}")
    if batch_size < 1:
        raise TaskError(f"the batch size must be at least 1, got {batch_size}")
    if not 0 < learning_rate < math.inf:
        raise TaskError(
            f"the learning rate must be above 0 and finite, got {learning_rate}"
        )
