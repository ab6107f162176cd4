"""A run with a modified server: every key holder refuses, and the run goes on."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, launch
from experiments.engine import ProcessEngine
from experiments.settings import PROJECT

pytestmark = pytest.mark.integration

CHEAT = Path(__file__).with_name("greedy_server.py")
HOLDERS = [1, 2, 3, 4, 5]
ROUNDS = 3


def cheating_app(folder: Path) -> Path:
    """Make an app whose server is the changed one, and everything else ours."""
    folder.mkdir()
    shutil.copy(CHEAT, folder)
    shutil.copy(PROJECT / "LICENSE", folder)
    text = (PROJECT / "pyproject.toml").read_text()
    cheat = text.replace('"server.app:app"', f'"{CHEAT.stem}:app"')
    assert cheat != text
    (folder / "pyproject.toml").write_text(cheat)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with the cheating server."""
    folder = tmp_path_factory.mktemp("cheating")
    app_dir, out = cheating_app(folder / "app"), folder / "out"

    class CheatingEngine(ProcessEngine):
        def __init__(self, _: Path, *args: Any, **options: Any) -> None:
            super().__init__(app_dir, *args, **options)

    arguments = ["--rounds", str(ROUNDS), "--insecure-key-bits", "512"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "ProcessEngine", CheatingEngine)
        patch.setattr(sys, "argv", ["unseen", "run", *arguments, "--out", str(out)])
        with redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return out


@pytest.fixture(scope="module")
def events(run_folder: Path) -> list[dict[str, Any]]:
    lines = (run_folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_request_for_one_update_is_refused_by_every_key_holder(
    events: list[dict[str, Any]],
) -> None:
    refused = [event for event in events if event["event"] == "refused"]
    keys = ("round", "phase", "by", "code", "error")
    assert sorted(tuple(event[key] for key in keys) for event in refused) == [
        (1, "train", f"client {holder}", "E_SET", "DecryptionRefusedError")
        for holder in HOLDERS
    ]


def test_every_key_holder_logs_what_it_refused(run_folder: Path) -> None:
    for holder in HOLDERS:
        log = (run_folder / "logs" / f"client-{holder}.log").read_text()
        (line,) = (line for line in log.splitlines() if "refused" in line)
        assert "E_SET DecryptionRefusedError" in line
        assert "opens sums of 4 to 5 updates, got 1" in line


def test_cheated_round_opens_nothing(events: list[dict[str, Any]]) -> None:
    first = [event["event"] for event in events if event.get("round") == 1]
    assert not {"partial", "opened"} & set(first)
    (failed,) = [event for event in events if event["event"] == "round_failed"]
    assert (failed["round"], failed["error"]) == (1, "TooFewPartialsError")


def test_run_goes_on_with_the_honest_rounds(events: list[dict[str, Any]]) -> None:
    opened = [(e["round"], e["phase"]) for e in events if e["event"] == "opened"]
    phases = ("train", "evaluate")
    assert opened == [(n, phase) for n in range(2, ROUNDS + 1) for phase in phases]
    (finished,) = [event for event in events if event["event"] == "run_finished"]
    assert finished["rounds_opened"] == ROUNDS - 1
