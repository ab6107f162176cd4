"""The tasks on words: bad files, the public vocabulary, what is left of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.data.words import (
    build_vocabulary,
    thinned,
    word_list_shard,
    word_set_shard,
    words_and_pairs,
)
from models.errors import TaskError
from models.shards import Shard
from models.tasks import get_task

if TYPE_CHECKING:
    from pathlib import Path

_MAILS: dict[str, list[Any]] = {
    "text": ["Buy now, BUY cheap", "the meeting", "123"],
    "label": [1, 0, 0],
    "mailbox": ["a", "b", "b"],
}
_PUBLIC = ["buy the", "now the", "cheap"]
_SPAM = ("enron_train.parquet", "enron_test.parquet")
_IMDB = ("train.parquet", "test.parquet")
_FILES = {"spam": _SPAM, "spam-book": _SPAM, "imdb": _IMDB, "imdb-blanks": _IMDB}


def _write(folder: Path, task: str = "spam", /, **train_columns: list[Any]) -> Path:
    """Write a train file with some columns changed, and a good test file."""
    train_file, test_file = _FILES[task]
    pq.write_table(pa.table(_MAILS | train_columns), folder / train_file)
    pq.write_table(pa.table(_MAILS | {"text": _PUBLIC}), folder / test_file)
    return folder


def _words(shard: Shard) -> list[list[int]]:
    parts = np.split(shard.arrays["tokens"], shard.arrays["offsets"][1:])
    return [part.tolist() for part in parts]


def _shard(*texts: list[int]) -> Shard:
    numbers = {str(word): word for text in texts for word in text}
    labels = np.zeros(len(texts), np.int64)
    return word_list_shard((map(str, text) for text in texts), labels, numbers)


def test_the_vocabulary_is_made_of_the_test_mails_only(tmp_path: Path) -> None:
    data = get_task("spam").load(_write(tmp_path))
    # "meeting" is in no test mail.
    assert data.vocabulary == ("the", "buy", "cheap", "now")
    assert _words(data.test) == [[0, 1], [0, 3], [2]]
    assert _words(data.train) == [[1, 2, 3], [0], []]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "b", "b"]


def test_mails_of_nobody_have_no_natural_clients(tmp_path: Path) -> None:
    path = _write(tmp_path) / _SPAM[0]
    pq.write_table(pa.table(_MAILS).drop_columns(["mailbox"]), path)
    assert get_task("spam").load(tmp_path).groups is None


def test_the_vocabulary_keeps_the_words_of_the_most_documents() -> None:
    documents = [{"b", "rare"}, {"a", "b"}, {"a", "c"}, {"c"}]
    assert build_vocabulary(documents, size=3) == {"a": 0, "b": 1, "c": 2}
    shard = word_set_shard(documents, np.zeros(4, np.int64), {"c": 0, "a": 1})
    assert _words(shard) == [[], [1], [0, 1], [0]]


def test_the_book_leaves_out_training_mails_of_500_words(tmp_path: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [first + second for first in letters for second in letters]
    folder = _write(
        tmp_path, text=[" ".join(words[:n]) for n in (499, 500, 501)], label=[0, 1, 1]
    )
    everything = " ".join(words)
    pq.write_table(pa.table({"text": [everything], "label": [1]}), folder / _SPAM[1])
    data = get_task("spam-book").load(folder)
    assert [len(mail) for mail in _words(data.train)] == [499]
    assert data.train.labels.tolist() == [0]
    assert [len(mail) for mail in _words(data.test)] == [len(words)]


def test_the_book_repeats_the_rarer_kind_of_mail(tmp_path: Path) -> None:
    data = get_task("spam-book").load(_write(tmp_path, label=[1, 0, 0]))
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    # The meeting and "123", then the spam twice.
    assert _words(data.train) == [[0], [], [1, 2, 3], [1, 2, 3]]
    assert len(get_task("spam-book").load(_write(tmp_path, label=[0, 0, 0])).train) == 3


def test_reviews_have_pairs_of_words_and_no_html(tmp_path: Path) -> None:
    folder = _write(tmp_path, "imdb", text=["the now<br />Buy the", "", "br"])
    pq.write_table(
        pa.table({"text": ["buy the<br />now"], "label": [1]}), folder / _IMDB[1]
    )
    data = get_task("imdb").load(folder)
    assert data.vocabulary == ("buy", "buy the", "now", "the", "the now")
    assert _words(data.train) == [[0, 1, 2, 3, 4], [], []]


def test_pairs_do_not_join_words_that_are_apart() -> None:
    assert words_and_pairs("a b a") == {"a", "b", "a b", "b a"}
    assert words_and_pairs("") == set()


def test_blanks_keep_the_order_and_drop_reviews_without_two_words(
    tmp_path: Path,
) -> None:
    # Of 4,000 words as common as each other, none is frequent enough to be thinned.
    words = [
        f"{chr(97 + i // 676)}{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}x"
        for i in range(4000)
    ]
    folder = _write(
        tmp_path, "imdb", text=["bbbx nowhere aaax bbbx", "aaax", "nowhere"]
    )
    pq.write_table(
        pa.table({"text": [" ".join(words)], "label": [1]}), folder / _IMDB[1]
    )
    data = get_task("imdb-blanks").load(folder)
    kept = [[data.vocabulary[n] for n in text] for text in _words(data.train)]
    assert kept == [["bbbx", "aaax", "bbbx"]]
    assert [data.vocabulary[n] for n in _words(data.test)[0]] == words


@pytest.mark.parametrize("words", [["one", "", "two"], ["no", "known", "words"]])
def test_reviews_of_which_none_has_two_known_words_are_refused(
    tmp_path: Path, words: list[str]
) -> None:
    folder = _write(tmp_path, "imdb", text=words)
    with pytest.raises(TaskError, match="has two words of the vocabulary"):
        get_task("imdb-blanks").load(folder)


def test_thinning_drops_words_by_their_probability_and_depends_on_the_seed() -> None:
    shard = _shard([0, 1, 0, 1] * 500, [1, 0, 2], [2, 2], [1, 1])
    kept = np.array([0.0, 1.0, 0.5])
    thin = thinned(shard, kept, seed=1)
    assert _words(thin)[0] == [1] * 1000
    assert _words(thin)[-1] == [1, 1]
    assert len(_words(thin)) < 4 or 2 in _words(thin)[1]
    many = _shard([2] * 10_000, [1, 1])
    # Half of 10,000 words; ten standard deviations of 50.
    assert abs(len(_words(thinned(many, kept, seed=1))[0]) - 5000) < 500
    assert _words(thinned(many, kept, seed=1)) == _words(thinned(many, kept, seed=1))
    assert _words(thinned(many, kept, seed=1)) != _words(thinned(many, kept, seed=2))


def test_a_mail_of_200_000_characters_is_read_like_any_other(tmp_path: Path) -> None:
    huge = ["buy " * 50_000, "x" * 200_000, "\N{SNOWMAN}" * 200_000]
    data = get_task("spam").load(_write(tmp_path, text=huge))
    assert _words(data.train) == [[1], [], []]


@pytest.mark.parametrize("task", _FILES)
def test_without_a_data_folder_a_task_is_refused(task: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="needs a data folder") as caught:
        get_task(task).load(None)
    assert _FILES[task][0] in str(caught.value.hint)
    (tmp_path / "file").touch()
    with pytest.raises(TaskError, match="file is not a folder"):
        get_task(task).load(tmp_path / "file")


@pytest.mark.parametrize("task", ["spam", "imdb"])
@pytest.mark.parametrize("part", [0, 1])
def test_a_missing_file_is_named_with_its_columns(
    tmp_path: Path, task: str, part: int
) -> None:
    file = _FILES[task][part]
    (_write(tmp_path, task) / file).unlink()
    with pytest.raises(TaskError, match=f"no file {file} in the data folder") as caught:
        get_task(task).load(tmp_path)
    assert "text (string) and label (0" in str(caught.value.hint)


@pytest.mark.parametrize("keep", [0, 10, 500])
@pytest.mark.parametrize("task", ["spam", "imdb"])
def test_an_unreadable_file_is_refused(tmp_path: Path, task: str, keep: int) -> None:
    path = _write(tmp_path, task) / _FILES[task][1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TaskError, match="not a readable parquet file of labelled"):
        get_task(task).load(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["spam", "ham", "ham"]}, "not a readable parquet file of labelled"),
        ({"label": [1, None, 0]}, "column label of .* has 1 missing values in 3"),
        ({"label": [1, 2, 0]}, "has values other than 0 and 1"),
        ({"label": [1, -1, 0]}, "has values other than 0 and 1"),
        ({"label": [1.0, 0.5, 0.0]}, "not a readable parquet file of labelled"),
        ({"text": [None, None, "a"]}, "column text of .* has 2 missing values"),
        ({"text": [["a"], ["b"], ["c"]]}, "not a readable parquet file of labelled"),
        ({"mailbox": ["a", None, "b"]}, "column mailbox of .* has 1 missing values"),
        ({"text": [], "label": [], "mailbox": []}, "has no rows"),
    ],
)
def test_bad_rows_are_refused(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    folder = _write(tmp_path, "spam", **columns)
    with pytest.raises(TaskError, match=message) as caught:
        get_task("spam").load(folder)
    assert "label (0 ham, 1 spam)" in str(caught.value.hint)


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = _write(tmp_path) / _SPAM[0]
    pq.write_table(pa.table(_MAILS).drop_columns([column]), path)
    with pytest.raises(TaskError, match=f"has no column {column}"):
        get_task("spam").load(tmp_path)
