"""The server's settings, read once from Flower's run configuration."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.tasks import Task, get_task
from server.errors import RunError

STRATEGY_NAMES = ("fedavg", "fedavgm", "fedadam", "fedyogi")

RunConfig = Mapping[str, bool | float | int | str]


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What the server needs to know beyond the run's manifest.

    Attributes:
        task: What is trained.
        strategy: Name of the Flower strategy to wrap.
        num_clients: Clients to wait for at the start.
        num_rounds: Rounds to run.
        fraction_train: Share of the clients asked in a round.
        deadline_seconds: For all uploads of a phase.
        max_failed_rounds: Failed rounds in a row that end the run.
        seed: Of the initial model and the sampling.
        run_dir: Where results go; None keeps none.
        start_round: Round after which an earlier run ended; 0 for a new one.
        early_stop: Rounds without a better model that end the run; 0 for never.
        record: Whether every message is kept there, too.
        run_folder: The server's folder of this run: `manifest.json`, `test.npz`.
    """

    task: Task
    strategy: str
    num_clients: int
    num_rounds: int
    fraction_train: float
    deadline_seconds: float
    max_failed_rounds: int
    seed: int
    run_dir: Path | None
    start_round: int
    early_stop: int
    record: bool
    run_folder: Path

    @classmethod
    def from_run_config(cls, values: RunConfig) -> "ServerConfig":
        """Read and check every field.

        Raises:
            RunError: If one is missing or out of range.
            TaskError: If the task is unknown.
        """
        task = get_task(_text(values, "task"))
        run_dir = _text(values, "run-dir")
        return cls(
            task=task,
            strategy=_text(values, "strategy"),
            num_clients=_count(values, "num-clients"),
            num_rounds=_count(values, "num-rounds"),
            fraction_train=_number(values, "fraction-train", low=0.0, high=1.0),
            deadline_seconds=_number(values, "round-deadline", low=0.0, high=86_400.0)
            or task.deadline_seconds,
            max_failed_rounds=_count(values, "max-failed-rounds"),
            seed=int(_number(values, "seed", low=0, high=2**31)),
            run_dir=Path(run_dir) if run_dir else None,
            start_round=int(_number(values, "start-round", low=0, high=2**31)),
            early_stop=int(_number(values, "early-stop", low=0, high=2**31)),
            record=_flag(values, "record"),
            run_folder=_run_folder(_text(values, "server-dir")),
        )


def _run_folder(named: str) -> Path:
    """Return the server's folder of this run.

    Raises:
        RunError: If nothing is prepared.
    """
    if named:
        return Path(named)
    home = os.environ.get("UNSEEN_HOME")
    share = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    root = Path(home).expanduser() if home else share / "unseen"
    runs = list((root / "prepared" / "server" / "runs").glob("*"))
    if not runs:
        raise RunError("no run is prepared on this machine", 'run "unseen prepare"')
    return max(runs, key=lambda path: path.stat().st_mtime_ns)


def _value(values: RunConfig, name: str) -> bool | float | int | str:
    if name not in values:
        raise RunError(f"the run configuration has no {name}")
    return values[name]


def _text(values: RunConfig, name: str) -> str:
    return str(_value(values, name))


def _flag(values: RunConfig, name: str) -> bool:
    value = _value(values, name)
    if not isinstance(value, bool):
        raise RunError(f"{name} must be true or false, got {value!r}")
    return value


def _number(values: RunConfig, name: str, *, low: float, high: float) -> float:
    value = _value(values, name)
    if isinstance(value, str) or not low <= value <= high:
        raise RunError(f"{name} must be {low:g} to {high:g}, got {value!r}")
    return value


def _count(values: RunConfig, name: str) -> int:
    value = _value(values, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RunError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
