"""The recorder keeps everything that passes the grid, and never passes for it."""

import errno
import json
import stat
import threading
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from crypto.encoding import decode
from crypto.manifest import Manifest
from experiments.settings import default
from server import recorder as recorder_module
from server.config import ServerConfig
from server.errors import RunError
from server.events import EventLog
from server.grid import FastGrid
from server.recorder import RECEIVED, SENT, Recorder, RecordingGrid, message_bytes
from server.run import run
from tests.federation import RUN_CONFIG, Federation, make_group, make_params

RUN_ID = bytes(range(16))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    group = make_group(tmp_path_factory.mktemp("group") / "keys", make_params())
    return group.manifest


@pytest.fixture
def recorder(tmp_path: Path, manifest: Manifest) -> Recorder:
    return Recorder(
        tmp_path / "record", manifest=manifest, run_id=RUN_ID, run_config=RUN_CONFIG
    )


class EchoGrid(Grid):
    """Answers every message with its own content, once."""

    def __init__(self) -> None:
        self.pushed: list[Message] = []
        self.replies: dict[str, Message] = {}
        self.fails = False

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *args: Any, **options: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [7]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            if self.fails:
                raise ConnectionError
            message_id = f"message-{len(self.pushed)}"
            message.metadata.__dict__["_message_id"] = message_id
            self.pushed.append(message)
            self.replies[message_id] = Message(message.content, reply_to=message)
            yield message_id

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.replies.pop(i) for i in message_ids if i in self.replies]

    def send_and_receive(self, *_: Any, **__: Any) -> Iterable[Message]:
        raise NotImplementedError


def question(content: RecordDict | None = None, **options: Any) -> Message:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    content = content or RecordDict({"unseen": ConfigRecord({"kind": "hello"})})
    return Message(content, 7, "train", ttl=60.0, group_id="1", **options)


