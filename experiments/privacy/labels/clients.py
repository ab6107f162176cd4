"""Clients that hold few classes, and what is guessed about them without a message."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from experiments.privacy.images.victims import NUM_CLASSES, Images, Labels
from experiments.privacy.labels.attack import rounded

_MOST_CLASSES: Final = 4


def draw_clients(
    pool: Images,
    num: int,
    size: int,
    generator: np.random.Generator,
    *,
    classes: Sequence[int] | None = None,
) -> list[Images]:
    """Draw clients with 1 to 4 classes each, every such number equally likely.

    Args:
        pool: Where their images come from.
        num: Clients.
        size: Images of each; two clients may hold the same one.
        generator: Fixes who holds what.
        classes: What all of them hold instead.
    """
    places = [np.flatnonzero(pool.labels == c) for c in range(NUM_CLASSES)]
    clients = []
    for _ in range(num):
        count = generator.integers(1, _MOST_CLASSES + 1)
        held = classes or generator.choice(NUM_CLASSES, count, replace=False)
        labels = generator.choice(held, size)
        clients.append(
            pool.take(np.array([generator.choice(places[c]) for c in labels]))
        )
    return clients


def with_labels_permuted(
    clients: Sequence[Images], generator: np.random.Generator
) -> list[Images]:
    """Return the clients with labels drawn anew from all classes.

    Such a client has nothing to tell about its true labels: the negative control.
    """
    return [
        Images(one.pixels, generator.integers(NUM_CLASSES, size=len(one)))
        for one in clients
    ]


def prior_guess(batch: int, generator: np.random.Generator) -> Labels:
    """Guess every class equally often: the null of an attacker without the message.

    Which classes get one more is drawn. This does no worse than drawing the labels: a
    client has few classes, so that a class guessed twice is worth less the second time.
    """
    shares = np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    return rounded(shares, batch)[generator.permutation(NUM_CLASSES)]


def drawn_guess(batch: int, generator: np.random.Generator) -> Labels:
    """Draw the labels from all classes."""
    return generator.multinomial(batch, np.full(NUM_CLASSES, 1 / NUM_CLASSES))
