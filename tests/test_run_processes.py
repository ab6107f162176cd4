"""`unseen run` end to end: real SuperLink, real client processes, the real launcher."""

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from numpy.typing import NDArray
from safetensors.torch import load_file

from crypto.wire import Hello, PartialReply, Upload
from experiments import cli, launch
from experiments.engine import ProcessEngine
from models import training
from models.tasks import get_task

pytestmark = pytest.mark.integration

UNSEEN = str(Path(sys.executable).with_name("unseen"))
KEY_BITS = 512
PARTIAL_BYTES = KEY_BITS // 8
CIPHERTEXT_BYTES = 2 * KEY_BITS // 8
DEADLINE = 12  # seconds; a busy machine must not fail the rounds before the kill
ROUNDS = 2

Event = dict[str, Any]


@dataclass
class Run:
    """A run of the program with a private temporary folder, which marks its children.

    The processes of a run inherit TMPDIR, whatever Flower does to their sessions.
    """

    folder: Path
    code: int | None = None
    output: str = ""
    process: subprocess.Popen[str] | None = None
    left: dict[int, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    def arguments(self, *options: str) -> list[str]:
        self.tmp.mkdir(parents=True)
        return [
            *("run", "--insecure-key-bits", str(KEY_BITS), "--out", str(self.out)),
            *options,
        ]

    def events(self, name: str = "") -> list[Event]:
        path = self.out / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events: list[Event] = [json.loads(x) for x in lines if x.endswith("\n")]
        return [event for event in events if name in ("", event["event"])]

    def wait_for_round(self, number: int, *, seconds: float = 60) -> None:
        """Return at the moment the round's training starts."""
        end = time.monotonic() + seconds
        wanted = (number, "train")
        while wanted not in [
            (event["round"], event["phase"]) for event in self.events("round_started")
        ]:
            assert time.monotonic() < end, f"no round {number} within {seconds} s"
            time.sleep(0.02)

    def accuracies(self) -> list[float]:
        return [event["accuracy"] for event in self.events("evaluated")]

    def processes(self) -> dict[int, str]:
        """Command lines of the processes that belong to this run, by process id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended, or is somebody else's
                environ = b"\0" + (entry / "environ").read_bytes()
                if b"\0TMPDIR=" + os.fsencode(self.tmp) + b"\0" in environ:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = os.fsdecode(command)
        found.pop(os.getpid(), None)
        if self.process is not None:
            found.pop(self.process.pid, None)
        return found

    def kill_client(self, client_id: int) -> None:
        (pid,) = (
            pid
            for pid in self.processes()
            if Path(f"/proc/{pid}/comm").read_text() == f"client-{client_id}\n"
        )
        os.kill(pid, signal.SIGKILL)

    def start(self, *options: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [UNSEEN, *self.arguments(*options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(self.tmp)},
        )
        return self.process

    def finish(self, *, seconds: float) -> None:
        assert self.process is not None
        self.output, _ = self.process.communicate(timeout=seconds)
        self.code = self.process.returncode
        self.left = self.processes()


@dataclass
class TappedRun(Run):
    """A run in this process whose SuperLink keeps its messages where we look."""

    sent: list[Message] = field(default_factory=list)
    stored: bytes = b""

    def processes(self) -> dict[int, str]:
        """As for any run, less a helper of this process's own that outlives pools."""
        tracker = "multiprocessing.resource_tracker"
        found = super().processes().items()
        return {pid: command for pid, command in found if tracker not in command}

    def uploads(self) -> list[Upload]:
        return [Upload.from_bytes(data) for data in self.of_kind("upload")]

    def of_kind(self, kind: str) -> list[bytes]:
        records = [message.content.config_records["unseen"] for message in self.sent]
        return [r["data"] for r in records if r["kind"] == kind]  # type: ignore[misc]


TRIGGERS = """
CREATE TABLE tapped_object (object_id TEXT, content BLOB);
CREATE TABLE tapped_reply (message_id TEXT);
CREATE TRIGGER tap_new AFTER INSERT ON objects WHEN NEW.is_available = 1
    BEGIN INSERT INTO tapped_object VALUES (NEW.object_id, NEW.content); END;
CREATE TRIGGER tap_filled AFTER UPDATE OF content ON objects WHEN NEW.is_available = 1
    BEGIN INSERT INTO tapped_object VALUES (NEW.object_id, NEW.content); END;
CREATE TRIGGER tap_reply AFTER INSERT ON message_res
    BEGIN INSERT INTO tapped_reply VALUES (NEW.message_id); END;
"""


def tapped_run(folder: Path, *options: str) -> TappedRun:
    """Run with a SuperLink on a database that keeps a copy of all it ever stored."""
    run = TappedRun(folder)
    database = folder / "superlink.sqlite"

    class TappedEngine(ProcessEngine):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, database=database)

        def start(self) -> None:
            super().start()
            with contextlib.closing(sqlite3.connect(database, timeout=30)) as tap:
                tap.executescript(TRIGGERS)

    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "ProcessEngine", TappedEngine)
        patch.setattr(sys, "argv", ["unseen", *run.arguments(*options)])
        patch.setenv("TMPDIR", str(run.tmp))
        patch.setattr("tempfile.tempdir", None)  # forget what it read before
        with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
            cli.main()
    run.code = int(ended.value.code or 0)
    run.output = output.getvalue()
    run.left = run.processes()
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as tap:
        objects = dict(tap.execute("SELECT object_id, content FROM tapped_object"))
        replies = [row[0] for row in tap.execute("SELECT * FROM tapped_reply")]
        run.stored = "\n".join(tap.iterdump()).encode() + b"\n".join(objects.values())
    run.sent = [_inflate(message_id, objects) for message_id in replies]
    return run


