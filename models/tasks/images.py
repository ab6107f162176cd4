"""The tasks on images."""
# ruff: noqa: PLC0415 - the command line looks tasks up without loading torch

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.digits import load_digits
from models.data.mnist import load_mnist
from models.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn


def _digits_network() -> nn.Module:
    from models.networks.images import DigitsNetwork

    return DigitsNetwork()


def _mnist_network() -> nn.Module:
    from models.networks.images import MnistNetwork

    return MnistNetwork()


def _book_network() -> nn.Module:
    from models.networks.images import BookNetwork

    return BookNetwork()


DIGITS = Task(
    name="digits",
    summary="handwritten digits of 8 x 8 pixels, a small CNN; bundled",
    make_network=_digits_network,
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
    needs_data=False,
    load=load_digits,
)

MNIST = Task(
    name="mnist",
    summary="handwritten digits of 28 x 28 pixels, a CNN of two layers",
    make_network=_mnist_network,
    num_parameters=80_202,
    loss="cross-entropy",
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.05,
    batch_size=32,
    local_epochs=2,
    clip=3.0,
    w_max=32_768,
    deadline_seconds=120.0,
    default_partition="dirichlet:0.5",
    needs_data=True,
    load=load_mnist,
    num_clients=10,
    num_rounds=10,
)

MNIST_BOOK = Task(
    name="mnist-book",
    summary="the same digits with the book's CNN: 16 kernels, tanh, dropout",
    make_network=_book_network,
    num_parameters=108_330,
    loss="cross-entropy",
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.005,
    batch_size=32,
    local_epochs=1,
    clip=0.5,
    w_max=32_768,
    deadline_seconds=120.0,
    default_partition="dirichlet:0.5",
    needs_data=True,
    load=load_mnist,
    num_clients=10,
    num_rounds=10,
)
