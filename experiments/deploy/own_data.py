"""A client's own data: read, checked against the run's task, kept as its shard."""

import math
from pathlib import Path

from experiments.deploy import layout, records
from experiments.errors import SettingsError
from experiments.settings import find_task
from models.data.sources import SOURCES, find_data
from models.errors import TaskError
from models.shards import Shard, load_shard, save_shard
from models.tasks import Task


def bring(data: Path, run: Path) -> int:
    """Keep a client's own data as the shard of a run.

    Args:
        data: An .npz shard, or a file or folder that the run's task reads; all of it is
            this client's own.
        run: The client's folder of the run.

    Returns:
        The number of examples.

    Raises:
        SettingsError: If it cannot be read, or does not fit the task.
    """
    task = find_task(records.read_task(run))
    try:
        shard = _read(data, task)
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    _check(data, shard, task)
    try:
        save_shard(run / layout.SHARD, shard)
    except OSError as error:
        raise SettingsError(f"cannot write to {run}: {error.strerror}") from None
    return len(shard)


def _read(data: Path, task: Task) -> Shard:
    if data.suffix == ".npz":
        return load_shard(data)
    if not task.needs_data:
        raise SettingsError(
            f"task {task.name!r} reads no files; {data} is no .npz shard",
            "pass a file with the arrays of a shard: NAME.npz",
        )
    folder = data
    if data.is_file() and SOURCES[task.name].files == (data.name,):
        folder = data.parent
    return task.load(find_data(task.name, folder, folder)).train


def _check(data: Path, shard: Shard, task: Task) -> None:
    """Refuse examples that the task's network cannot take.

    Raises:
        SettingsError: Says why; never what is in them.
    """
    if len(shard) == 0:
        raise SettingsError(f"{data} holds no examples")
    if len(shard) > task.w_max and not task.equal_weights:
        raise SettingsError(
            f"{data} holds {len(shard)} examples, but w-max of {task.name!r} is "
            f"{task.w_max}: this client would lose weight",
            "bring fewer, or several clients",
        )
    # Imported here: torch takes seconds, and most mistakes are found without it.
    from models import training  # noqa: PLC0415

    try:
        report = training.evaluate(task.make_network(), shard, task, device="cpu")
    except Exception as error:  # torch and numpy raise a dozen kinds
        raise SettingsError(
            f"{data} does not fit task {task.name!r} ({type(error).__name__})",
            f"its arrays are {_described(shard)}",
        ) from None
    if not math.isfinite(report.loss):
        raise SettingsError(f"{data} holds numbers that are not finite")


def _described(shard: Shard) -> str:
    return ", ".join(
        f"{name} {array.dtype} {array.shape}"
        for name, array in sorted(shard.arrays.items())
    )