def _inflate(message_id: str, objects: dict[str, bytes]) -> Message:
    message = inflate_object_from_contents(
        message_id, objects, keep_object_contents=True
    )
    assert isinstance(message, Message)
    return message


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> TappedRun:
    folder = tmp_path_factory.mktemp("encrypted") / "run"
    return tapped_run(folder, "--rounds", str(ROUNDS))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TappedRun:
    folder = tmp_path_factory.mktemp("plain") / "run"
    return tapped_run(folder, "--rounds", str(ROUNDS), "--protocol", "plain")


@contextlib.contextmanager
def disturbed(folder: Path) -> Iterator[Run]:
    """A run to disturb; whatever a failed test leaves of it is ended."""
    run = Run(folder / "run")
    try:
        yield run
    finally:
        if run.process is not None:
            if run.process.poll() is None:
                run.process.kill()
            run.process.communicate()
        for pid in run.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def disturbances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Runs by what happens to them in round 2.

    With clients gone a run mostly waits for its deadlines: the next starts meanwhile.
    """
    patience = ("--round-deadline", str(DEADLINE), "--max-failed-rounds", "2")
    with contextlib.ExitStack() as ended:
        runs = {
            name: ended.enter_context(disturbed(tmp_path_factory.mktemp(name)))
            for name in ("two-killed", "one-killed", "interrupted")
        }
        two, one, interrupted = runs.values()
        two.start("--rounds", "5", *patience)
        two.wait_for_round(2)
        two.kill_client(2)
        two.kill_client(5)
        one.start("--rounds", "3", *patience)
        one.wait_for_round(2)
        one.kill_client(3)
        process = interrupted.start("--rounds", "50", "--clients", "2")
        interrupted.wait_for_round(2)
        # SuperLink, SuperExec, server, two clients
        assert len(interrupted.processes()) >= 5
        process.send_signal(signal.SIGINT)
        interrupted.finish(seconds=15)
        two.finish(seconds=60)
        one.finish(seconds=60)
        yield runs


def enrolments() -> list[Path]:
    """Everything that single runs left in the parties' folders."""
    return list(Path(os.environ["UNSEEN_HOME"]).glob("simulation/*/*/*/runs/*"))


def model_accuracy(path: Path) -> float:
    """Measure a checkpoint on the public test split of the digits."""
    task = get_task("digits")
    network = task.make_network()
    network.load_state_dict(load_file(path))
    return training.evaluate(network, task.load(None).test, task, device="cpu").accuracy


def windows(data: bytes, *, step: int = 1) -> NDArray[np.uint64]:
    """Every 8 bytes in a row, shape (n,), from each offset or from each `step`th."""
    octets = np.frombuffer(data, dtype=np.uint8)
    rows = np.lib.stride_tricks.sliding_window_view(octets, 8)[::step]
    return np.ascontiguousarray(rows).view(np.uint64)[:, 0]


def secrets_of(uploads: Iterable[Upload]) -> NDArray[np.uint64]:
    """8-byte pieces of what plain uploads show: metrics and coordinate pairs.

    Pieces with several zero bytes (also every count) can appear by accident: that no
    count travels follows from the fields and the equal size of all sealed uploads.
    """
    found = np.concatenate([windows(u.bulk, step=4) for u in uploads])
    zeros = (found[:, None].view(np.uint8) == 0).sum(axis=1)
    return np.unique(found[zeros <= 2])


def test_normal_run_prints_a_table_and_keeps_its_folder(encrypted: TappedRun) -> None:
    assert encrypted.code == 0
    assert "accuracy" in encrypted.output
    assert f"run folder: {encrypted.out}" in encrypted.output
    names = {path.name for path in encrypted.out.iterdir()}
    assert names == {
        *("config.json", "events.jsonl", "history.json", "model.safetensors", "logs"),
        *("report.html", "samples.npz", "tensorboard"),
    }
    assert {path.name for path in (encrypted.out / "logs").iterdir()} == {
        *("superlink.log", "server.log", "clients.log"),
        *(f"client-{i}.log" for i in range(1, 6)),
    }
    (finished,) = encrypted.events("run_finished")
    assert finished["rounds_opened"] == ROUNDS
    (memory,) = encrypted.events("memory")
    assert memory["processes"] >= 8  # launcher, SuperLink, server, clients
    assert "start-up" in encrypted.output
    history = json.loads((encrypted.out / "history.json").read_text())
    assert [row["round"] for row in history["history"]] == [0, 1, 2]
    assert history["error"] is None


