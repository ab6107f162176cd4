"""Runs that the figures are made of: done once, kept, and read again."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.errors import SettingsError
from experiments.launch import Launcher
from experiments.run_folder import read_config
from experiments.settings import RunSettings, default_run, find_task
from experiments.summary import write_history
from server.checkpoint import MODEL

Row = dict[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A run that went to its end.

    Attributes:
        folder: Its run folder.
        rows: One a round, as in `experiments.summary.history`.
        sums: Round to the hash of the integers that were opened after training.
    """

    folder: Path
    rows: list[Row]
    sums: dict[int, str]

    @property
    def model(self) -> Path:
        """The last model."""
        return self.folder / MODEL

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy before training and after every round."""
        return [row["accuracy"] for row in self.rows]

    @property
    def losses(self) -> list[float]:
        """Test loss in nats, before training and after every round."""
        return [row["loss"] for row in self.rows]


def settings_of(task: str, data: Path | None, **changes: Any) -> RunSettings:
    """Return a task's own settings, changed in a few places."""
    defaults = find_task(task)
    settings = replace(
        default_run(),
        task=task,
        data=data if defaults.needs_data else None,
        clients=defaults.num_clients,
        rounds=defaults.num_rounds,
    )
    return replace(settings, **changes)


def finished_run(settings: RunSettings, folder: Path, console: Console) -> FinishedRun:
    """Return a run of these settings: the one that is there, or a new one.

    Raises:
        SettingsError: If the folder holds another run, or the run fails.
    """
    if not (folder / "config.json").exists():
        console.print(f"running {folder.name}")
        Launcher(settings, folder, console=console).run()
    config = read_config(folder)["settings"]
    asked = {k: str(v) if isinstance(v, Path) else v for k, v in vars(settings).items()}
    differing = [k for k, v in asked.items() if k != "protocol" and config.get(k) != v]
    if differing:
        raise SettingsError(
            f"{folder} holds a run with other settings: {', '.join(differing)}",
            "delete it, or choose another --runs",
        )
    history = json.loads(write_history(folder).read_text(encoding="utf-8"))
    if history["error"] or history["rounds_opened"] < settings.rounds:
        raise SettingsError(f"the run in {folder} did not finish", "delete it")
    return FinishedRun(folder, history["history"], _opened(folder))


def _opened(folder: Path) -> dict[int, str]:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return {
        event["round"]: event["sum"]
        for event in events
        if event["event"] == "opened" and event["phase"] == "train"
    }
