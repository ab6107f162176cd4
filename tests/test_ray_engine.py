"""`unseen run --engine ray`: the same run, its clients in turn in a few actors."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crypto.dealer import deal
from crypto.manifest import SIMULATION
from crypto.parallel import usable_cores
from crypto.params import AggregationParams
from experiments import cli
from experiments.errors import SettingsError
from experiments.keysets import write_keyset
from experiments.report import repeat
from experiments.settings import default_run
from experiments.simulation.__main__ import main
from experiments.simulation.job import ERROR, READY, Job
from experiments.simulation.resources import Resources
from tests.federation import P, Q

UNSEEN = str(Path(sys.executable).with_name("unseen"))
CLIENTS, SAMPLE = 8, 5

Event = dict[str, Any]
UnseenRun = Callable[[str], tuple[object, list[str]]]


@dataclass
class Run:
    """A run of the program, whose processes are known by its private home."""

    home: Path
    process: subprocess.Popen[str]
    output: str = ""

    @property
    def out(self) -> Path:
        return self.home / "out"

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    def events(self, name: str) -> list[Event]:
        path = self.out / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events: list[Event] = [json.loads(x) for x in lines if x.endswith("\n")]
        return [event for event in events if event["event"] == name]

    def processes(self) -> dict[int, str]:
        """Command lines of everything that runs for it, by process id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended, or is somebody else's
                environ = b"\0" + (entry / "environ").read_bytes()
                if b"\0UNSEEN_HOME=" + os.fsencode(self.home) + b"\0" in environ:
                    command = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = os.fsdecode(command)
        return found

    def finish(self) -> int:
        self.output, _ = self.process.communicate(timeout=300)
        return self.process.returncode


