"""Flower's simulation hands a message to its clients when it is sent, not later.

Flower looks for messages ten times a second, so every phase of a round begins with a
wait of 0.05 s on average; where nobody trains for long that is a tenth of a round.
This is the only place of the simulation that touches private pieces of Flower
(`tests/test_flower_internals.py`).
"""

import threading
import time
from collections.abc import Callable, Mapping
from queue import Queue
from typing import Any, Final

from flwr.app import Message
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.linkstate import LinkState

# Messages of a phase are sent one after the other: a look for each would be wasted.
_GATHER_SECONDS: Final = 0.005

_look: Final[Callable[..., None]] = vce_api.add_messages_to_queue


def dispatch_at_once() -> None:
    """Have simulations that this process starts look when a message is sent."""
    vce_api.add_messages_to_queue = _look_when_sent


def _look_when_sent(
    state: LinkState,
    queue: "Queue[Message]",
    nodes_mapping: Mapping[int, int],
    f_stop: threading.Event,
) -> None:
    """Run Flower's own loop, with another pause in it."""
    _look(state, queue, nodes_mapping, _Pause(state, f_stop))


class _Pause:
    """Stands in for the event whose `wait` is the loop's pause: a message ends it."""

    def __init__(self, state: LinkState, stop: threading.Event) -> None:
        self.is_set = stop.is_set
        self._sent = threading.Event()
        self._store: Callable[[Message], Any] = state.store_message_ins
        state.store_message_ins = self._store_and_tell  # type: ignore[method-assign]

    def _store_and_tell(self, message: Message) -> Any:
        message_id = self._store(message)
        self._sent.set()
        return message_id

    def wait(self, timeout: float) -> None:
        """Wait for a message, at most so many seconds."""
        if self._sent.wait(timeout):
            time.sleep(_GATHER_SECONDS)
            self._sent.clear()
