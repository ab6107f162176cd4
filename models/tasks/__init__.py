"""The tasks: for each one its data, network, loss and public numbers.

Importing this package loads neither torch nor a data library: the command line
looks tasks up before it knows whether it will train, and a client process
never opens a data set.
"""

from models.tasks.registry import get_task, task_names
from models.tasks.task import Task

__all__ = ["Task", "get_task", "task_names"]
