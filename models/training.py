"""Local training and evaluation of one network on one shard and one device."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import TaskError
from models.objectives import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.local import LocalTraining
    from models.shards import Shard
    from models.tasks import Task

# Of one batch of an evaluation, whatever is less: a few hundred megabytes at most.
_EVALUATION_EXAMPLES = 1024
_EVALUATION_LABELS = 16_384


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
    settings: LocalTraining,
    *,
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
        task: Says which loss.
        settings: How to train.
        seed: In ``[0, 2**63)``.
        device: Where to compute.

    Returns:
        The report. A loss that is not finite is reported as it is.

    Raises:
        TaskError: If the shard is empty.
    """
    _check_not_empty(shard)
    device = torch.device(device)
    network.to(device).train()
    step = _Step(network, settings, device)
    generator = np.random.default_rng(seed)
    loss_sum = 0.0
    with _seeded(seed, device):
        for _ in range(settings.epochs):
            order = generator.permutation(len(shard))
            for start in range(0, len(shard), settings.batch_size):
                batch = shard.take(order[start : start + settings.batch_size])
                loss_sum += step(batch, task) * len(batch)
    return TrainReport(
        num_examples=len(shard), train_loss=loss_sum / (settings.epochs * len(shard))
    )


class _Step:
    """One step of the optimizer after another, on one network.

    Args:
        network: Changed in place.
        settings: How to train.
        device: Where the network is.
    """

    def __init__(
        self, network: nn.Module, settings: LocalTraining, device: torch.device
    ) -> None:
        self._network = network
        self._settings = settings
        self._device = device
        self._optimizer = _make_optimizer(network, settings)
        self._parameters = list(network.parameters())
        # The global model, for the proximal term only.
        self._start = [p.detach().clone() for p in self._parameters]

    def __call__(self, batch: Shard, task: Task) -> float:
        """Take one step; return the task's mean loss before it, in nats."""
        with _precision(self._device, mixed=self._settings.mixed_precision):
            output, labels = _predict(self._network, batch, self._device)
            loss = OBJECTIVES[task.loss].loss(output, labels)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss + self._proximal_term())
        if self._settings.max_grad_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.max_grad_norm)
        self._optimizer.step()
        return loss.item()

    def _proximal_term(self) -> Tensor | float:
        if not self._settings.proximal_mu:
            return 0.0
        distances = (
            (parameter - start).square().sum()
            for parameter, start in zip(self._parameters, self._start, strict=True)
        )
        return torch.stack(list(distances)).sum() * (self._settings.proximal_mu / 2)


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
    objective = OBJECTIVES[task.loss]
    batch_size = _evaluation_batch(shard)
    loss_sum, right_sum = 0.0, 0.0
    # Seeded: an objective may draw what it compares the right answer with.
    with torch.inference_mode(), _seeded(0, device):
        for start in range(0, len(shard), batch_size):
            end = min(start + batch_size, len(shard))
            batch = shard.take(np.arange(start, end))
            output, labels = _predict(network, batch, device)
            loss_sum += objective.loss(output, labels).item() * len(batch)
            right_sum += objective.right(output, labels).mean().item() * len(batch)
    return EvaluationReport(
        num_examples=len(shard),
        loss=loss_sum / len(shard),
        accuracy=right_sum / len(shard),
    )


def _evaluation_batch(shard: Shard) -> int:
    """Return the number of examples that are evaluated at once."""
    labels_each = shard.labels.size // len(shard)
    return max(1, min(_EVALUATION_EXAMPLES, _EVALUATION_LABELS // labels_each))


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


def _precision(
    device: torch.device, *, mixed: bool
) -> contextlib.AbstractContextManager[object]:
    if not mixed or device.type == "cpu":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _make_optimizer(
    network: nn.Module, settings: LocalTraining
) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
        )
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate)


def _check_not_empty(shard: Shard) -> None:
    if len(shard) == 0:
        raise TaskError("the shard has no examples")
