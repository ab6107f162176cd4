"""Reads a task's data and shares it out among the clients of a run on this machine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.folder import data_home
from experiments.errors import SettingsError
from experiments.settings import RunSettings
from models.data.dataset import Dataset
from models.data.partition import left_out, partition
from models.data.sources import find_data
from models.errors import TaskError
from models.shards import Shard
from models.tasks import Task

Tell = Callable[[str], None]


@dataclass(frozen=True)
class SharedOut:
    """A data set, shared out.

    Attributes:
        shards: One a client, in the order of their numbers.
        test: The public test split.
        vocabulary: What the numbers in texts stand for; public.
    """

    shards: list[Shard]
    test: Shard
    vocabulary: tuple[str, ...]


def _no_telling(_: str) -> None:
    """Say nothing."""


def share_out(settings: RunSettings, task: Task, tell: Tell = _no_telling) -> SharedOut:
    """Read the data and split it.

    Args:
        settings: What to run.
        task: Its task.
        tell: Takes a line for people: what is downloaded, what is left out.

    Raises:
        SettingsError: If the data is missing or damaged, or cannot be split so.
    """
    dataset, parts = load_and_split(settings, task, tell)
    largest = max(len(part) for part in parts)
    if largest > task.w_max and not task.equal_weights:
        raise SettingsError(
            f"a client would have {largest} examples, but w-max of {task.name!r} is "
            f"{task.w_max}: larger clients would lose weight",
            "use more clients or another partition",
        )
    shards = [dataset.train.take(part) for part in parts]
    return SharedOut(shards, dataset.test, dataset.vocabulary)


def load_and_split(
    settings: RunSettings, task: Task, tell: Tell = _no_telling
) -> tuple[Dataset, list[NDArray[np.int64]]]:
    """Read the data and choose the examples of every client.

    Returns:
        The data set, and for each client the indices of its training examples.

    Raises:
        SettingsError: If the data is missing or damaged, or cannot be split so.
    """
    scheme = settings.partition or task.default_partition
    try:
        dataset = load(settings, task, tell)
        parts = partition(
            dataset.train.labels,
            dataset.groups,
            scheme,
            num_clients=settings.clients,
            seed=settings.seed,
        )
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    note = left_out(
        scheme,
        dataset.groups,
        num_clients=settings.clients,
        num_examples=len(dataset.train),
        num_taken=sum(map(len, parts)),
    )
    if note:
        tell(note)
    return dataset, parts


def load(settings: RunSettings, task: Task, tell: Tell = _no_telling) -> Dataset:
    """Read a task's data set, from where the settings say or a download.

    Raises:
        TaskError: If the data is missing or damaged.
    """
    if not task.needs_data:
        return task.load(None)
    return task.load(find_data(task.name, settings.data, data_home() / "data", tell))
