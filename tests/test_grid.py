"""FastGrid hands over replies as they arrive and never waits past a deadline."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from server.grid import FastGrid, pause_before_poll


class FakeGrid(Grid):
    """Answers a message when told; a reply is handed out once."""

    def __init__(self) -> None:
        self.pushed: list[Message] = []
        self.answered: dict[str, Message] = {}
        self.delivered: set[str] = set()
        self.before_delivery: Callable[[str], object] = str
        self._lock = threading.Lock()

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [1, 2]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"id-{len(self.pushed)}"
            self.pushed.append(message)
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        with self._lock:
            ready = [i for i in message_ids if i in self.answered]
            new = [i for i in ready if i not in self.delivered]
            gone = [i for i in ready if i in self.delivered]
            self.delivered |= set(new)
        for message_id in new:
            self.before_delivery(message_id)
        return [self.answered[i] for i in new] + [
            self._error(i, ErrorCode.MESSAGE_UNAVAILABLE) for i in gone
        ]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError

    def answer(self, message_id: str) -> None:
        content = RecordDict({"unseen": ConfigRecord({"to": message_id})})
        self.answered[message_id] = Message(content, reply_to=self._sent(message_id))

    def answer_with_error(self, message_id: str, code: int) -> None:
        self.answered[message_id] = self._error(message_id, code)

    def _error(self, message_id: str, code: int) -> Message:
        return Message(Error(code, "reason"), reply_to=self._sent(message_id))

    def _sent(self, message_id: str) -> Message:
        return self.pushed[int(message_id.removeprefix("id-"))]


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> FakeGrid:
    monkeypatch.setattr(TaskIdentity, "_run_id", 7)
    monkeypatch.setattr(TaskIdentity, "_node_id", 1)
    monkeypatch.setattr(TaskIdentity, "_task_id", 3)
    return FakeGrid()


def _messages(count: int) -> list[Message]:
    return [Message(RecordDict(), node, "train") for node in range(10, 10 + count)]


def _answered(replies: Iterator[Message]) -> list[str]:
    return [reply.metadata.reply_to_message_id for reply in replies]


def test_messages_are_pushed_before_the_replies_are_read(grid: FakeGrid) -> None:
    FastGrid(grid).send_and_receive(_messages(2), timeout=1)
    assert len(grid.pushed) == 2


def test_replies_come_in_the_order_of_their_arrival(grid: FakeGrid) -> None:
    replies = FastGrid(grid).send_and_receive(_messages(3), timeout=10)
    for message_id in ("id-2", "id-0", "id-1"):
        grid.answer(message_id)
        assert next(replies).metadata.reply_to_message_id == message_id
    assert list(replies) == []


def test_replies_end_at_the_deadline_and_name_what_is_missing(grid: FakeGrid) -> None:
    replies = FastGrid(grid).send_and_receive(_messages(2), timeout=0.5)
    grid.answer("id-1")
    started = time.monotonic()
    assert _answered(replies) == ["id-1"]
    assert 0.4 < time.monotonic() - started < 2
    assert replies.waiting == {"id-0"}


def test_reply_that_names_another_message_does_not_end_the_wait_for_it(
    grid: FakeGrid,
) -> None:
    replies = FastGrid(grid).send_and_receive(_messages(2), timeout=10)
    grid.answered["id-0"] = Message(RecordDict(), reply_to=grid.pushed[1])
    assert replies.get(timeout=0.5) is None
    assert replies.waiting == {"id-1"}
    grid.answer("id-1")
    assert _answered(replies) == ["id-1"]


@pytest.mark.parametrize(
    ("poll", "silence", "pause"),
    [
        (0.0001, 0.0, 0.01),  # a simulation's: often
        (0.002, 0.0, 0.02),
        (0.005, 0.0, 0.05),  # a SuperLink's: the poll costs it as much
        (0.2, 0.0, 0.05),
        (0.0001, 9.0, 0.01),
        (0.002, 0.2, 0.04),  # the longer nothing came, the less often
        (0.2, 0.2, 0.05),
        (0.002, 9.0, 0.2),
        (0.2, 9.0, 0.25),
    ],
)
def test_grid_is_polled_as_often_as_that_is_cheap(
    poll: float, silence: float, pause: float
) -> None:
    assert pause_before_poll(silence, poll) == pytest.approx(pause)


def test_no_messages_give_no_replies_at_once(grid: FakeGrid) -> None:
    assert list(FastGrid(grid).send_and_receive([])) == []


def test_refused_messages_are_not_waited_for(grid: FakeGrid) -> None:
    assert list(FastGrid(grid).collect(["", ""], deadline=None)) == []


def test_more_messages_can_be_added_while_replies_arrive(grid: FakeGrid) -> None:
    fast = FastGrid(grid)
    replies = fast.collect(fast.push(_messages(1)), deadline=time.monotonic() + 10)
    assert replies.get(timeout=0.2) is None
    replies.add(fast.push(_messages(1)))
    grid.answer("id-1")
    assert next(replies).metadata.reply_to_message_id == "id-1"
    grid.answer("id-0")
    assert _answered(replies) == ["id-0"]


def test_client_that_stalls_in_its_upload_delays_nobody_else(grid: FakeGrid) -> None:
    upload_ends = threading.Event()
    grid.before_delivery = lambda i: i == "id-0" and upload_ends.wait(20)
    replies = FastGrid(grid).send_and_receive(_messages(3), timeout=10)
    grid.answer("id-0")
    assert replies.get(timeout=0.3) is None
    grid.answer("id-1")
    started = time.monotonic()
    assert next(replies).metadata.reply_to_message_id == "id-1"
    assert time.monotonic() - started < 3
    grid.answer("id-2")
    assert next(replies).metadata.reply_to_message_id == "id-2"
    upload_ends.set()
    last = next(replies)
    assert last.metadata.reply_to_message_id == "id-0"
    assert not last.has_error()


def test_error_replies_are_handed_over(grid: FakeGrid) -> None:
    replies = FastGrid(grid).send_and_receive(_messages(2), timeout=10)
    grid.answer_with_error("id-0", ErrorCode.NODE_UNAVAILABLE)
    grid.answer_with_error("id-1", ErrorCode.MESSAGE_UNAVAILABLE)
    assert sorted(_answered(replies)) == ["id-0", "id-1"]


def test_error_of_the_grid_reaches_the_reader(grid: FakeGrid) -> None:
    def fail(_: str) -> None:
        raise ConnectionError

    grid.before_delivery = fail
    replies = FastGrid(grid).send_and_receive(_messages(1), timeout=10)
    grid.answer("id-0")
    with pytest.raises(ConnectionError):
        next(replies)
