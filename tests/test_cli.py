"""What a person gets from the command line: usage, help, JSON and the end of a run."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from experiments import launch
from experiments.errors import RunFailedError
from tests.unseen_command import (
    RUN,
    Unseen,
    expect_error,
    snapshot,
)

# Options that typer refuses by itself, and words that its text must have.
BAD_USAGE = [
    ("bogus", "No such command 'bogus'"),
    ("run --bogus", "No such option '--bogus'"),
    ("run extra", "unexpected extra argument"),
    ("run --task", "'--task' requires an argument"),
    ("run --rounds many", "'many' is not a valid integer"),
    ("run --rounds 0", "0 is not in the range"),
    ("run --clip -1", "-1.0 is not in the range"),
    ("run --threshold -1", "-1 is not in the range"),
    ("run --batch-size -1", "-1 is not in the range"),
    ("keys create", "Missing option '--out'"),
    ("keys create --out new --clients 1", "1 is not in the range"),
    ("keys show", "Missing argument 'FOLDER'"),
    ("keys check", "Missing argument 'FOLDER'"),
]


@pytest.mark.parametrize(("args", "error"), BAD_USAGE)
def test_bad_usage_is_readable_and_exits_2(
    unseen: Unseen, place: Path, args: str, error: str
) -> None:
    before = snapshot(place)
    outcome = unseen(*args.split())
    assert outcome.code == 2
    assert error in outcome.err
    assert "Traceback" not in outcome.err
    assert snapshot(place) == before


# Numbers and words that must stand in the help of a command, as its defaults.
HELP = [
    ("run", ("digits", "the task's", "2026", "20", "fedavg", "auto", "thin")),
    ("prepare", ("digits", "the task's", "2026", "20")),
    ("plan", ("digits", "the task's", "20")),
    ("keys create", ("5",)),
]


@pytest.mark.parametrize(("command", "defaults"), HELP)
def test_help_shows_the_defaults(
    unseen: Unseen, command: str, defaults: tuple[str, ...]
) -> None:
    outcome = unseen(*command.split(), "--help")
    assert outcome.code == 0
    for value in defaults:
        assert f"[default: {value}]" in outcome.out


def test_help_shows_no_default_that_only_means_unset(unseen: Unseen) -> None:
    text = "".join(
        unseen(*command, "--help").out
        for command in (["run"], ["plan"], ["keys", "create"])
    )
    assert "[default: 0]" not in text
    assert "[default: 0.0]" not in text


@pytest.mark.parametrize(
    "command", ["", "run", "plan", "prepare", "keys", "keys show", "keys check"]
)
def test_every_command_has_help(unseen: Unseen, command: str) -> None:
    outcome = unseen(*command.split(), "--help")
    assert outcome.code == 0
    assert f"unseen {command}".strip() in outcome.out


EVENTS: list[dict[str, Any]] = [
    {"event": "run_started", "time": 1.0, "task": "digits", "clients": 5},
    {"event": "run_finished", "time": 9.0, "rounds_opened": 0, "seconds": 8.0},
]


def test_json_prints_only_json(
    unseen: Unseen, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    outcome = unseen(*RUN, "--json")
    result = json.loads(outcome.out)
    assert outcome.code == 0
    assert result["task"] == "digits"
    assert Path(result["run"]).resolve() == place / "run"


def test_json_stays_silent_on_standard_output_when_settings_are_wrong(
    unseen: Unseen,
) -> None:
    assert unseen(*RUN, "--json", "--partition", "weird").out == ""


def test_run_names_its_folder_at_the_end(
    unseen: Unseen, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    assert f"run folder: {place / 'run'}" in unseen(*RUN).out


def test_failed_run_exits_1_with_its_hint(
    unseen: Unseen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: launch.Launcher) -> NoReturn:
        raise RunFailedError("TooFewUpdatesError: 3 of 4", "see logs/server.log")

    monkeypatch.setattr(launch.Launcher, "run", fail)
    outcome = unseen(*RUN)
    expect_error(outcome, "TooFewUpdatesError: 3 of 4", code=1)
    assert outcome.lines("hint") == ["see logs/server.log"]


def test_stopped_run_exits_130(unseen: Unseen, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: launch.Launcher) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch.Launcher, "run", stop)
    expect_error(unseen(*RUN), "stopped", code=130)


@pytest.mark.parametrize(
    ("args", "is_told"),
    [
        ("", False),
        ("--clients 2", True),
        ("--clients 3", False),
        ("--threshold 3", True),
        ("--min-contributors 2", True),
        ("--min-contributors 2 --protocol plain", False),
    ],
)
def test_a_run_that_withstands_nobody_malicious_says_so(
    unseen: Unseen, args: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    outcome = unseen(*RUN, *args.split())
    told = [w for w in outcome.lines("warning") if "withstand nobody malicious" in w]
    assert bool(told) is is_told
