"""The tasks: their numbers, their data, and what they reach when federated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from models.data.dataset import Dataset
from models.data.digits import load_digits
from models.data.partition import partition
from models.data.words import build_vocabulary, word_set_shard
from models.errors import TaskError
from models.local import LocalTraining
from models.networks.state import load_arrays, state_arrays
from models.parameters import from_vector, layout_of, to_vector
from models.tasks import Task, get_task, task_names
from models.training import evaluate, initial_network, train

if TYPE_CHECKING:
    from models.shards import Shard

_REPOSITORY = Path(__file__).parent.parent
_DATA = Path(os.environ.get("UNSEEN_DATA", _REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _accuracies(task: Task, data: Dataset, *, rounds: int, seed: int) -> list[float]:
    """Return the accuracy after each round of plain FedAvg with five clients."""
    parts = partition(
        data.train.labels, data.groups, task.default_partition, num_clients=5, seed=seed
    )
    shards = [data.train.take(part) for part in parts]
    assert max(map(len, shards)) <= task.w_max
    network = initial_network(task, seed=seed)
    layout = layout_of(state_arrays(network))
    parameters = to_vector(state_arrays(network), layout)
    accuracies = []
    for server_round in range(1, rounds + 1):
        weighted_sum = np.zeros(layout.dim)
        for client, shard in enumerate(shards, start=1):
            load_arrays(network, from_vector(parameters, layout))
            train(
                network,
                shard,
                task,
                LocalTraining.of(task),
                seed=seed + 100 * server_round + client,
                device="cpu",
            )
            update = to_vector(state_arrays(network), layout) - parameters
            weighted_sum += len(shard) * update.clip(-task.clip, task.clip)
        parameters = parameters + weighted_sum / len(data.train)
        load_arrays(network, from_vector(parameters, layout))
        accuracies.append(evaluate(network, data.test, task, device="cpu").accuracy)
    return accuracies


@pytest.mark.parametrize("seed", [2026, 1])
def test_federated_digits_reach_95_percent_within_10_rounds(seed: int) -> None:
    task = get_task("digits")
    accuracies = _accuracies(task, task.load(None), rounds=10, seed=seed)
    assert accuracies[-1] >= 0.95


@pytest.mark.skipif(
    not (_DATA / "spam").is_dir(), reason="needs the Enron mails in UNSEEN_DATA"
)
def test_federated_spam_reaches_97_5_percent_within_5_rounds() -> None:
    task = get_task("spam")
    accuracies = _accuracies(task, task.load(_DATA / "spam"), rounds=5, seed=2026)
    assert accuracies[-1] >= 0.975


def test_the_digits_test_split_is_fixed_and_has_every_digit() -> None:
    first, second = load_digits(), load_digits()
    assert (len(first.train), len(first.test)) == (1437, 360)
    assert np.array_equal(first.test.arrays["images"], second.test.arrays["images"])
    assert np.bincount(first.test.labels).min() >= 34
    assert first.train.arrays["images"].min() == 0
    assert first.train.arrays["images"].max() == 1


@pytest.mark.parametrize(("name", "dim"), [("digits", 5930), ("spam", 10_000)])
def test_the_networks_have_the_sizes_they_are_planned_with(name: str, dim: int) -> None:
    task = get_task(name)
    assert layout_of(state_arrays(task.make_network())).dim == task.num_parameters
    assert task.num_parameters == dim


def test_an_unknown_task_is_refused_with_the_known_names() -> None:
    with pytest.raises(TaskError, match="unknown task 'mnits'") as caught:
        get_task("mnits")
    assert caught.value.hint == "the tasks are digits, spam"
    assert task_names() == ("digits", "spam")


def test_looking_a_task_up_imports_neither_torch_nor_a_data_library() -> None:
    code = (
        "import sys; from models.tasks import get_task; get_task('spam')\n"
        "heavy = {'torch', 'sklearn', 'datasets', 'pyarrow', 'flwr'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_MAILS: dict[str, list[Any]] = {
    "text": ["Buy now, BUY cheap", "the meeting", "123"],
    "label": [1, 0, 0],
    "mailbox": ["a", "b", "b"],
}


def _mail_folder(folder: Path, **train_columns: list[Any]) -> Path:
    """Write a train file with some columns changed, and a good test file."""
    test_mails = {**_MAILS, "text": ["buy the", "now the", "cheap"]}
    pq.write_table(pa.table(_MAILS | train_columns), folder / "enron_train.parquet")
    pq.write_table(pa.table(test_mails), folder / "enron_test.parquet")
    return folder


def _words(shard: Shard) -> list[list[int]]:
    parts = np.split(shard.arrays["tokens"], shard.arrays["offsets"][1:])
    return [part.tolist() for part in parts]


def test_the_vocabulary_is_made_of_the_test_mails_only(tmp_path: Path) -> None:
    data = get_task("spam").load(_mail_folder(tmp_path))
    # the 0, then in alphabetical order buy 1, cheap 2, now 3; "meeting" is unknown.
    assert _words(data.test) == [[0, 1], [0, 3], [2]]
    assert _words(data.train) == [[1, 2, 3], [0], []]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "b", "b"]


def test_the_vocabulary_keeps_the_words_of_the_most_documents() -> None:
    documents = [{"b", "rare"}, {"a", "b"}, {"a", "c"}, {"c"}]
    assert build_vocabulary(documents, size=3) == {"a": 0, "b": 1, "c": 2}
    shard = word_set_shard(documents, np.zeros(4, np.int64), {"c": 0, "a": 1})
    assert _words(shard) == [[], [1], [0, 1], [0]]


def test_spam_without_a_data_folder_is_refused() -> None:
    with pytest.raises(TaskError, match="task spam needs a data folder") as caught:
        get_task("spam").load(None)
    assert "enron_train.parquet" in str(caught.value.hint)


@pytest.mark.parametrize("file", ["enron_train.parquet", "enron_test.parquet"])
def test_a_missing_mail_file_is_named_with_its_columns(
    tmp_path: Path, file: str
) -> None:
    (_mail_folder(tmp_path) / file).unlink()
    with pytest.raises(TaskError, match=f"no file {file} in the data folder") as caught:
        get_task("spam").load(tmp_path)
    assert "text (string), label (0 ham, 1 spam)" in str(caught.value.hint)


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_an_unreadable_mail_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = _mail_folder(tmp_path) / "enron_test.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TaskError, match="not a readable parquet file of mails"):
        get_task("spam").load(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["spam", "ham", "ham"]}, "not a readable parquet file of mails"),
        ({"label": [1, None, 0]}, "column label of .* has 1 missing values in 3"),
        ({"label": [1, 2, 0]}, "has values other than 0 and 1"),
        ({"text": [None, None, "a"]}, "column text of .* has 2 missing values"),
        ({"text": [], "label": [], "mailbox": []}, "has no rows"),
    ],
)
def test_bad_mails_are_refused(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    folder = _mail_folder(tmp_path, **columns)
    with pytest.raises(TaskError, match=message):
        get_task("spam").load(folder)


@pytest.mark.parametrize("column", ["text", "label", "mailbox"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = _mail_folder(tmp_path) / "enron_train.parquet"
    pq.write_table(pa.table(_MAILS).drop_columns([column]), path)
    with pytest.raises(TaskError, match=f"has no column {column}"):
        get_task("spam").load(tmp_path)
