"""Flower's simulation looks for messages when one is sent."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.server.superlink.fleet.vce import vce_api

from experiments.simulation.dispatch import dispatch_at_once

SOON = 0.05  # half of the pause that Flower makes
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


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def handed_out(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> Iterator["queue.Queue[Any]"]:
    """Run the loop that Flower's simulation would run, for nodes 1 and 2."""
    monkeypatch.setattr(vce_api, "add_messages_to_queue", vce_api.add_messages_to_queue)
    dispatch_at_once()
    loop: Callable[..., None] = vce_api.add_messages_to_queue
    stop, found = threading.Event(), queue.Queue[Any]()
    thread = threading.Thread(target=loop, args=(state, found, {1: 0, 2: 1}, stop))
    thread.start()
    while not state.looks:
        time.sleep(0.001)
    yield found
    stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def _message(node: int, text: str) -> SimpleNamespace:
    return SimpleNamespace(node=node, text=text)


def test_messages_are_handed_out_when_they_are_sent(
    state: State, handed_out: "queue.Queue[Any]"
) -> None:
    waits = []
    for number in range(9):
        started = time.monotonic()
        assert state.store_message_ins(_message(1, str(number))) == f"id of {number}"
        state.store_message_ins(_message(2, "other"))
        texts = {handed_out.get(timeout=PATIENCE).text for _ in range(2)}
        waits.append(time.monotonic() - started)
        assert texts == {str(number), "other"}
    # Looking ten times a second, half of them would wait longer.
    assert sorted(waits)[2] < SOON


def test_second_message_for_a_node_is_not_forgotten(
    state: State, handed_out: "queue.Queue[Any]"
) -> None:
    for text in "abc":
        state.store_message_ins(_message(1, text))
    assert [handed_out.get(timeout=PATIENCE).text for _ in "abc"] == ["a", "b", "c"]


def test_nobody_looks_all_the_time(
    state: State, handed_out: "queue.Queue[Any]"
) -> None:
    before = state.looks
    time.sleep(0.3)
    assert handed_out.empty()
    assert state.looks - before <= 2 * 4  # two nodes, ten times a second
