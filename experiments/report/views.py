"""Everything that is made from a run's events: history, TensorBoard's events, page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.errors import SettingsError
from experiments.report.page import write_report
from experiments.report.record import read_run
from experiments.report.tensorboard import write_tensorboard
from experiments.summary import write_history

if TYPE_CHECKING:
    from pathlib import Path


def write_views(folder: Path) -> Path:
    """Make a run's history.json, TensorBoard folder and report.html anew.

    Args:
        folder: The run's folder; the run need not be over.

    Returns:
        The path of the page.

    Raises:
        SettingsError: If it is not the folder of a run, or cannot be written.
    """
    record = read_run(folder)
    try:
        write_history(folder)
        write_tensorboard(folder, record.events)
        return write_report(record)
    except OSError as error:
        raise SettingsError(
            f"cannot write {folder}: {error.strerror}",
            "free some space, or change who may write there",
        ) from None
