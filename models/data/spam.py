"""The Enron mails as sets of words: spam or ham?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.data.dataset import Dataset
from models.data.tables import data_folder, read_texts
from models.data.words import build_vocabulary, distinct_words, word_set_shard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPAM_WORDS = 20_000
"""Size of the vocabulary of both spam tasks, and so of their networks."""

_BOOK_WORDS = 500
_TRAIN, _TEST = "enron_train.parquet", "enron_test.parquet"
_HINT = (
    f"spam needs a folder with {_TRAIN} and {_TEST}, each with the columns text "
    "(string) and label (0 ham, 1 spam); mailbox (string) makes natural clients"
)


def load_spam(folder: Path | None) -> Dataset:
    """Load the Enron mails as sets of words, with their mailboxes as groups.

    The vocabulary is public and fixed before training: the 20,000 words that
    occur in the most mails of the public test file, labels unused. Words of
    the training mails cannot add to it, because a vocabulary built from
    private mails would tell everybody which words these contain. So a mail may
    have no known word at all; it then says nothing about spam.

    Returns:
        Shards with "tokens" and "offsets" (see ``models.shards``) and "labels",
        1 for spam.

    Raises:
        TaskError: If a file is missing, unreadable or not in the format above.
    """
    folder = data_folder(folder, task="spam", hint=_HINT)
    train = read_texts(folder / _TRAIN, owner="mailbox", hint=_HINT)
    test = read_texts(folder / _TEST, hint=_HINT)
    test_words = [distinct_words(text) for text in test.texts]
    vocabulary = build_vocabulary(test_words, size=SPAM_WORDS)
    train_words = map(distinct_words, train.texts)
    return Dataset(
        train=word_set_shard(train_words, train.labels, vocabulary),
        test=word_set_shard(test_words, test.labels, vocabulary),
        groups=train.owners,
        vocabulary=tuple(vocabulary),
    )


def load_spam_book(folder: Path | None) -> Dataset:
    """Load the Enron mails as chapter 15 of Trask (2019) trains on them.

    Training mails of 500 known words or more are left out, and spam is repeated
    until there is as much of it as of ham, as in the book. The vocabulary and the
    whole test file are those of ``load_spam``: the book makes its vocabulary from
    all mails, and tests on 2,000 of the short ones.

    Returns:
        As ``load_spam``, without groups: the book's clients are not mailboxes.

    Raises:
        TaskError: As ``load_spam``.
    """
    data = load_spam(folder)
    arrays = data.train.arrays
    lengths = np.diff(arrays["offsets"], append=len(arrays["tokens"]))
    short = data.train.take(np.flatnonzero(lengths < _BOOK_WORDS))
    return Dataset(
        train=short.take(_evened_out(short.labels)),
        test=data.test,
        vocabulary=data.vocabulary,
    )


def _evened_out(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of all examples, with the rarer label's repeated."""
    ham, spam = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    size = max(len(ham), len(spam))
    return np.concatenate([np.resize(part, size) for part in (ham, spam) if len(part)])
