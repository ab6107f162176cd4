"""The process engine, with a real SuperLink, real nodes and a small app."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from experiments import processes
from experiments.engine import ClientSpec, EngineError, ProcessEngine

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent
PRIVATE_TEXT = "private-4711"

PYPROJECT = """
[project]
name = "scratch"
version = "0.1.0"
description = "An app for tests"
license = { file = "LICENSE" }
requires-python = ">=3.11"
dependencies = ["flwr>=1.41.0,<1.42"]
[tool.flwr.app]
publisher = "scratch"
fab-format-version = 1
flwr-version-target = "1.41.0"
[tool.flwr.app.components]
serverapp = "scratch_server:app"
clientapp = "scratch_client:app"
[tool.flwr.app.config]
plan = ""
out = ""
nodes = 0
"""

CLIENT = """
import time
from clients import flower_internals
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
upload = flower_internals.push_objects

def stalling_upload(*args, **kwargs):
    time.sleep(4)
    upload(*args, **kwargs)

@app.train()
def train(message, context):
    record = message.content["unseen"]
    if record["kind"] == "fail":
        raise LookupError("PRIVATE_TEXT")
    is_stalling = record["kind"] == "stall" and context.node_config["partition-id"] == 0
    flower_internals.push_objects = stalling_upload if is_stalling else upload
    time.sleep(record["seconds"])
    answer = {"kind": record["kind"], "data": record["data"]}
    answer["partition"] = context.node_config["partition-id"]
    answer["run-id"] = context.node_config["run-id"]
    context.state["seen"] = ConfigRecord({"kind": record["kind"]})
    return Message(RecordDict({"unseen": ConfigRecord(answer)}), reply_to=message)
""".replace("PRIVATE_TEXT", PRIVATE_TEXT)

# A plan is a list of rounds; a round is a list of [kind, seconds] that every
# node gets, all at once.
SERVER = """
import json, os, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
from server.grid import FastGrid

app = ServerApp()

@app.main()
def main(grid, context):
    config = context.run_config
    grid = FastGrid(grid)
    while len(nodes := list(grid.get_node_ids())) < config["nodes"]:
        time.sleep(0.05)
    rounds = []
    for tasks in json.loads(config["plan"]):
        rounds.append([])
        data = os.urandom(1000)
        messages = [
            Message(
                RecordDict({"unseen": ConfigRecord(
                    {"kind": kind, "seconds": seconds, "data": data})}),
                node, "train", ttl=7)
            for kind, seconds in tasks for node in nodes
        ]
        started = time.monotonic()
        for reply in grid.send_and_receive(messages, timeout=7):
            answer = {"seconds": time.monotonic() - started}
            if reply.has_error():
                answer["error"] = reply.error.reason
            else:
                record = reply.content["unseen"]
                answer |= {k: record[k] for k in ("kind", "partition", "run-id")}
                answer["is_echo"] = record["data"] == data
            rounds[-1].append(answer)
            with open(config["out"] + ".part", "a") as part:
                part.write("reply\\n")
        if not tasks:
            raise RuntimeError("the plan says fail")
    with open(config["out"], "w") as out:
        json.dump(rounds, out)
