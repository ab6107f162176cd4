"""`unseen runs` and `unseen report`, on folders that look like those of runs."""

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from experiments.errors import SettingsError
from experiments.runs_cli import (
    find_runs,
    report_command,
    runs_command,
    runs_table,
)
from tests.report_run import Story, finished_run, settings_of, write_config


def _invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("runs")(runs_command)
    app.command("report")(report_command)
    return CliRunner().invoke(app, arguments)


def _failed_run(folder: Path) -> None:
    story = Story(folder)
    story.start(task="prose", protocol="hybrid", rounds=15)
    story.round(1)
    story.tell(
        "evaluated", round=2, loss=2.0, accuracy=0.3, perplexity=7.389, seconds=1.0
    )
    for _ in range(100):  # so that it is the newest
        story.tell("warning", message="slow")
    story.tell("run_failed", error="RunError", message="too many", hint="")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    finished_run(tmp_path / "2026-11-23-145959-digits")
    _failed_run(tmp_path / "2026-11-23-150000-prose")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").touch()
    return tmp_path


def test_runs_are_listed_newest_first_with_how_they_ended(runs: Path) -> None:
    result = _invoke("runs", "--folder", str(runs), "--json")
    listed = {Path(row["folder"]).name: row for row in json.loads(result.stdout)}
    assert list(listed) == ["2026-11-23-150000-prose", "2026-11-23-145959-digits"]
    prose, digits = listed.values()
    assert prose["state"] == "failed: RunError"
    assert (prose["rounds_done"], prose["rounds"]) == (1, 15)
    assert (prose["metric"], prose["result"]) == ("perplexity", 7.389)
    assert digits["state"] == "finished"
    assert (digits["protocol"], digits["clients"]) == ("paillier", 5)
    assert digits["result"] == pytest.approx(1 - 0.5 / 3)
    assert digits["seconds"] == 12.0


def test_the_table_shows_every_run_in_a_terminal_of_80_columns(runs: Path) -> None:
    console = Console(width=80, record=True)
    console.print(runs_table(find_runs(runs)[0]))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("-digits", "-prose", "1/15", "3/3", "7.39", "0.8333", "12.0 s"):
        assert part in text


def test_a_run_that_ended_before_its_first_event_is_listed(tmp_path: Path) -> None:
    write_config(tmp_path, settings_of())
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.jsonl").touch()
    rows = json.loads(_invoke("runs", "--folder", str(tmp_path), "--json").stdout)
    assert [(row["task"], row["result"], row["state"]) for row in rows] == [
        (None, None, "running?")
    ]
    assert "0/?" in _invoke("runs", "--folder", str(tmp_path)).stdout


def test_a_run_that_cannot_be_read_is_named_below_the_others(runs: Path) -> None:
    Story(runs / "2026-11-23-145959-digits").tell("opened", round=9)
    result = _invoke("runs", "--folder", str(runs))
    assert "left out:" in result.stdout
    assert result.exit_code == 0
    assert len(find_runs(runs)[0]) == 1


def test_without_runs_the_list_says_how_to_make_one(tmp_path: Path) -> None:
    result = _invoke("runs", "--folder", str(tmp_path / "nowhere"))
    assert result.stdout.endswith("make one with: unseen run\n")


def test_a_list_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = _invoke("runs", "--folder", str(tmp_path / "file"))
    assert isinstance(result.exception, SettingsError)


def test_report_makes_the_page_again_and_says_where(runs: Path) -> None:
    run = runs / "2026-11-23-145959-digits"
    result = _invoke("report", str(run))
    assert result.exit_code == 0
    assert result.stdout == f"report: {run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 10_000


def test_report_of_another_folder_is_refused_and_writes_nothing(runs: Path) -> None:
    result = _invoke("report", str(runs / "notes"))
    assert isinstance(result.exception, SettingsError)
    assert [path.name for path in (runs / "notes").iterdir()] == ["readme.txt"]
