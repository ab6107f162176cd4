"""All tasks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import TaskError
from models.tasks.images import DIGITS
from models.tasks.words import SPAM

if TYPE_CHECKING:
    from models.tasks.task import Task

_TASKS = {task.name: task for task in (DIGITS, SPAM)}


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