def start(home: Path, rounds: int = 1) -> Run:
    public_key, shares = deal(P, Q, num_holders=CLIENTS, threshold=6)
    write_keyset(
        home / "keys", public_key, shares, num_clients=CLIENTS, purpose=SIMULATION
    )
    options = f"--engine ray --clients {CLIENTS} --sample {SAMPLE} --rounds {rounds}"
    process = subprocess.Popen(
        [
            *(UNSEEN, "run", *options.split(), "--insecure-key-bits", "512"),
            # Other tests may want the cores at the same time.
            *("--round-deadline", "120"),
            *("--keys", str(home / "keys"), "--out", str(home / "out")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"UNSEEN_HOME": str(home)},
    )
    return Run(home, process)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start(tmp_path_factory.mktemp("ray"))
    code = run.finish()
    assert code == 0, run.output
    return run


@pytest.mark.integration
def test_sample_of_the_clients_trains_and_their_sum_is_opened(done: Run) -> None:
    asked = {tuple(event["clients"]) for event in done.events("round_started")}
    (clients,) = asked  # the same ones train and evaluate
    assert len(clients) == SAMPLE
    opened = done.events("opened")
    assert [event["phase"] for event in opened] == ["train", "evaluate"]
    assert all(event["contributors"] == list(clients) for event in opened)
    before, after = (event["accuracy"] for event in done.events("evaluated"))
    assert after > before + 0.3


@pytest.mark.integration
def test_every_virtual_client_remembers_in_its_own_folder(done: Run) -> None:
    (event, _) = done.events("round_started")
    uploaded = []
    for client_id in range(1, CLIENTS + 1):
        path = done.keys / f"client-{client_id}" / "state.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as database:
            (count,) = database.execute("SELECT count(*) FROM uploads").fetchone()
        uploaded += [client_id] if count else []
        assert count in (0, 2)
    assert uploaded == event["clients"]


@pytest.mark.integration
def test_nothing_is_left_behind_but_one_log(done: Run) -> None:
    assert not done.processes()
    assert [path.name for path in (done.out / "logs").iterdir()] == ["simulation.log"]
    assert not list(done.keys.glob("client-*/runs/*"))


@pytest.mark.integration
def test_run_says_how_to_repeat_it_with_its_engine(done: Run) -> None:
    config = json.loads((done.out / "config.json").read_text())
    command = repeat.command(config)
    assert "--engine ray --client-cpus 1.0" in command
    assert f"--sample {SAMPLE}" in command
    assert "--node" not in command


@pytest.mark.integration
def test_stopped_run_leaves_no_process_behind(tmp_path: Path) -> None:
    run = start(tmp_path, rounds=50)
    end = time.monotonic() + 200
    while not run.events("run_started"):
        assert time.monotonic() < end
        assert run.process.poll() is None, run.finish()
        time.sleep(0.05)
    assert any("raylet" in command for command in run.processes().values())
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 130
    assert not run.processes()


@pytest.fixture
def unseen_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> UnseenRun:
    """Returns the exit code and the lines on standard error."""

    def run(options: str) -> tuple[object, list[str]]:
        monkeypatch.setattr("sys.argv", ["unseen", "run", *options.split()])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ("--engine slurm", "unknown engine 'slurm'", "processes, ray"),
        ("--sample 6", "sample must be 2 to 5, got 6", "asked in a round"),
        ("--sample 1", "sample must be 2 to 5, got 1", "asked in a round"),
        ("--client-cpus 2", "--engine processes has no --client-cpus", "--engine ray"),
        ("--engine ray --node thin", "--engine ray has no --node", "processes"),
        ("--engine ray --port 9", "--engine ray has no --port", "processes"),
        ("--engine ray --client-cpus 0", "client-cpus must be more than 0", "1 is"),
        ("--engine ray --client-cpus nan", "client-cpus must be more than 0", "1 is"),
        ("--engine ray --client-cpus 9999", "client-cpus is 9999", "--ray-address"),
        ("--engine ray --client-gpus -1", "client-gpus must be 0 or more", "0.5"),
        ("--engine ray --device cuda", "see no graphics card", "--client-gpus"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_a_hint(
    options: str, error: str, hint: str, tmp_path: Path, unseen_run: UnseenRun
) -> None:
    code, lines = unseen_run(f"--out {tmp_path}/out {options}")
    assert code == SettingsError.exit_code
    assert lines[0].startswith("unseen: error: ")
    assert error in lines[0]
    assert hint in lines[1]
    assert len(lines) == 2
    assert not list(tmp_path.iterdir())


def params(**changed: Any) -> AggregationParams:
    return replace(default_run(), **changed).planned()[1]


def test_widths_follow_the_sample_and_the_committee_the_clients() -> None:
    found = params(clients=500, sample=20)
    assert (found.max_contributors, found.num_holders, found.threshold) == (20, 9, 7)
    assert found.sum_bits == params(clients=20).sum_bits


@pytest.mark.parametrize(
    ("sample", "smallest"), [(0, 7), (500, 7), (10, 7), (9, 7), (5, 4), (2, 2)]
)
def test_smallest_sum_fits_the_sample(sample: int, smallest: int) -> None:
    assert params(clients=500, sample=sample).min_contributors == smallest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The private folder of an engine that has not begun."""
    resources = Resources("", cpus=1.0, gpus=1.0)
    Job(8, tmp_path / "keys", "00" * 16, "auto", resources).write(tmp_path)
    return tmp_path


def test_job_is_read_as_it_was_written(home: Path) -> None:
    job = Job.read(home)
    assert job.keyset == home / "keys"
    assert job.resources == Resources("", cpus=1.0, gpus=1.0)


def test_missing_ray_is_an_error_that_says_what_to_install(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(home) == 1
    message, hint = json.loads((home / ERROR).read_text())
    assert "not installed" in message
    assert "flwr[simulation]" in hint
    assert not (home / READY).exists()


def test_ray_without_room_for_an_actor_is_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []
    ray = SimpleNamespace(
        init=lambda **options: started.append(options),
        nodes=lambda: [{"Resources": {"CPU": 4.0}}, {"Resources": {}}],
        cluster_resources=lambda: {"CPU": 4.0},
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert main(home) == 1
    message, hint = json.loads((home / ERROR).read_text())
    assert message == (
        "no machine has 1 CPUs and 1 GPUs for a client; all of them have 4 and 0"
    )
    assert "--client-gpus" in hint
    assert started[0]["address"] == "local"
    assert started[0]["num_cpus"] == usable_cores()
    assert started[0]["include_dashboard"] is False
    assert Path(started[0]["_temp_dir"]).parent == home
