"""The network that clients allow, the one a server would like, and one step on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from experiments.privacy.images.victims import NUM_CLASSES

if TYPE_CHECKING:
    from experiments.privacy.images.victims import Images
    from experiments.privacy.sealed_round import Vector

HIDDEN: Final = 100  # as the book's network of chapter 9
LEARNING_RATE: Final = 0.1


class AllowedNetwork(nn.Module):
    """One hidden layer with ReLU and biases: what the clients agreed to train.

    Args:
        pixels: Of an image.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, HIDDEN)
        self.output = nn.Linear(HIDDEN, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(n, 10)``, of images ``(n, pixels)``."""
        logits: Tensor = self.output(torch.relu(self.hidden(images)))
        return logits


class ImprintedNetwork(nn.Module):
    """The same network with a layer beside it that is there to be read.

    The imprint layer of Fowl et al. 2022, "Robbing the Fed" (arXiv:2110.13057), here
    beside the network: so it leaves the network's own answers nearly as they are.

    Args:
        pixels: Of an image.
        bins: Units of the layer.
    """

    def __init__(self, pixels: int, bins: int) -> None:
        super().__init__()
        self.bins = nn.Linear(pixels, bins)
        self.bypass = nn.Linear(bins, NUM_CLASSES, bias=False)
        self.allowed = AllowedNetwork(pixels)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(n, 10)``, of images ``(n, pixels)``."""
        logits: Tensor = self.allowed(images) + self.bypass(
            torch.relu(self.bins(images))
        )
        return logits


def seeded(pixels: int, *, bins: int = 0, seed: int) -> nn.Module:
    """Return a network with parameters that depend on the seed only.

    Args:
        pixels: Of an image.
        bins: Of the imprinted network; 0 for the allowed one.
        seed: Of the parameters.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImprintedNetwork(pixels, bins) if bins else AllowedNetwork(pixels)


def to_vector(network: nn.Module) -> Vector:
    """Return a copy of a network's parameters, shape (dim,)."""
    vector = parameters_to_vector(network.parameters()).detach()
    return np.array(vector.numpy(), dtype=np.float32)


def load_vector(network: nn.Module, parameters: Vector) -> nn.Module:
    """Put parameters of shape (dim,) into a network, and return it."""
    vector_to_parameters(torch.tensor(parameters), network.parameters())
    return network


def updates_of(network: nn.Module, clients: Iterable[Images]) -> Sequence[Vector]:
    """Return the update of every client: one step on all its images.

    Args:
        network: As the client received it; stays as it is.
        clients: Their images.

    Returns:
        One vector of shape (dim,) each.
    """
    return [-LEARNING_RATE * _gradient(network, images) for images in clients]


def _gradient(network: nn.Module, images: Images) -> Vector:
    logits = network(torch.from_numpy(images.flat))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(images.labels))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients])
