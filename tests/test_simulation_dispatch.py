"""Flower's simulation looks for messages when one is sent."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.server.superlink.fleet.vce import vce_api

from experiments.simulation import dispatch
from experiments.simulation.dispatch import dispatch_at_once

PAUSE = 60.0  # in place of Flower's 0.1 s: a loop that waits for its end is found out
PATIENCE = 10.0


class State:
    """Keeps messages for nodes as Flower's does."""

    def __init__(self) -> None:
        self.looks = 0
        self._messages: list[Any] = []
        self._lock = threading.Lock()

    def store_message_ins(self, message: Any) -> str:
        with self._lock:
            self._messages.append(message)
        return f"id of {message.text}"

    def get_message_ins(self, node_id: int, limit: int) -> list[Any]:
        with self._lock:
            self.looks += 1
            mine = [m for m in self._messages if m.node == node_id][:limit]
            self._messages = [m for m in self._messages if m not in mine]
        return mine


def _message(node: int, text: str) -> SimpleNamespace:
    return SimpleNamespace(node=node, text=text)


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def handed_out(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> Iterator["queue.Queue[Any]"]:
    """Run the loop that Flower's simulation would run, for nodes 1 and 2."""
    wait = dispatch._Pause.wait
    monkeypatch.setattr(dispatch._Pause, "wait", lambda self, _: wait(self, PAUSE))
    monkeypatch.setattr(vce_api, "add_messages_to_queue", vce_api.add_messages_to_queue)
    dispatch_at_once()
    loop: Callable[..., None] = vce_api.add_messages_to_queue
    stop, found = threading.Event(), queue.Queue[Any]()
    thread = threading.Thread(target=loop, args=(state, found, {1: 0, 2: 1}, stop))
    thread.start()
    while state.looks < 2:  # the first look, at both nodes, is before the first pause
        time.sleep(0.001)
    yield found
    stop.set()
    state.store_message_ins(_message(1, "the end"))
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_messages_are_handed_out_when_they_are_sent(
    state: State, handed_out: "queue.Queue[Any]"
) -> None:
    for text in "abcde":
        assert state.store_message_ins(_message(1, text)) == f"id of {text}"
        state.store_message_ins(_message(2, "other"))
        found = {handed_out.get(timeout=PATIENCE).text for _ in range(2)}
        assert found == {text, "other"}


def test_nobody_looks_where_nothing_is_sent(
    state: State, handed_out: "queue.Queue[Any]"
) -> None:
    before = state.looks
    time.sleep(0.3)
    assert state.looks == before
    assert handed_out.empty()


def test_pause_ends_by_itself(state: State) -> None:
    pause = dispatch._Pause(state, threading.Event())  # type: ignore[arg-type]
    pause.wait(0.01)
    assert not pause.is_set()
