"""What clients send: the updates of many clients at once, as flat vectors."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from experiments.privacy.images.victims import Images

_AT_ONCE: Final = 25  # clients; more only take more memory

Vector = NDArray[np.float32]
Parameters = dict[str, Tensor]


def parameters_of(network: nn.Module) -> Parameters:
    """Return a network's parameters by name, in their order, without a graph."""
    return {name: p.detach() for name, p in network.named_parameters()}


def flatten(parameters: Parameters) -> Tensor:
    """Return parameters of many clients as vectors, shape (clients, dim)."""
    return torch.cat([p.flatten(start_dim=1) for p in parameters.values()], dim=1)


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean gradient of every client, differentiable in the images.

    Args:
        network: At the global parameters.
        images: Shape (clients, batch, 1, side, side).
        labels: Shape (clients, batch).

    Returns:
        Shape (clients, dim), in the order of the network's parameters.
    """
    per_client = vmap(grad(_loss(network)), in_dims=(None, 0, 0))
    return flatten(per_client(parameters_of(network), images, labels))


def updates(
    network: nn.Module,
    clients: Sequence[Images],
    *,
    learning_rate: float,
    epochs: int = 1,
    batch_size: int | None = None,
    label_smoothing: float = 0.0,
) -> Vector:
    """Return what clients with equally many images send after plain SGD.

    Args:
        network: At the global parameters; left as it is.
        clients: Each with the same number of images, taken in the order they have.
        learning_rate: Of the steps.
        epochs: Local passes over the images.
        batch_size: Images in a step; all of them if None.
        label_smoothing: Share of every label that is spread over all classes.

    Returns:
        Shape (clients, dim), float32: new minus global parameters.
    """
    images = torch.from_numpy(np.stack([one.pixels for one in clients]))
    labels = torch.from_numpy(np.stack([one.labels for one in clients]))
    size = batch_size or images.shape[1]
    per_client = vmap(grad(_loss(network, label_smoothing)), chunk_size=_AT_ONCE)
    start = parameters_of(network)
    now = {k: p.expand(len(clients), *p.shape) for k, p in start.items()}
    for _ in range(epochs):
        for first in range(0, images.shape[1], size):
            batch = slice(first, first + size)
            steps = per_client(now, images[:, batch], labels[:, batch])
            now = {k: p - learning_rate * steps[k] for k, p in now.items()}
    moved: Vector = flatten({k: now[k] - p for k, p in start.items()}).numpy()
    return moved


def _loss(network: nn.Module, label_smoothing: float = 0.0) -> Any:
    def loss(parameters: Parameters, images: Tensor, labels: Tensor) -> Tensor:
        logits = functional_call(network, parameters, (images,))
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    return loss