def test_run_takes_its_shards_and_processes_away(encrypted: TappedRun) -> None:
    run_id = json.loads((encrypted.out / "config.json").read_text())["run_id"]
    home = Path(os.environ["UNSEEN_HOME"])
    assert list(home.glob("simulation/*/*/client-1/share.json"))  # keys stay, for reuse
    assert not list(home.rglob(f"*{run_id}*"))
    assert not list(home.rglob("shard.npz"))
    assert encrypted.left == {}
    assert not list(encrypted.tmp.glob("unseen-*"))


def test_plain_run_of_the_same_seed_has_the_same_accuracy(
    encrypted: TappedRun, plain: TappedRun
) -> None:
    assert plain.code == 0
    assert len(encrypted.accuracies()) == ROUNDS + 1
    assert plain.accuracies() == encrypted.accuracies()


def test_clients_send_nothing_but_sealed_bytes(encrypted: TappedRun) -> None:
    for message in encrypted.sent:
        assert not message.has_error()
        assert not message.content.array_records
        assert not message.content.metric_records
        assert list(message.content) == ["unseen"]
        assert set(message.content.config_records["unseen"]) == {"kind", "data"}
    hellos = [Hello.from_bytes(data) for data in encrypted.of_kind("hello")]
    assert sorted(hello.client_id for hello in hellos) == [1, 2, 3, 4, 5]
    uploads, partials = encrypted.uploads(), encrypted.of_kind("partial")
    assert len(uploads) == 5 * 2 * ROUNDS
    assert len(partials) >= 4 * 2 * ROUNDS
    assert len(hellos) + len(uploads) + len(partials) == len(encrypted.sent)
    for upload in uploads:
        assert upload.bulk == b""
        assert len(upload.ciphertexts) in (CIPHERTEXT_BYTES, 270 * CIPHERTEXT_BYTES)
    # One size for training, one for evaluation, whatever the shard.
    assert len({len(data) for data in encrypted.of_kind("upload")}) == 2
    for data in partials:
        assert len(PartialReply.from_bytes(data).partials) in (
            PARTIAL_BYTES,
            270 * PARTIAL_BYTES,
        )


def test_superlink_stores_no_update_count_or_metric_in_the_clear(
    encrypted: TappedRun, plain: TappedRun
) -> None:
    # The plain run trains alike, bit for bit: what its uploads show is what the
    # encrypted run's clients had, and shows that this search would find it.
    secrets = secrets_of(plain.uploads())
    assert len(secrets) > 10_000
    assert np.isin(secrets, windows(plain.stored)).all()
    assert not np.isin(secrets, windows(encrypted.stored)).any()
    for name in (b"num-examples", b"train_loss"):
        assert not any(name in data for data in encrypted.of_kind("upload"))
        assert not any(name in data for data in encrypted.of_kind("partial"))


def test_killed_client_costs_one_deadline_and_no_round(
    disturbances: dict[str, Run],
) -> None:
    run = disturbances["one-killed"]
    assert run.code == 0, run.output
    opened = [e for e in run.events("opened") if e["phase"] == "train"]
    assert [e["contributors"] for e in opened] == [
        [1, 2, 3, 4, 5],
        [1, 2, 4, 5],
        [1, 2, 4, 5],
    ]
    (dropped,) = run.events("dropped")
    assert (dropped["round"], dropped["clients"]) == (2, [3])
    assert dropped["after"] < DEADLINE + 1
    started = [e["time"] for e in run.events("round_started") if e["phase"] == "train"]
    # The deadline itself, and the time that a round takes anyway.
    assert started[2] - started[1] < DEADLINE + 6
    assert run.events("round_failed") == []
    assert any("client-3" in e["message"] for e in run.events("warning"))
    assert run.left == {}


def test_two_killed_clients_fail_the_rounds_by_name(
    disturbances: dict[str, Run],
) -> None:
    run = disturbances["two-killed"]
    assert run.code == 1, run.output
    assert "unseen: error: RunError: 2 rounds failed in a row" in run.output
    failed = run.events("round_failed")
    assert [e["round"] for e in failed] == [2, 3]
    assert {e["error"] for e in failed} <= {"TooFewUpdatesError", "TooFewPartialsError"}
    assert {e["round"] for e in run.events("opened")} == {1}
    history = json.loads((run.out / "history.json").read_text())
    assert history["error"]["error"] == "RunError"
    assert history["rounds_opened"] == 1
    _, after_round_1 = run.accuracies()  # a failed round changes no model
    assert model_accuracy(run.out / "model.safetensors") == after_round_1
    assert run.left == {}
    assert enrolments() == []


def test_interrupted_run_leaves_its_folder_and_no_process(
    disturbances: dict[str, Run],
) -> None:
    run = disturbances["interrupted"]
    assert run.code == 130
    assert "stopped by the user" in run.output
    assert run.left == {}
    assert not list(run.tmp.glob("unseen-*"))
    assert run.events()[-1]["event"] == "run_failed"
    assert {e["round"] for e in run.events("opened")} == {1}
    assert (run.out / "model.safetensors").exists()
    assert enrolments() == []
