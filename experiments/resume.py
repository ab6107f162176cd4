"""Goes on with a run that ended early: its settings and its last finished round."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from experiments.errors import SettingsError
from experiments.run_folder import read_config
from experiments.settings import RunSettings
from server.checkpoint import MODEL, saved_round
from server.errors import RunError


def resumed(folder: Path, rounds: int | None) -> tuple[RunSettings, int]:
    """Read what to go on with.

    Args:
        folder: The run's folder.
        rounds: Rounds in all; None for as many as the run was started with.

    Returns:
        The run's settings, and the round after which it goes on.

    Raises:
        SettingsError: If that is no run, or there is nothing left to do.
    """
    settings = _settings(read_config(folder), folder)
    settings = replace(settings, rounds=rounds or settings.rounds)
    return settings, rounds_done(folder, settings)


def rounds_done(folder: Path, settings: RunSettings) -> int:
    """Return the round after which a run goes on under these settings.

    Raises:
        SettingsError: If that is no run of this task, or there is nothing left to do.
    """
    earlier = _settings(read_config(folder), folder)
    if settings.task != earlier.task:
        raise SettingsError(
            f"{folder} is a run of {earlier.task}, this one of {settings.task}",
            "start a new run",
        )
    if settings.record or earlier.record:
        raise SettingsError(
            f"{folder} and what follows cannot be recorded: a record is of one run "
            f"from start to end",
            "start a new run",
        )
    try:
        done = saved_round(folder / MODEL)
    except RunError as error:
        raise SettingsError(str(error), "start a new run") from None
    if done >= settings.rounds:
        raise SettingsError(
            f"{folder} has done its {done} rounds",
            f"ask for more: --rounds {done + 10}",
        )
    return done


def _settings(config: dict[str, Any], folder: Path) -> RunSettings:
    values = dict(config["settings"])
    known = {item.name for item in fields(RunSettings)}
    if set(values) != known:
        differing = ", ".join(sorted(set(values) ^ known))
        raise SettingsError(
            f"{folder} was made by another version: settings differ in {differing}",
            "start a new run",
        )
    values["data"] = Path(values["data"]) if values["data"] else None
    return RunSettings(**values)
