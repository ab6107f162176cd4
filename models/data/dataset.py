"""A data set as the launcher sees it before it is shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.shards import Shard


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its public test split.

    Attributes:
        train: What the clients share out among themselves.
        test: What the server measures the global model on; public.
        groups: For each training example the name of its natural owner, shape
            ``(len(train),)``, or None if the data has no natural owners.
        vocabulary: The words or characters that the numbers in the shards stand
            for, by number; empty for images. Public, and fixed before training:
            built from private texts, it would tell everybody what they contain.
    """

    train: Shard
    test: Shard
    groups: NDArray[np.str_] | None = None
    vocabulary: tuple[str, ...] = ()