def index(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "record" / "index.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


USES: dict[str, Callable[[FastGrid], object]] = {
    "push and collect": lambda grid: list(
        grid.collect(grid.push([question()]), deadline=None)
    ),
    "push and pull messages": lambda grid: list(
        grid.pull_messages(grid.push_messages([question()]))
    ),
    "send and receive": lambda grid: list(grid.send_and_receive([question()])),
}


@pytest.mark.parametrize("wrapped", [False, True], ids=["itself", "wrapped"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_way_through_the_grid_is_recorded(
    use: Callable[[FastGrid], object], wrapped: bool, recorder: Recorder, tmp_path: Path
) -> None:
    grid: FastGrid = RecordingGrid(EchoGrid(), recorder)
    use(FastGrid(grid) if wrapped else grid)
    sent, received = index(tmp_path)
    assert (sent["direction"], received["direction"]) == (SENT, RECEIVED)
    assert received["reply_to"] == sent["message_id"] == "message-0"


def test_message_is_recorded_when_pushing_it_fails(
    recorder: Recorder, tmp_path: Path
) -> None:
    grid = EchoGrid()
    grid.fails = True
    with pytest.raises(ConnectionError):
        RecordingGrid(grid, recorder).push_messages([question()])
    assert len(index(tmp_path)) == 1


def test_bytes_hold_every_record_and_value() -> None:
    array = Array(np.array([1.5, -2.5], dtype=np.float32))
    content = RecordDict(
        {
            "one": ConfigRecord({"flag": True, "text": "é", "raw": b"\0", "n": [1, 2]}),
            "two": MetricRecord({"loss": 0.1, "counts": [3, 4]}),
            "three": ArrayRecord({"w": array}),
        }
    )
    kept: Any = decode(message_bytes(question(content)))
    assert kept["error"] is None
    assert kept["content"] == [
        [
            "one",
            "config",
            [["flag", True], ["text", "é"], ["raw", b"\0"], ["n", [1, 2]]],
        ],
        ["two", "metric", [["loss", 0.1], ["counts", [3, 4]]]],
        ["three", "array", [["w", ["float32", "numpy.ndarray", [2], array.data]]]],
    ]
    assert kept["metadata"]["group_id"] == "1"
    assert kept["metadata"]["ttl"] == 60.0


def test_index_holds_the_text_of_errors_in_full(
    recorder: Recorder, tmp_path: Path
) -> None:
    asked = question()
    asked.metadata.__dict__["_message_id"] = "asked"
    recorder.keep(RECEIVED, Message(Error(2, "loss was 0.25"), reply_to=asked))
    (line,) = index(tmp_path)
    assert line["error"] == {"code": 2, "reason": "loss was 0.25"}
    assert (line["reply_to"], line["node"], line["group"]) == ("asked", 7, "1")
    data = (tmp_path / "record" / line["file"]).read_bytes()
    assert (line["size"], line["sha256"]) == (len(data), sha256(data).hexdigest())
    assert b"loss was 0.25" in data


def test_values_that_no_honest_message_has_are_kept_too() -> None:
    # Flower reads names, types and shapes of arrays from JSON, and checks little.
    array = Array("half \ud800", (1 << 70,), "numpy.ndarray", b"data")
    kept: Any = decode(
        message_bytes(question(RecordDict({"x": ArrayRecord({"w": array})})))
    )
    value = [b"half \xed\xa0\x80", "numpy.ndarray", [b"400000000000000000"], b"data"]
    assert kept["content"] == [["x", "array", [["w", value]]]]


def test_files_are_for_their_owner_only(recorder: Recorder, tmp_path: Path) -> None:
    recorder.keep(SENT, question())
    folder = tmp_path / "record"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "run.json", "index.jsonl", "000001-sent.bin"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_public_facts_lie_beside_the_messages(
    recorder: Recorder, manifest: Manifest, tmp_path: Path
) -> None:
    del recorder
    facts = json.loads((tmp_path / "record" / "run.json").read_text())
    assert facts["run_id"] == RUN_ID.hex()
    assert facts["run_config"] == RUN_CONFIG
    pinned = json.loads((tmp_path / "record" / "manifest.json").read_text())
    assert Manifest.from_dict(pinned) == manifest


def test_a_second_record_in_one_folder_is_refused(
    recorder: Recorder, manifest: Manifest, tmp_path: Path
) -> None:
    del recorder
    with pytest.raises(RunError, match="cannot record the run in") as refused:
        Recorder(tmp_path / "record", manifest=manifest, run_id=RUN_ID, run_config={})
    assert refused.value.hint


def test_full_disk_ends_the_run_with_one_line(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    grid = FastGrid(RecordingGrid(EchoGrid(), recorder))
    monkeypatch.setattr(recorder_module, "_append", full)
    with pytest.raises(RunError) as failed:
        grid.push([question()])
    assert str(failed.value) == (
        "cannot record message 1 of the run: No space left on device"
    )
    assert "--record" in failed.value.hint


def test_failure_while_pulling_reaches_the_server(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = FastGrid(RecordingGrid(EchoGrid(), recorder))
    replies = grid.collect(grid.push([question()]), deadline=None)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder_module, "_append", full)
    with pytest.raises(RunError):
        next(replies)


def test_threads_give_every_message_a_number_of_its_own(
    recorder: Recorder, tmp_path: Path
) -> None:
    messages = [question() for _ in range(40)]

    def keep(own: list[Message]) -> None:
        for message in own:
            recorder.keep(SENT, message)

    threads = [threading.Thread(target=keep, args=(messages[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["number"] for line in index(tmp_path)] == list(range(1, 41))
    assert len(list((tmp_path / "record").glob("*.bin"))) == 40


def test_run_without_record_keeps_no_message(tmp_path: Path) -> None:
    group = make_group(tmp_path / "keys", make_params())
    federation = Federation(group, lambda _, p: (p, {"num-examples": 1, "loss": 1.0}))
    federation.run(np.zeros(2, dtype=np.float32), events=tmp_path / "events.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"keys", "events.jsonl"}


def config(folder: Path, **changes: Any) -> ServerConfig:
    names = (
        *("task", "strategy", "num-clients", "num-rounds", "fraction-train"),
        *("round-deadline", "max-failed-rounds", "seed", "record"),
        *("start-round", "early-stop"),
    )
    values = {name: default(name) for name in names}
    values |= {"run-dir": "", "server-dir": str(folder)}
    return ServerConfig.from_run_config(values | changes)


def test_recording_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert config(tmp_path).record is False
    assert config(tmp_path, record=True).record is True
    with pytest.raises(RunError, match="record must be true or false"):
        config(tmp_path, record="yes")


def test_recorded_run_needs_a_run_folder(tmp_path: Path, manifest: Manifest) -> None:
    folder = tmp_path / RUN_ID.hex()
    folder.mkdir()
    wanted = config(folder, record=True)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_dict()))
    with pytest.raises(RunError, match="needs a run folder"):
        run(EchoGrid(), wanted, {}, EventLog(None))