"""

Round = list[dict[str, Any]]


@pytest.fixture(scope="module")
def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "LICENSE").write_text("none")
    (folder / "scratch_client.py").write_text(CLIENT)
    (folder / "scratch_server.py").write_text(SERVER)
    return folder


def make_engine(app_dir: Path, folder: Path, num_clients: int, **options: Any) -> Any:
    clients = [
        ClientSpec(number, folder / f"client-{number}", "ab" * 16)
        for number in range(1, num_clients + 1)
    ]
    return ProcessEngine(
        app_dir, folder / "logs", clients, app="scratch_client:app", **options
    )


@pytest.fixture(scope="module")
def engine(
    app_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessEngine]:
    with make_engine(app_dir, tmp_path_factory.mktemp("engine"), 2) as started:
        started.start()
        yield started


def submit(engine: ProcessEngine, out: Path, plan: object, *, nodes: int = 2) -> None:
    engine.submit({"plan": json.dumps(plan), "out": str(out), "nodes": nodes})


def wait_until(condition: Callable[[], object], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def finish(engine: ProcessEngine, out: Path) -> list[Round]:
    def is_finished() -> bool:
        engine.check()
        return engine.status() == "finished:completed"

    wait_until(is_finished, seconds=60)
    rounds: list[Round] = json.loads(out.read_text())
    return rounds


def home_of(pid: int) -> Path:
    """The private folder of the engine that a child process belongs to."""
    home = psutil.Process(pid).environ()["FLWR_HOME"]
    return Path(home).parent


def test_two_runs_after_each_other_reach_every_client(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    for number in range(2):
        out = tmp_path / f"out-{number}"
        submit(engine, out, [[["train", 0]], [["train", 0]]])
        rounds = finish(engine, out)
        assert [sorted(a["partition"] for a in answers) for answers in rounds] == [
            [0, 1],
            [0, 1],
        ]
        assert all(a["is_echo"] for answers in rounds for a in answers)
        assert {a["run-id"] for answers in rounds for a in answers} == {"ab" * 16}


def test_text_of_an_exception_stays_with_its_client(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    submit(engine, out, [[["fail", 0]], [["train", 0]]])
    failed, trained = finish(engine, out)
    assert [a["error"] for a in failed] == ["AppError"] * 2
    assert len(trained) == 2
    assert PRIVATE_TEXT in (engine._logs_dir / "client-1.log").read_text()
    for name in ("superlink.log", "server.log"):
        assert PRIVATE_TEXT not in (engine._logs_dir / name).read_text()


def test_opening_is_answered_while_the_client_trains(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    submit(engine, out, [[["train", 4], ["open", 0], ["hello", 0]]])
    (answers,) = finish(engine, out)
    assert sorted(a["kind"] for a in answers[:4]) == ["hello"] * 2 + ["open"] * 2
    assert [a["kind"] for a in answers[4:]] == ["train"] * 2


def test_upload_that_stalls_delays_no_other_client(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    submit(engine, out, [[["stall", 0]]])
    ((quick, stalled),) = finish(engine, out)
    assert (quick["partition"], stalled["partition"]) == (1, 0)
    assert quick["seconds"] < stalled["seconds"] - 1
    assert stalled["seconds"] >= 4


def test_no_process_reports_updates_installs_or_listens_outside(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    submit(engine, out, [[["train", 3]]])
    home = home_of(engine.processes[0].pid)

    def commands() -> str:
        return " ".join(processes.find_processes(home).values())

    wait_until(lambda: "flwr-serverapp --" in commands(), seconds=30)
    found = processes.find_processes(home)
    assert len(found) == 6  # SuperLink, SuperExec, server, fork server, two clients
    for pid, command in found.items():
        env = psutil.Process(pid).environ()
        assert env["FLWR_TELEMETRY_ENABLED"] == "0"
        assert env["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert env["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
        assert env["PYTHONSAFEPATH"] == "1"
        assert "--allow-runtime-dependency-installation" not in command
        for connection in psutil.Process(pid).net_connections("inet"):
            assert connection.laddr.ip == "127.0.0.1"
    (superlink,) = (c for c in found.values() if "flower-superlink" in c)
    assert "--disable-runtime-dependency-installation" in superlink
    finish(engine, out)


def test_server_that_fails_is_named(engine: ProcessEngine, tmp_path: Path) -> None:
    submit(engine, tmp_path / "out", [[]])
    with pytest.raises(EngineError, match="the plan says fail") as caught:
        finish(engine, tmp_path / "out")
    assert "server.log" in caught.value.hint


def test_killed_server_is_named(engine: ProcessEngine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    submit(engine, out, [[["train", 0]], [["train", 5]]])
    wait_until(Path(f"{out}.part").exists, seconds=30)
    engine.check()
    for pid, command in processes.find_processes(
        home_of(engine.processes[0].pid)
    ).items():
        if "flwr-serverapp --" in command:
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="the server process died"):
        finish(engine, out)


def test_killed_client_is_reported_and_the_run_goes_on(
    app_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with make_engine(app_dir, tmp_path, 3) as engine:
        engine.start()
        submit(engine, out, [[["train", 0]], [["train", 3]]], nodes=3)
        parts = Path(f"{out}.part")
        wait_until(
            lambda: parts.exists() and parts.read_text().count("reply") == 3,
            seconds=40,
        )
        assert engine.check() == ()
        time.sleep(1)
        os.kill(engine.processes[1].pid, signal.SIGKILL)
        wait_until(lambda: engine.processes[1].returncode is not None, seconds=5)
        (ended,) = engine.check()
        assert (ended.name, ended.returncode) == ("client-1", -signal.SIGKILL)
        rounds = finish(engine, out)
        answers = [a for a in rounds[1] if "error" not in a]
        assert sorted(a["partition"] for a in answers) == [1, 2]


def test_stop_leaves_no_process_and_no_folder(app_dir: Path, tmp_path: Path) -> None:
    with make_engine(app_dir, tmp_path, 1) as engine:
        engine.start()
        home = home_of(engine.processes[0].pid)
        log = tmp_path / "logs/client-1.log"
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), seconds=40)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert processes.find_processes(home) == {}
    assert not home.exists()
    assert [process.returncode for process in engine.processes] == [-signal.SIGTERM, 0]


def test_killed_launcher_leaves_nothing(app_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"""
import json, sys, time
from pathlib import Path
from experiments.engine import ClientSpec, ProcessEngine
clients = [ClientSpec(n, Path("c"), "ab" * 16) for n in (1, 2)]
engine = ProcessEngine(Path({str(app_dir)!r}), Path({str(tmp_path / "logs")!r}),
                       clients, app="scratch_client:app")
