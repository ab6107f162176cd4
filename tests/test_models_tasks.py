"""The tasks: their numbers, their data, and what they reach when federated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.dataset import Dataset
from models.data.digits import load_digits
from models.data.partition import partition
from models.errors import TaskError
from models.local import LocalTraining
from models.networks.state import load_arrays, state_arrays
from models.parameters import from_vector, layout_of, to_vector
from models.tasks import Task, get_task, task_names
from models.training import evaluate, initial_network, train

_REPOSITORY = Path(__file__).parent.parent
_DATA = Path(os.environ.get("UNSEEN_DATA", _REPOSITORY.parent / "shared" / "data"))


_needs_mails = pytest.mark.skipif(
    not (_DATA / "spam").is_dir(), reason="needs the Enron mails in UNSEEN_DATA"
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _accuracies(task: Task, data: Dataset, *, rounds: int, seed: int) -> list[float]:
    """Return the accuracy after each round of plain FedAvg, as the task has it."""
    parts = partition(
        data.train.labels,
        data.groups,
        task.default_partition,
        num_clients=task.num_clients,
        seed=seed,
    )
    shards = [data.train.take(part) for part in parts]
    assert max(map(len, shards)) <= task.w_max
    weights = [1 if task.equal_weights else len(shard) for shard in shards]
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
            weighted_sum += weights[client - 1] * update.clip(-task.clip, task.clip)
        parameters = parameters + weighted_sum / sum(weights)
        load_arrays(network, from_vector(parameters, layout))
        accuracies.append(evaluate(network, data.test, task, device="cpu").accuracy)
    return accuracies


@pytest.mark.parametrize("seed", [2026, 1])
def test_federated_digits_reach_95_percent_within_10_rounds(seed: int) -> None:
    task = get_task("digits")
    accuracies = _accuracies(task, task.load(None), rounds=10, seed=seed)
    assert accuracies[-1] >= 0.95


@_needs_mails
def test_federated_spam_reaches_98_5_percent_within_6_rounds() -> None:
    task = get_task("spam")
    accuracies = _accuracies(task, task.load(_DATA / "spam"), rounds=6, seed=2026)
    assert accuracies[-1] >= 0.985


@_needs_mails
def test_the_books_spam_ends_at_95_percent_as_the_mean_of_five_shuffles() -> None:
    task = get_task("spam-book")
    data = task.load(_DATA / "spam")
    ends = [_accuracies(task, data, rounds=3, seed=seed)[-1] for seed in range(1, 6)]
    assert np.mean(ends) >= 0.95


def test_the_digits_test_split_is_fixed_and_has_every_digit() -> None:
    first, second = load_digits(), load_digits()
    assert (len(first.train), len(first.test)) == (1437, 360)
    assert np.array_equal(first.test.arrays["images"], second.test.arrays["images"])
    assert np.bincount(first.test.labels).min() >= 34
    assert first.train.arrays["images"].min() == 0
    assert first.train.arrays["images"].max() == 1


@pytest.mark.parametrize("name", task_names())
def test_the_networks_have_the_sizes_they_are_planned_with(name: str) -> None:
    task = get_task(name)
    assert layout_of(state_arrays(task.make_network())).dim == task.num_parameters


def test_an_unknown_task_is_refused_with_the_known_names() -> None:
    with pytest.raises(TaskError, match="unknown task 'mnits'") as caught:
        get_task("mnits")
    assert caught.value.hint == f"the tasks are {', '.join(task_names())}"
    assert {"digits", "spam"} < {*task_names()}


def test_looking_a_task_up_imports_neither_torch_nor_a_data_library() -> None:
    code = (
        "import sys; from models.tasks import get_task; get_task('spam')\n"
        "heavy = {'torch', 'sklearn', 'datasets', 'pyarrow', 'flwr'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
