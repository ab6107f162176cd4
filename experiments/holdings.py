"""Counts who holds what: the examples, labels, words and characters of every client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.data.dataset import Dataset

_MOST_LABELS: Final = 20  # what a table and a legend can tell apart


@dataclass(frozen=True)
class Holding:
    """What one client holds.

    Attributes:
        client: Its number, from 1.
        owners: Names of the natural owners of its examples, in order.
        examples: How many it trains on.
        labels: How many of each label of ``Holdings.labels``; empty without them.
        words: Distinct words of the vocabulary in its texts; None without texts.
        characters: Characters it learns to guess; None if the task has no sequences.
    """

    client: int
    owners: tuple[str, ...]
    examples: int
    labels: tuple[int, ...]
    words: int | None
    characters: int | None


@dataclass(frozen=True)
class Holdings:
    """What all clients hold.

    Attributes:
        clients: In order of their numbers.
        labels: The labels of the data set, rising; empty for sequences and for
            more than 20 labels.
        available: Training examples there are.
    """

    clients: tuple[Holding, ...]
    labels: tuple[int, ...]
    available: int

    @property
    def taken(self) -> int:
        """The training examples that some client holds."""
        return sum(holding.examples for holding in self.clients)

    @property
    def unit(self) -> str:
        """What a bar of a client counts."""
        sequences = any(holding.characters is not None for holding in self.clients)
        return "characters" if sequences else "examples"

    def bar(self, holding: Holding) -> tuple[int, ...]:
        """Return the parts of a client's bar, one a label, or one in all."""
        if holding.characters is not None:
            return (holding.characters,)
        return holding.labels or (holding.examples,)


def count(dataset: Dataset, parts: Sequence[NDArray[np.int64]]) -> Holdings:
    """Count what every client holds.

    Args:
        dataset: What was shared out.
        parts: For each client the indices of its training examples.
    """
    everything = dataset.train.labels
    labels = np.unique(everything) if everything.ndim == 1 else everything[:0, 0]
    if len(labels) > _MOST_LABELS:
        labels = labels[:0]
    clients = tuple(
        _count_one(dataset, part, labels, client)
        for client, part in enumerate(parts, start=1)
    )
    return Holdings(clients, tuple(labels.tolist()), len(everything))


def _count_one(
    dataset: Dataset,
    part: NDArray[np.int64],
    labels: NDArray[np.int64],
    client: int,
) -> Holding:
    shard = dataset.train.take(part)
    owners = [] if dataset.groups is None else np.unique(dataset.groups[part]).tolist()
    tokens = shard.arrays.get("tokens")
    return Holding(
        client=client,
        owners=tuple(owners),
        examples=len(shard),
        labels=tuple(int((shard.labels == label).sum()) for label in labels),
        words=None if tokens is None else len(np.unique(tokens)),
        characters=None if shard.labels.ndim == 1 else shard.labels.size,
    )
