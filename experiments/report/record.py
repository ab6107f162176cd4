"""What a run's folder says about the run, checked once, for the report and the list."""

import fcntl
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import SettingsError
from experiments.progress import Event, RunView, follow
from experiments.run_folder import read_config
from experiments.summary import Row, as_json

INTERRUPTED = "Interrupted"  # the launcher's name for a run that its user stopped
# Longer than the deadline of any task: a live run writes an event before.
_SILENT_SECONDS = 15 * 60
_CONFIG_PARTS = ("parameters", "versions")


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it.

    Attributes:
        folder: The run's folder.
        config: Its config.json; empty if that is missing or damaged.
        events: Its events that still count: rounds that a resumed run did again are
            left out.
        told: The events that people are told about in words, with the words.
        summary: What history.json holds.
        changed: Unix seconds of the last event.
    """

    folder: Path
    config: dict[str, Any]
    events: tuple[Event, ...]
    told: tuple[tuple[Event, str], ...]
    summary: dict[str, Any]
    changed: float

    @property
    def rows(self) -> list[Row]:
        """The rounds, as ``experiments.summary.history`` folds them."""
        rows: list[Row] = self.summary["history"]
        return rows

    def fact(self, name: str, otherwise: Any = None) -> Any:
        """Return a fact of the start of the run, or of its settings before that."""
        settings = self.config.get("settings", {})
        return self.summary.get(name, settings.get(name)) or otherwise

    @property
    def rounds_done(self) -> int:
        """The number of the last round that ended, failed ones included."""
        ended = (row for row in self.rows if row["seconds"]["total"] is not None)
        return max((int(row["round"]) for row in ended), default=0)

    @property
    def seconds(self) -> float:
        """Seconds of the run at the server; to its last event if it did not finish."""
        if self.summary["seconds"] is not None:
            return float(self.summary["seconds"])
        starts = [e["time"] for e in self.events if e["event"] == "run_started"]
        return max(0.0, self.changed - starts[-1]) if starts else 0.0

    @property
    def state(self) -> str:
        """Say how the run ended: finished, failed and why, stopped, cut off; or not.

        A run that no launcher holds and that has no end was cut off, unless it was
        started by Flower alone: one that wrote something lately is running, perhaps.
        """
        error = self.summary["error"]
        if error:
            name = error["error"]
            return "stopped" if name == INTERRUPTED else f"failed: {name}"
        if self.summary["seconds"] is not None:
            return "finished"
        if _is_claimed(self.folder):
            return "running"
        is_silent = time.time() - self.changed > _SILENT_SECONDS
        return "cut off" if is_silent else "running?"

    @property
    def score(self) -> tuple[str, float | None]:
        """The result people look at: perplexity for tasks that predict text."""
        name = "accuracy" if self.summary["perplexity"] is None else "perplexity"
        return name, self.summary[name]


def read_run(folder: Path) -> RunRecord:
    """Read the folder of a run, finished or not.

    Raises:
        SettingsError: If it is not the folder of a run, or its events are not those
            of this version.
    """
    path = folder / "events.jsonl"
    if not path.is_file():
        raise SettingsError(
            f"{folder} is not the folder of a run: it has no events.jsonl",
            "unseen runs lists the runs under ./runs",
        )
    try:
        events = _counting(follow(path, lambda: True))
        summary, told = as_json(events), _told(events)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"{path} has an event that cannot be read: {type(error).__name__} {error}",
            "it was changed, or made by another version",
        ) from None
    changed = max((event["time"] for event in events), default=path.stat().st_mtime)
    return RunRecord(
        folder, _read_config(folder), tuple(events), told, summary, changed
    )


def _counting(events: Iterable[Event]) -> list[Event]:
    """Leave out the rounds that a resumed run lost or did again."""
    kept: list[Event] = []
    for event in events:
        if event["event"] == "resumed":
            kept = [known for known in kept if known.get("round", 0) <= event["round"]]
        kept.append(event)
    return kept


def _told(events: Iterable[Event]) -> tuple[tuple[Event, str], ...]:
    view = RunView()
    lines = ((event, view.apply(event)) for event in events)
    return tuple((event, line) for event, line in lines if line)


def _read_config(folder: Path) -> dict[str, Any]:
    """Read config.json; a run that ended before it was written has none."""
    try:
        config = read_config(folder)
    except SettingsError:
        return {}
    whole = all(isinstance(config.get(part), dict) for part in _CONFIG_PARTS)
    return config if whole else {}


def _is_claimed(folder: Path) -> bool:
    """Say whether a launcher is at work in a folder (`RunFolder.claimed`)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