engine.start()
engine.submit({{"plan": '[[["train", 0]], [["train", 60]]]', "out": {str(out)!r},
               "nodes": 2}})
print(engine.processes[0].pid, flush=True)
time.sleep(100)
"""
    launcher = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert launcher.stdout is not None
    with launcher, launcher.stdout:
        home = home_of(int(launcher.stdout.readline()))
        wait_until(Path(f"{out}.part").exists, seconds=40)
        assert len(processes.find_processes(home)) == 6
        launcher.kill()
    wait_until(lambda: not processes.find_processes(home), seconds=30)
    wait_until(lambda: not home.exists(), seconds=5)


def test_dead_superlink_is_named_and_ends_the_nodes(
    app_dir: Path, tmp_path: Path
) -> None:
    with make_engine(app_dir, tmp_path, 0) as engine:
        engine.start()
        with start_node(engine.address, "scratch_client:app", app_dir) as node:
            assert node.stderr is not None
            assert b"is ready" in node.stderr.readline()
            os.kill(engine.processes[0].pid, signal.SIGKILL)
            _, log = node.communicate(timeout=30)
            assert node.returncode == 1
            assert b"SuperLinkLostError: the SuperLink did not answer" in log
        with pytest.raises(EngineError, match="the SuperLink died"):
            engine.check()


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("no_such_module:app", "NodeError: cannot load the ClientApp 'no_such_module"),
        ("scratch_client:app", "SuperLinkLostError: no SuperLink at 127.0.0.1:1"),
    ],
)
def test_node_that_cannot_work_ends_by_name(
    app: str, expected: str, app_dir: Path
) -> None:
    with start_node("127.0.0.1:1", app, app_dir) as node:
        _, log = node.communicate(timeout=30)
    assert node.returncode == 1
    assert expected in log.decode()


def start_node(superlink: str, app: str, app_dir: Path) -> subprocess.Popen[bytes]:
    """Start a node that gives its SuperLink up after 3 s instead of a minute."""
    script = (
        "import os, sys\n"
        "from clients import flower_internals\n"
        "flower_internals.LOST_AFTER_SECONDS = 3.0\n"
        "from clients import node\n"
        "os._exit(node.main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [
            *(sys.executable, "-c", script, "--superlink", superlink, "--insecure"),
            *("--client-dir", "c", "--run-id", "ab" * 16, "--app", app),
        ],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(app_dir)))},
    )


def test_requested_port_that_is_taken_is_refused(app_dir: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        engine = make_engine(app_dir, tmp_path, 1, port=port)
        with pytest.raises(EngineError, match=f"port {port} of this machine is taken"):
            engine.start()
        assert engine.processes == ()


def test_port_taken_meanwhile_is_replaced(
    app_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1], processes.free_port()]
        monkeypatch.setattr(processes, "free_port", lambda: ports.pop(0))
        with make_engine(app_dir, tmp_path, 0) as engine:
            engine.start()
            assert ports == []
            assert engine.check() == ()
