"""Load the data sets of the tasks and check them; for the launcher only.

The data libraries are imported inside the functions that need them: a client
imports this module through ``models.tasks`` but never opens a data set.
"""
# ruff: noqa: PLC0415 - imports inside functions, see above

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import TaskError
from models.shards import Shard
from models.text import build_vocabulary, distinct_words, word_set_shard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPAM_WORDS = 10_000
"""Size of the vocabulary of ``spam``, and so of its network."""

_DIGITS_TEST_SHARE = 0.2
_DIGITS_SPLIT_SEED = 2026  # public: the test split is the same for everyone
_DIGITS_LARGEST_PIXEL = 16.0

_SPAM_FILES = ("enron_train.parquet", "enron_test.parquet")
_SPAM_COLUMNS = ("text", "label", "mailbox")
_SPAM_HINT = (
    f"spam needs a folder with {' and '.join(_SPAM_FILES)}, each with the columns "
    "text (string), label (0 ham, 1 spam) and mailbox (string)"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its public test split.

    Attributes:
        train: What the clients share out among themselves.
        test: What the server measures the global model on; public.
        groups: For each training example the name of its natural owner, shape
            ``(len(train),)``, or None if the data has no natural owners.
    """

    train: Shard
    test: Shard
    groups: NDArray[np.str_] | None = None


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
    images = (digits.images / _DIGITS_LARGEST_PIXEL).astype(np.float32)
    everything = Shard(
        {"images": images[:, np.newaxis], "labels": digits.target.astype(np.int64)}
    )
    train, test = train_test_split(
        np.arange(len(everything)),
        test_size=_DIGITS_TEST_SHARE,
        stratify=everything.labels,
        random_state=_DIGITS_SPLIT_SEED,
    )
    return Dataset(train=everything.take(train), test=everything.take(test))


def load_spam(folder: Path | None) -> Dataset:
    """Load the Enron mails as sets of words, with their mailboxes as groups.

    The vocabulary is public and fixed before training: the 10,000 words that
    occur in the most mails of the public test file, labels unused. Words of
    the training mails cannot add to it, because a vocabulary built from
    private mails would tell everybody which words these contain.

    Returns:
        Shards with "tokens" and "offsets" (see ``models.shards``) and "labels",
        1 for spam.

    Raises:
        TaskError: If a file is missing, unreadable or not in the format above.
    """
    if folder is None:
        raise TaskError("task spam needs a data folder", hint=_SPAM_HINT)
    if folder.exists() and not folder.is_dir():
        raise TaskError(f"{folder} is not a folder", hint=_SPAM_HINT)
    train, test = (_read_mails(folder / name) for name in _SPAM_FILES)
    train_words, test_words = (
        [distinct_words(text) for text in mails["text"].to_pylist()]
        for mails in (train, test)
    )
    vocabulary = build_vocabulary(test_words, size=SPAM_WORDS)
    return Dataset(
        train=word_set_shard(train_words, train["label"].to_numpy(), vocabulary),
        test=word_set_shard(test_words, test["label"].to_numpy(), vocabulary),
        groups=np.array(train["mailbox"].to_pylist(), dtype=np.str_),
    )


def _read_mails(path: Path) -> Any:
    """Return a file of mails as a checked pyarrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = sorted({*_SPAM_COLUMNS} - {*file.schema_arrow.names})
            if missing:
                raise TaskError(
                    f"{path} has no column {', '.join(missing)}", hint=_SPAM_HINT
                )
            table = file.read(columns=list(_SPAM_COLUMNS))
        types = (pa.string(), pa.int64(), pa.string())
        table = table.select(_SPAM_COLUMNS).cast(
            pa.schema(zip(_SPAM_COLUMNS, types, strict=True))
        )
    except FileNotFoundError as error:
        raise TaskError(
            f"no file {path.name} in the data folder {path.parent}", hint=_SPAM_HINT
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise TaskError(
            f"{path} is not a readable parquet file of mails", hint=_SPAM_HINT
        ) from error
    _check_mails(table, path)
    return table


def _check_mails(table: Any, path: Path) -> None:
    """Refuse an empty table, missing values and labels other than 0 and 1."""
    if table.num_rows == 0:
        raise TaskError(f"{path} has no rows", hint=_SPAM_HINT)
    for column in _SPAM_COLUMNS:
        if table[column].null_count:
            raise TaskError(
                f"column {column} of {path} has {table[column].null_count} missing "
                f"values in {table.num_rows} rows",
                hint=_SPAM_HINT,
            )
    if not np.isin(table["label"].to_numpy(), (0, 1)).all():
        raise TaskError(
            f"column label of {path} has values other than 0 and 1", hint=_SPAM_HINT
        )
