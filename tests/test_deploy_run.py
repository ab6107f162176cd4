"""A deployed run with real processes: TLS, registered nodes, a SuperLink that dies."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file

from clients.flower_internals import NodeRefusedError
from clients.joining import Entry
from experiments import processes
from experiments.control import ControlClient
from experiments.deploy import certificates
from experiments.errors import SettingsError
from experiments.processes import EngineError
from tests.deployed import make_deployment, unseen

pytestmark = pytest.mark.integration

UNSEEN = str(Path(sys.executable).with_name("unseen"))
CLIENTS = 2
SECONDS = 100


@dataclass
class Deployed:
    """The processes of a deployment, all on this machine, and their logs."""

    root: Path
    logs: Path
    port: int = field(default_factory=processes.free_port)
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def out(self) -> Path:
        return self.logs / "run"

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        party = str(self.root / name)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                [UNSEEN, *arguments, "--dir", party],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.started[name]

    def start_superlink(self) -> None:
        options = ("--host", "127.0.0.1", "--port", str(self.port))
        self.start("superlink", "deploy", "superlink", *options)

    def start_client(self, number: int) -> None:
        options = ("--superlink", self.address, "--device", "cpu", "--once")
        self.start(f"client-{number}", "client", *options, "--wait", str(SECONDS))

    def start_server(
        self, out: Path, *, option: str = "--out"
    ) -> subprocess.Popen[bytes]:
        options = ("--superlink", self.address, option, str(out))
        return self.start("server", "deploy", "run", *options, "--wait", str(SECONDS))

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        path = self.out / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["event"] == name]

    def wait_for(self, name: str) -> None:
        end = time.monotonic() + SECONDS
        while not self.events(name):
            assert time.monotonic() < end, self.log("server")
            assert self.started["server"].poll() is None, self.log("server")
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            process.wait()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Everybody has done the run, although the SuperLink was killed in its middle."""
    folder = tmp_path_factory.mktemp("deployed")
    make_deployment(folder / "deploy", clients=CLIENTS, rounds=1)
    made = Deployed(folder / "deploy", folder)
    try:
        made.start_superlink()
        for number in range(1, CLIENTS + 1):
            made.start_client(number)
        made.start_server(made.out)
        made.wait_for("opened")
        made.started["superlink"].kill()
        made.started["superlink"].wait()
        made.start_superlink()
        for name in ("server", "client-1", "client-2"):
            made.started[name].wait(SECONDS)
        yield made
    finally:
        made.stop()


def test_run_ends_with_a_model_and_a_report(deployed: Deployed) -> None:
    assert deployed.started["server"].returncode == 0, deployed.log("server")
    for name in ("report.html", "history.json", "logs/server.log", "config.json"):
        assert (deployed.out / name).is_file(), name
    assert load_file(deployed.out / "model.safetensors")
    (finished,) = deployed.events("run_finished")
    assert finished["rounds_opened"] == 1
    assert "run folder: " in deployed.log("server")


def test_clients_outlive_a_killed_superlink_and_end_with_the_run(
    deployed: Deployed,
) -> None:
    for number in range(1, CLIENTS + 1):
        log = deployed.log(f"client-{number}")
        assert deployed.started[f"client-{number}"].returncode == 0, log
        assert "does not answer" in log
        assert "trying again until" in log
        assert "the SuperLink answers again" in log
        assert "the run is over" in log


def test_nothing_but_tls_is_served(deployed: Deployed) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{deployed.address}/health", trust_env=False)


def test_who_does_not_know_the_secret_starts_no_run(deployed: Deployed) -> None:
    ca = (deployed.root / "client-1" / "ca.crt").read_bytes()
    control = ControlClient(deployed.address, root_certificates=ca)
    with pytest.raises(EngineError, match="only the server may ask this"):
        control.runs()
    with pytest.raises(EngineError, match="only the server may ask this"):
        control.register_node("mallory", b"")
    control.close()


def test_node_with_another_key_is_not_let_in(
    deployed: Deployed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates.write_node_key(tmp_path)
    ca = deployed.root / "client-1" / "ca.crt"
    stranger = Entry(deployed.address, ca, tmp_path / "node.key", 1.0)
    with ExitStack() as stack, pytest.raises(NodeRefusedError, match="key registered"):
        stranger.connect(threading.Event(), stack)
    assert "trying again until" in caplog.text


def test_enrolled_run_is_done_once(deployed: Deployed, tmp_path: Path) -> None:
    again = deployed.start_server(tmp_path / "again")
    assert again.wait(SECONDS) == 2
    assert "was started before" in deployed.log("server")
    assert not (tmp_path / "again").exists()


def test_fresh_run_goes_on_after_the_last_round_of_an_earlier_one(
    deployed: Deployed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(deployed.out, out)
    done = unseen("deploy", "enrol", "--dir", deployed.root, "--rounds", "2")
    assert done.exit_code == 0, done.output
    for number in range(1, CLIENTS + 1):
        deployed.start_client(number)
    assert deployed.start_server(out, option="--resume").wait(SECONDS) == 0
    lines = (out / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    resumed = next(i for i, e in enumerate(events) if e["event"] == "resumed")
    started = [e["round"] for e in events[resumed:] if e["event"] == "round_started"]
    assert set(started) == {2}
    assert events[resumed]["round"] == 1
    config = json.loads((out / "config.json").read_text())
    assert config["settings"]["rounds"] == 2
    assert config["resumed"][0]["run_id"] != config["run_id"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--resume", "nowhere"), "nowhere"),
        (("--resume", "run", "--out", "other"), "--resume has its own folder"),
    ],
)
def test_run_that_cannot_go_on_is_refused_by_name(
    deployed: Deployed, options: tuple[str, ...], error: str
) -> None:
    result = unseen(
        *("deploy", "run", "--superlink", deployed.address, *options),
        *("--dir", deployed.root / "server"),
    )
    assert isinstance(result.exception, SettingsError)
    assert error in str(result.exception)
