"""Federated training of many small networks at once, as one batch of matrix products.

One after another they would take minutes: a network of 50,000 parameters is too small
to keep a processor busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from experiments.privacy.images.victims import NUM_CLASSES
from experiments.privacy.sealed_round import quantised_total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.privacy.images.victims import Images

HIDDEN: Final = 64

Mean = Callable[[Tensor], Tensor]
"""Takes the updates, shape (networks, clients, dim), and returns their means."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How every network is trained: federated averaging of full-batch steps.

    Attributes:
        clients: Of one federation, all in every round.
        rounds: Of training.
        steps: Of gradient descent that a client takes in a round, on all its images.
        learning_rate: Of those steps.
    """

    clients: int = 5
    rounds: int = 40
    steps: int = 3
    learning_rate: float = 0.5


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        final: Shape (networks, dim): the released models.
        updates: Shape (networks, clients, dim): of the last round.
    """

    final: Tensor
    updates: Tensor

    @property
    def local(self) -> Tensor:
        """Shape (networks, clients, dim): every client's own model at the end."""
        return (self.final - self.updates.mean(dim=1)).unsqueeze(1) + self.updates


def plain_mean(updates: Tensor) -> Tensor:
    """Return the mean update of every federation."""
    return updates.mean(dim=1)


def encrypted_mean(updates: Tensor) -> Tensor:
    """Return the means that the committee would open: of values in whole steps."""
    means = [quantised_total(list(own)) / len(own) for own in updates.numpy(force=True)]
    return torch.tensor(np.stack(means), dtype=torch.float32)


def initial(networks: int, pixels: int, *, seed: int) -> Tensor:
    """Draw networks as torch draws its linear layers, each on its own.

    Args:
        networks: How many.
        pixels: Of one image.
        seed: Of the draw.

    Returns:
        Shape (networks, dim).
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [(HIDDEN, pixels), (HIDDEN, 1), (NUM_CLASSES, HIDDEN), (NUM_CLASSES, 1)]
    inputs = [pixels, pixels, HIDDEN, HIDDEN]
    parts = [
        (2 * torch.rand(networks, rows * columns, generator=generator) - 1) / n**0.5
        for (rows, columns), n in zip(layers, inputs, strict=True)
    ]
    return torch.cat(parts, dim=1)


def federate(
    start: Tensor,
    images: Images,
    choice: NDArray[np.int64],
    schedule: Schedule,
    mean: Mean = plain_mean,
) -> Trained:
    """Train every network on its own federation.

    Args:
        start: Shape (networks, dim): the initial models.
        images: All that can be chosen.
        choice: Shape (networks, clients, own): the images of every client.
        schedule: How to train.
        mean: Averages a round's updates.
    """
    networks, clients, own = choice.shape
    pixels = torch.from_numpy(images.flat[choice]).view(networks * clients, own, -1)
    labels = torch.from_numpy(images.labels[choice]).view(networks * clients, own)
    model, updates = start, start.new_zeros(0)
    for _ in range(schedule.rounds):
        before = model.repeat_interleave(clients, dim=0)
        after = before
        for _ in range(schedule.steps):
            after = after - schedule.learning_rate * _gradient(after, pixels, labels)
        updates = (after - before).view(networks, clients, -1)
        model = model + mean(updates)
    return Trained(model, updates)


def logits(models: Tensor, pixels: Tensor) -> Tensor:
    """Return what networks of one hidden layer with ReLU say.

    Args:
        models: Shape (networks, dim).
        pixels: Shape (networks, n, pixels); 1 instead of `networks` for all alike.

    Returns:
        Shape (networks, n, classes).
    """
    networks, sides = len(models), pixels.shape[-1]
    sizes = [HIDDEN * sides, HIDDEN, NUM_CLASSES * HIDDEN, NUM_CLASSES]
    first, bias, second, last = torch.split(models, sizes, dim=1)
    pixels = pixels.expand(networks, -1, -1)
    hidden = torch.einsum("mnp,mhp->mnh", pixels, first.view(networks, HIDDEN, sides))
    hidden = torch.relu(hidden + bias.unsqueeze(1))
    second = second.view(networks, NUM_CLASSES, HIDDEN)
    scores: Tensor = torch.einsum("mnh,mch->mnc", hidden, second) + last.unsqueeze(1)
    return scores


def _gradient(models: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of every network's mean cross-entropy, of its own images."""
    models = models.detach().requires_grad_()
    scores = torch.log_softmax(logits(models, pixels), dim=-1)
    right = scores.gather(2, labels.unsqueeze(2))
    loss = -right.mean(dim=1).sum()  # networks do not share parameters
    (gradient,) = torch.autograd.grad(loss, models)
    return gradient
