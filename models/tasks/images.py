"""The tasks on images."""
# ruff: noqa: PLC0415 - the command line looks tasks up without loading torch

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.digits import load_digits
from models.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn


def _digits_network() -> nn.Module:
    from models.networks.images import DigitsNetwork

    return DigitsNetwork()


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
