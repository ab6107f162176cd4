"""Film reviews: as sets of words and pairs of words, or word after word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.data.dataset import Dataset
from models.data.tables import LabelledTexts, data_folder, read_texts
from models.data.words import (
    build_vocabulary,
    thinned,
    word_list_shard,
    word_set_shard,
    words_and_pairs,
    words_of,
)
from models.errors import TaskError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMDB_TERMS = 30_000
"""Size of the vocabulary of ``imdb``: words, and pairs of neighbouring words."""

BLANKS_WORDS = 10_000
"""Size of the vocabulary of ``imdb-blanks``: words."""

# Mikolov et al. 2013 (arXiv:1310.4546) take about 1e-5, for far more text.
_THINNING = 1e-3
_THINNING_SEED = 2026  # public, as the test split is

_TRAIN, _TEST = "train.parquet", "test.parquet"
_HINT = (
    f"imdb needs a folder with {_TRAIN} and {_TEST}, each with the columns text "
    "(string) and label (0 negative, 1 positive)"
)


def load_imdb(folder: Path | None) -> Dataset:
    """Load film reviews as sets of words and of pairs of neighbouring words.

    The vocabulary is public and fixed before training: the 30,000 words and
    pairs that occur in the most reviews of the public test file, labels unused.
    Others are dropped. Pairs make "not good" something else than "good".

    Returns:
        Shards with "tokens" and "offsets" (see ``models.shards``) and "labels",
        1 for a positive review.

    Raises:
        TaskError: If a file is missing, unreadable or not in the format above.
    """
    train, test = _read_reviews(folder)
    test_terms = [words_and_pairs(text) for text in test.texts]
    vocabulary = build_vocabulary(test_terms, size=IMDB_TERMS)
    train_terms = map(words_and_pairs, train.texts)
    return Dataset(
        train=word_set_shard(train_terms, train.labels, vocabulary),
        test=word_set_shard(test_terms, test.labels, vocabulary),
        vocabulary=tuple(vocabulary),
    )


def load_imdb_blanks(folder: Path | None) -> Dataset:
    """Load film reviews as lists of words, to guess each from those around it.

    The vocabulary is the 10,000 words that occur in the most reviews of the
    public test file; others are dropped. Of the frequent ones a part is dropped
    at random, "the" nine times in ten: it says little about its neighbours, and
    they move together. How often a word occurs is counted in the test file too.

    Returns:
        As ``load_imdb``, in the order of the text. Reviews without two words are
        left out.

    Raises:
        TaskError: As ``load_imdb``, or if no review is left.
    """
    train, test = _read_reviews(folder)
    vocabulary = build_vocabulary(
        (set(words_of(text)) for text in test.texts), size=BLANKS_WORDS
    )
    train_shard, test_shard = (
        word_list_shard(map(words_of, part.texts), part.labels, vocabulary)
        for part in (train, test)
    )
    kept = _kept(test_shard.arrays["tokens"], len(vocabulary))
    train_shard, test_shard = (
        thinned(shard, kept, seed=_THINNING_SEED) for shard in (train_shard, test_shard)
    )
    if not len(train_shard) or not len(test_shard):
        raise TaskError(
            f"no review of {_TRAIN} or none of {_TEST} has two words of the vocabulary",
            hint=_HINT,
        )
    return Dataset(train=train_shard, test=test_shard, vocabulary=tuple(vocabulary))


def _kept(tokens: NDArray[np.int32], num_words: int) -> NDArray[np.float64]:
    """Return for each word the probability that it stays, shape ``(num_words,)``.

    ``sqrt(t / f)`` for a word of relative frequency ``f``: the subsampling of
    Mikolov et al. 2013 (arXiv:1310.4546).
    """
    counts = np.bincount(tokens, minlength=num_words)
    # Every word of the vocabulary occurs in the file that it was made from.
    kept: NDArray[np.float64] = np.sqrt(_THINNING * len(tokens) / counts)
    return kept.clip(max=1)


def _read_reviews(folder: Path | None) -> tuple[LabelledTexts, LabelledTexts]:
    """Return the training and the test reviews, without their HTML line breaks."""
    folder = data_folder(folder, task="imdb", hint=_HINT)
    train, test = (read_texts(folder / name, hint=_HINT) for name in (_TRAIN, _TEST))
    return _without_breaks(train), _without_breaks(test)


def _without_breaks(part: LabelledTexts) -> LabelledTexts:
    return LabelledTexts(
        [text.replace("<br />", " ") for text in part.texts], part.labels
    )
