"""What `make faults` shows, as far as it is cheap: its own parts, and single fixes."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
import torch
from flwr.app import ConfigRecord, Message, Metadata, RecordDict
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from rich.console import Console
from safetensors.torch import load_file

from experiments import commands
from experiments.engine import EngineError
from experiments.errors import RunFailedError
from experiments.faults import __main__ as faults
from experiments.faults import launcher as faulty_launcher
from experiments.faults.fault import Fault
from experiments.faults.place import CannotTryError, site_for
from experiments.faults.run import Run, TrialError
from experiments.faults.scenario import COMPLETED, KILLED, Scenario, Trial
from experiments.faults.scenarios import TRIALS
from experiments.faults.table import faults_table
from experiments.faults.trial import Row, carry_out
from experiments.launch import Launcher
from experiments.settings import default_run
from server.checkpoint import MODEL, save_checkpoint, saved_round
from server.errors import RunError
from server.events import EventLog
from server.grid import FastGrid
from tests.test_engine import (
    CLIENT,
    PYPROJECT,
    SERVER,
    finish,
    make_engine,
    submit,
    wait_until,
)

ROOT = Path(__file__).resolve().parent.parent


def message(kind: str, number: int, message_type: str = "train") -> Message:
    metadata = Metadata(0, "", 1, 0, "", str(number), 0.0, 0.0, message_type)
    content = RecordDict({"unseen": ConfigRecord({"kind": kind, "data": b""})})
    made: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
    return made


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("before-training", "round"),
        ("before-upload", "upload"),
        ("during-upload", "upload"),
        ("after-upload", "upload"),
        ("before-opening", "open"),
    ],
)
def test_fault_is_due_at_one_message_of_its_round(moment: str, kind: str) -> None:
    fault = Fault.from_text(f"2,kill,{moment},3,0")
    assert fault.is_due(fault.moment, message(kind, 3))
    assert not fault.is_due(fault.moment, message(kind, 2))
    assert not fault.is_due(fault.moment, message("hello", 3))
    assert not fault.is_due("start", message(kind, 3))


@pytest.mark.parametrize("text", ["2,explode,start,0,0", "2,kill,never,0,0", "2"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|unpack"):
        Fault.from_text(text)


def test_shifted_clock_is_what_python_code_reads() -> None:
    script = (
        "import time\n"
        "before = time.time()\n"
        "from experiments.faults.node import shift_clock\n"
        "shift_clock(3600)\n"
        "from datetime import datetime, timezone\n"
        "for now in (time.time(), time.time_ns() / 1e9,\n"
        "            datetime.now(timezone.utc).timestamp()):\n"
        "    print(round((now - before) / 60))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["60", "60", "60"]


def test_only_a_client_with_a_fault_gets_another_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[list[str]] = []

    def unseen() -> None:
        for number in (1, 2):
            spec = commands.ClientSpec(number, Path("c"), "ab" * 16)
            options = {"superlink": "h:1", "app": "a:b", "num_clients": 2}
            made.append(commands.thin_node_command(spec, **options))  # type: ignore[arg-type]

    monkeypatch.setattr(commands, "thin_node_command", commands.thin_node_command)
    monkeypatch.setattr("experiments.cli.main", unseen)
    text = Fault(2, "kill", "after-upload", 1).to_text()
    monkeypatch.setattr(sys, "argv", ["launcher", text, "--", "run"])
    faulty_launcher.main()
    sound, faulty = made
    assert "clients.node" in sound
    place = faulty.index("experiments.faults.node")
    assert faulty[place + 1] == text
    assert "clients.node" not in faulty


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [scenario.name for trial in TRIALS for scenario in trial.scenarios]
    assert len(names) == len(set(names))
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)


class Fake(Run):
    """A run whose launcher is a line of shell."""

    line = "exit 0"

    def _start(self, *_: object) -> None:
        with (self.folder / "output").open("wb") as output:
            self._launcher = subprocess.Popen(
                ["/bin/sh", "-c", self.line],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(self._tmp)},
            )


def trial(ends: str | tuple[str, ...], *, holds: bool = True) -> Trial:
    return Trial("fake", (Scenario("fake", lambda _run: holds),), (), ends=ends)


@pytest.mark.parametrize(
    ("line", "expected", "problem"),
    [
        ("exit 0", COMPLETED, ""),
        ("echo 'unseen: error: RunError: no room'; exit 1", "RunError", ""),
        ("kill -9 $$", KILLED, ""),
        ("exit 1", COMPLETED, "expected completed"),
        ("exit 0", "RunError", "expected RunError"),
        ("echo Traceback; exit 0", COMPLETED, "a traceback was printed"),
    ],
)
def test_run_that_ends_in_anything_else_is_a_problem(
    line: str,
    expected: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("experiments.faults.trial.Run", Fake)
    monkeypatch.setattr(Fake, "line", line)
    (row,) = carry_out(trial(expected), tmp_path / "fake", tmp_path / "home")
    assert row.problem == problem
    (row,) = carry_out(
        trial(expected, holds=False), tmp_path / "again", tmp_path / "home"
    )
    assert "what must hold does not" in row.problem


def test_orphan_is_found_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.faults.trial.Run", Fake)
    monkeypatch.setattr("experiments.faults.run.ORPHAN_SECONDS", 0.1)
    monkeypatch.setattr(Fake, "line", "sleep 60 & exit 0")
    (row,) = carry_out(trial(COMPLETED), tmp_path / "fake", tmp_path / "home")
    assert (row.orphans, row.problem) == (1, "1 processes are left")


def test_lost_model_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.faults.trial.Run", Fake)
    out = tmp_path / "fake" / "disk" / "out"
    line = f"""mkdir -p {out}; cd {out}
        echo '{{"event": "run_started", "rounds": 3}}' > events.jsonl
        echo '{{"event": "evaluated", "round": 2}}' >> events.jsonl"""
    monkeypatch.setattr(Fake, "line", line)
    (row,) = carry_out(trial(COMPLETED), tmp_path / "fake", tmp_path / "home")
    assert row.problem == "the model of round 2 is lost"
    assert row.rounds == "2/3"


def test_waiting_ends_with_the_launcher(tmp_path: Path) -> None:
    run = Fake(tmp_path / "run", tmp_path / "home")
    run.start(())
    with pytest.raises(TrialError, match="waited in vain for round 2"):
        run.wait_for_round(2)


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("lost", 1)])
def test_exit_code_says_whether_a_row_has_a_problem(
    problem: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [Row("a", ends=COMPLETED, problem=problem), Row("b", skipped="no root")]
    monkeypatch.setattr(faults, "carry_out", lambda *_: rows)
    assert faults.main(["server", "--keep", str(tmp_path / "kept")]) == code


def test_table_shows_every_end() -> None:
    rows = [
        Row("one", "RunError: no room; resumed: completed", "1/3", "round 1", 0, 9.0),
        Row("two", COMPLETED, problem="2 processes are left", orphans=2),
        Row("three", skipped="only root can mount a small disk"),
    ]
    console = Console(width=160, record=True)
    with console.capture() as shown:
        console.print(faults_table(rows))
    text = shown.get()
    for part in (
        "RunError: no room",
        "1/3",
        "round 1",
        "WRONG: 2 processes",
        "only root",
    ):
        assert part in text


def test_not_even_root_writes_on_a_read_only_disk(tmp_path: Path) -> None:
    try:
        with site_for("read-only disk", tmp_path) as site:
            done = subprocess.run(
                [*site.prefix, "mkdir", str(site.out)], check=False, capture_output=True
            )
            assert done.returncode != 0
    except CannotTryError as error:
        pytest.skip(str(error))
    assert not site.out.exists()
    assert stat.S_IMODE(site.out.parent.stat().st_mode) == 0o755


def test_half_a_line_of_a_full_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.write("first")
    whole = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: whole(file, data[:9]))
        with pytest.raises(OSError, match="No space left") as caught:
            log.write("second")
    assert caught.value.errno == errno.ENOSPC
    log.write("third")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert ["first" in lines[0], "third" in lines[1], len(lines)] == [True, True, 2]


def test_model_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"w": torch.zeros(2)}, {}, 1)
    (tmp_path / "model.new").mkdir()  # where the next one is written first
    with pytest.raises(RunError, match="cannot keep the model of round 2") as caught:
        save_checkpoint(tmp_path, {"w": torch.ones(2)}, {}, 2)
    assert str(tmp_path) in caught.value.hint
    assert saved_round(tmp_path / MODEL) == 1
    assert load_file(tmp_path / MODEL)["w"].tolist() == [0.0, 0.0]


def test_full_disk_ends_the_launcher_by_name(tmp_path: Path) -> None:
    launcher = Launcher(default_run(), tmp_path, console=None)
    save_checkpoint(tmp_path, {"w": torch.zeros(2)}, {}, 1)
    with (
        pytest.raises(
            RunFailedError, match=f"cannot write {tmp_path}: No space"
        ) as end,
        launcher._named_if_unwritable(),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert f"unseen run --resume {tmp_path}" in end.value.hint
    with pytest.raises(OSError, match="too many"), launcher._named_if_unwritable():
        raise OSError(errno.EMFILE, "too many open files")


class Away(FastGrid):
    """A grid whose SuperLink refuses what it is sent."""

    def __init__(self) -> None:
        super().__init__(self)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        del messages
        request = httpx.Request("POST", "http://127.0.0.1/push-messages")
        response = httpx.Response(500, request=request)
        raise httpx.HTTPStatusError("refused", request=request, response=response)


@pytest.mark.parametrize("age", [0.0, 20.0])
def test_messages_that_outlived_an_outage_end_no_run(age: float) -> None:
    metadata = Metadata(0, "", 0, 1, "", "1", time.time() - age, 10.0, "train")
    sent: Message = Message(content=RecordDict(), metadata=metadata)  # type: ignore[call-overload]
    if age < metadata.ttl:
        with pytest.raises(httpx.HTTPStatusError):
            Away().push([sent])
    else:
        assert Away().push([sent, sent]) == ["", ""]


class Forgetful(FastGrid):
    """A SuperLink that was started again while messages were pushed."""

    def __init__(self, failures: int) -> None:
        super().__init__(self)
        self._failures = failures

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self._failures -= 1
        if self._failures >= 0:
            raise ObjectPushError("object", 1, "session")
        return ["id" for _ in messages]


@pytest.mark.parametrize(("failures", "ids"), [(0, "id"), (1, "id"), (9, "")])
def test_a_push_that_was_forgotten_is_tried_again(failures: int, ids: str) -> None:
    metadata = Metadata(0, "", 0, 1, "", "1", time.time(), 10.0, "train")
    sent: Message = Message(content=RecordDict(), metadata=metadata)  # type: ignore[call-overload]
    assert Forgetful(failures).push([sent]) == [ids]


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "LICENSE").write_text("none")
    (folder / "scratch_client.py").write_text(CLIENT)
    patient = SERVER.replace("ttl=7", "ttl=60").replace("timeout=7", "timeout=60")
    (folder / "scratch_server.py").write_text(patient)
    return folder


@pytest.mark.integration
def test_superlink_is_started_again_as_often_as_allowed(
    app_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with make_engine(app_dir, tmp_path, 1, restarts=1) as engine:
        engine.start()
        address = engine.address
        submit(engine, out, [[["train", 0]], [["train", 3]]], nodes=1)
        wait_until(Path(f"{out}.part").exists, seconds=60)
        time.sleep(1)  # the second round's message is out, and its client trains 3 s
        died = engine.processes[0].pid
        os.kill(died, signal.SIGKILL)
        wait_until(lambda: engine.processes[0].returncode is not None, seconds=5)
        (ended,) = engine.check()
        assert (ended.name, ended.pid) == ("superlink", died)
        assert engine.address == address
        rounds = finish(engine, out)
        assert [len(answers) for answers in rounds] == [1, 1]
        os.kill(engine.processes[0].pid, signal.SIGKILL)
        wait_until(lambda: engine.processes[0].returncode is not None, seconds=5)
        with pytest.raises(EngineError, match="the SuperLink died"):
            engine.check()


def test_death_of_a_client_after_the_end_does_not_hide_the_end(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    launcher = Launcher(default_run(), tmp_path, console=None)
    log.write("run_failed", error="RunError", message="no clients", hint="look")
    log.write("warning", message="client-3 ended with exit code 1")
    end = launcher._end()
    assert end is not None
    assert end["message"] == "no clients"
    log.write("resumed", round=1)
    assert launcher._end() is None
