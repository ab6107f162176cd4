"""Rounds with a victim in them: what the clients send, and what is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import nn

from experiments.privacy.images.gradients import updates
from experiments.privacy.images.victims import Images, Numbers
from experiments.privacy.sealed_round import (
    SealedRound,
    Vector,
    quantised_total,
    seal_round,
)

LEARNING_RATE: Final = 0.1


def singles(images: Images) -> list[Images]:
    """Return clients with one of these images each."""
    return [images.take(slice(i, i + 1)) for i in range(len(images))]


def draw_groups(victims: Images, pool: Images, size: int, *, seed: int) -> list[Images]:
    """Draw the others that are in a round with a victim.

    Args:
        victims: One group for each.
        pool: Where the others come from, no victim among them.
        size: Of a group, the victim included.
        seed: Fixes who is in which group.

    Returns:
        The victim's image and then the others', for every victim: a round of `n`
        clients has the first `n` of them.
    """
    generator = np.random.default_rng([seed, 4])
    made = []
    for i in range(len(victims)):
        others = pool.take(generator.choice(len(pool), size - 1, replace=False))
        pixels = np.concatenate([victims.pixels[i : i + 1], others.pixels])
        labels = np.concatenate([victims.labels[i : i + 1], others.labels])
        made.append(Images(pixels, labels))
    return made


def send(network: nn.Module, clients: Sequence[Images], *, epochs: int = 1) -> Vector:
    """Return what clients send after full-batch steps, shape (clients, dim)."""
    return updates(network, clients, learning_rate=LEARNING_RATE, epochs=epochs)


@dataclass(frozen=True)
class Opened:
    """The sums of one size, one a crowd.

    Attributes:
        totals: Shape (crowds, dim).
        sealed: The rounds that were really sealed: those of the first crowds.
    """

    totals: Numbers
    sealed: Sequence[SealedRound]


def open_sums(sent: Sequence[Vector], *, sealed: int) -> Opened:
    """Return what is opened of every round.

    Args:
        sent: A round's updates each, shape (clients, dim).
        sealed: How many of the rounds really go through mods, wrapper and committee;
            the others are quantised as there, and added up.
    """
    rounds = [seal_round(list(one)) for one in sent[:sealed]]
    rest = [quantised_total(list(one)) for one in sent[sealed:]]
    return Opened(np.stack([*(one.total for one in rounds), *rest]), rounds)


def as_gradient(
    update: Numbers | Vector, *, clients: int = 1, steps: int = 1
) -> Numbers:
    """Return the mean gradient that an update or a sum of updates stands for."""
    scale = LEARNING_RATE * clients * steps
    return -np.asarray(update, dtype=np.float64) / scale
