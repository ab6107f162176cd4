"""The Enron mails as sets of words: spam or ham?"""
# ruff: noqa: PLC0415 - a client imports this module but never opens a data set

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.dataset import Dataset
from models.data.words import build_vocabulary, distinct_words, word_set_shard
from models.errors import TaskError

if TYPE_CHECKING:
    from pathlib import Path

SPAM_WORDS = 10_000
"""Size of the vocabulary of ``spam``, and so of its network."""

_SPAM_FILES = ("enron_train.parquet", "enron_test.parquet")
_SPAM_COLUMNS = ("text", "label", "mailbox")
_SPAM_HINT = (
    f"spam needs a folder with {' and '.join(_SPAM_FILES)}, each with the columns "
    "text (string), label (0 ham, 1 spam) and mailbox (string)"
)


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
        vocabulary=tuple(vocabulary),
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
