"""All tasks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import TaskError
from models.tasks.characters import PROSE, SHAKESPEARE
from models.tasks.images import DIGITS, MNIST, MNIST_BOOK
from models.tasks.words import IMDB, IMDB_BLANKS, SPAM, SPAM_BOOK

if TYPE_CHECKING:
    from models.tasks.task import Task

_TASKS = {
    task.name: task
    for task in (
        DIGITS,
        MNIST,
        MNIST_BOOK,
        SPAM,
        SPAM_BOOK,
        IMDB,
        IMDB_BLANKS,
        SHAKESPEARE,
        PROSE,
    )
}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in the order they are shown."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """Return the task called ``name``.

    Raises:
        TaskError: If there is no such task.
    """
    if name not in _TASKS:
        known = ", ".join(_TASKS)
        raise TaskError(f"unknown task {name!r}", hint=f"the tasks are {known}")
    return _TASKS[name]
