"""The networks whose updates are attacked, and training them for a while."""

from collections.abc import Callable
from typing import Final, Literal

import torch
from torch import Tensor, nn

from experiments.privacy.images.victims import NUM_CLASSES, Images
from models.local import LocalTraining
from models.shards import Shard
from models.tasks import get_task
from models.training import train

HIDDEN: Final = 100  # units of the MLP

_FILTERS: Final = 12
_WIDEST: Final = 0.5  # of a LeNet's first weights

Activation = Literal["tanh", "relu"]
_ACTIVATIONS: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class LeNet(nn.Module):
    """Three layers of 12 kernels of 5 x 5, sigmoid, and a linear layer.

    The network of Zhu et al. 2019, "Deep leakage from gradients" (arXiv:1906.08935):
    smooth, because the attack differentiates the gradient; strides in place of
    pooling; first weights uniform in [-0.5, 0.5], because smaller ones leave the
    sigmoids almost straight.

    Args:
        side: Pixels on one side of an image.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        strides = (2, 2, 1)
        channels = (1, _FILTERS, _FILTERS, _FILTERS)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 5, padding=2, stride=stride)
            for i, stride in enumerate(strides)
        )
        last = (side + 3) // 4  # two strides of 2, each rounding up
        self.output = nn.Linear(_FILTERS * last**2, NUM_CLASSES)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -_WIDEST, _WIDEST)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (n, 10), of images (n, 1, side, side)."""
        for layer in self.layers:
            images = torch.sigmoid(layer(images))
        logits: Tensor = self.output(images.flatten(start_dim=1))
        return logits


class Mlp(nn.Module):
    """The network of chapter 9 of Trask (2019), with biases and without dropout.

    Args:
        side: Pixels on one side of an image.
        activation: The book's is tanh.
    """

    def __init__(self, side: int, activation: Activation = "tanh") -> None:
        super().__init__()
        self.hidden = nn.Linear(side**2, HIDDEN)
        self.output = nn.Linear(HIDDEN, NUM_CLASSES)
        self._activation = _ACTIVATIONS[activation]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (n, 10), of images (n, 1, side, side)."""
        hidden = self._activation(self.hidden(images.flatten(start_dim=1)))
        logits: Tensor = self.output(hidden)
        return logits


def fresh(make: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Return a network with first parameters that depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def trained(network: nn.Module, images: Images, *, seen: int, seed: int) -> nn.Module:
    """Train a network in place with the platform's own loop; return it.

    Args:
        network: To be trained.
        images: None of the victims' among them.
        seen: How many images to train on, the same ones again if there are fewer.
        seed: Of their order.
    """
    shard = Shard({"images": images.pixels, "labels": images.labels})
    settings = LocalTraining(
        epochs=max(1, round(seen / len(images))),
        batch_size=64,
        learning_rate=0.003,
        optimizer="adam",
    )
    train(network, shard, get_task("mnist"), settings, seed=seed, device="cpu")
    return network.eval()


def accuracy(network: nn.Module, images: Images) -> float:
    """Return the share of images that a network gets right."""
    with torch.inference_mode():
        answers = network(torch.from_numpy(images.pixels)).argmax(dim=1).numpy()
    return float((answers == images.labels).mean())
