"""The handwritten digits that come with scikit-learn: no download, no folder."""
# ruff: noqa: PLC0415 - a client imports this module but never opens a data set

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.data.dataset import Dataset
from models.shards import Shard

if TYPE_CHECKING:
    from pathlib import Path

_TEST_SHARE = 0.2
_SPLIT_SEED = 2026  # public: the test split is the same for everyone
_LARGEST_PIXEL = 16.0


def load_digits(_folder: Path | None = None) -> Dataset:
    """Load the handwritten digits that come with scikit-learn.

    Images of 8 x 8 pixels, scaled to ``[0, 1]``: 1,437 to train on and a fixed
    public test split of 360, with the same share of every digit.

    Returns:
        Shards with "images", float32 of shape ``(n, 1, 8, 8)``, and "labels".
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    images = (digits.images / _LARGEST_PIXEL).astype(np.float32)
    everything = Shard(
        {"images": images[:, np.newaxis], "labels": digits.target.astype(np.int64)}
    )
    train, test = train_test_split(
        np.arange(len(everything)),
        test_size=_TEST_SHARE,
        stratify=everything.labels,
        random_state=_SPLIT_SEED,
    )
    return Dataset(train=everything.take(train), test=everything.take(test))
