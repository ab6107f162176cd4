"""A grid that hands over replies as they arrive, for any Flower strategy.

Flower's own `send_and_receive` waits in steps of three seconds and returns a
list at the end. `FastGrid` polls as often as is cheap and returns an iterator, so
that sealed updates are added while other clients still train.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator

import httpx
from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError, pull_objects
from flwr.supercore.run import Run

# Seconds between two polls. One costs a SuperLink 3 to 5 ms, and a simulation next to
# nothing: where it is dear, poll often only while replies come in, and the less the
# longer nothing came.
_SHORTEST_PAUSE = 0.01
_SHORT_PAUSE = 0.05  # at most, while replies come in
_LONGEST_PAUSE = 0.25
_POLLS_IN_A_PAUSE = 10
_POLLS_IN_A_LONG_PAUSE = 100
_PAUSES_IN_SILENCE = 5  # a pause is this part of the time since the last reply
_POLLS_AT_ONCE = 8
_PUSHES = 3

# A reply is announced before its objects are uploaded. Flower then waits 1, 2,
# 4 .. 10 s before it looks again, and offers no setting.
(pull_objects.__kwdefaults__ or {}).update(
    initial_backoff=0.05, backoff_cap=0.5, max_tries_per_object=None
)


class Replies(Iterator[Message]):
    """The replies to pushed messages, in the order of their arrival.

    Ends when every message is answered or at the deadline. More messages can
    be added while it runs. Use from one thread.

    A client that stalls in the middle of an upload blocks the poll that asked
    for its reply. So polls run on threads of their own, each for a few messages
    (for one, up to eight messages), and the deadline holds in any case.
    """

    def __init__(
        self, grid: Grid, message_ids: Iterable[str], *, deadline: float | None
    ) -> None:
        self._grid = grid
        self._deadline = float("inf") if deadline is None else deadline
        self._waiting: set[str] = set()
        self._polled: set[str] = set()
        self._done: queue.SimpleQueue[_Poll] = queue.SimpleQueue()
        self._ready: list[Message] = []
        self._next_poll = 0.0
        self._last_activity = 0.0
        self._fastest_poll = _SHORT_PAUSE
        self.add(message_ids)

    @property
    def waiting(self) -> frozenset[str]:
        """Ids of the messages without a reply so far."""
        return frozenset(self._waiting)

    def add(self, message_ids: Iterable[str]) -> None:
        """Wait for the replies to these messages, too; empty ids are ignored."""
        self._waiting |= {message_id for message_id in message_ids if message_id}
        self._last_activity = time.monotonic()

    def __next__(self) -> Message:
        """Wait for the next reply."""
        message = self.get(timeout=None)
        if message is None:
            raise StopIteration
        return message

    def get(self, *, timeout: float | None) -> Message | None:
        """Wait for one reply.

        Args:
            timeout: Seconds; None for the deadline only.

        Returns:
            The reply, or None after the timeout, at the deadline, or when no
            message waits for a reply.
        """
        end = self._deadline
        if timeout is not None:
            end = min(end, time.monotonic() + timeout)
        while not self._ready:
            now = time.monotonic()
            if not self._waiting or now >= end:
                return None
            if now >= self._next_poll:
                self._start_polls(now)
            try:
                poll = self._done.get(timeout=min(end, self._next_poll) - now)
            except queue.Empty:
                continue
            self._finish(poll)
        return self._ready.pop(0)

    def _start_polls(self, now: float) -> None:
        idle = sorted(self._waiting - self._polled)
        for start in range(min(_POLLS_AT_ONCE, len(idle))):
            message_ids = idle[start::_POLLS_AT_ONCE]
            self._polled.update(message_ids)
            _Poll(self._grid, message_ids, self._done).start()
        silence = now - self._last_activity
        self._next_poll = now + pause_before_poll(silence, self._fastest_poll)

    def _finish(self, poll: "_Poll") -> None:
        self._fastest_poll = min(self._fastest_poll, poll.seconds)
        self._polled.difference_update(poll.message_ids)
        if poll.error is not None:
            raise poll.error
        for message in poll.replies:
            answered = message.metadata.reply_to_message_id
            # The sender's own word: it must not end the wait for somebody else.
            if answered in poll.message_ids and answered in self._waiting:
                self._waiting.discard(answered)
                self._last_activity = time.monotonic()
                self._ready.append(message)
            elif len(poll.message_ids) == 1:
                self._waiting.difference_update(poll.message_ids)


def pause_before_poll(silence: float, poll: float) -> float:
    """Return the seconds until the next poll.

    Args:
        silence: Seconds since the last reply.
        poll: Seconds that the fastest poll took.
    """
    shortest = max(_SHORTEST_PAUSE, min(_POLLS_IN_A_PAUSE * poll, _SHORT_PAUSE))
    longest = min(_POLLS_IN_A_LONG_PAUSE * poll, _LONGEST_PAUSE)
    return max(shortest, min(silence / _PAUSES_IN_SILENCE, longest))


class _Poll(threading.Thread):
    """One call of `pull_messages`; afterwards it is put into `done`."""

    def __init__(
        self, grid: Grid, message_ids: list[str], done: "queue.SimpleQueue[_Poll]"
    ) -> None:
        super().__init__(daemon=True)
        self.message_ids = message_ids
        self.replies: list[Message] = []
        self.error: BaseException | None = None
        self.seconds = 0.0
        self._grid = grid
        self._done = done

    def run(self) -> None:
        """Pull once."""
        started = time.monotonic()
        try:
            self.replies = list(self._grid.pull_messages(self.message_ids))
        except BaseException as error:
            self.error = error
        self.seconds = time.monotonic() - started
        self._done.put(self)


class FastGrid(Grid):
    """A grid whose `send_and_receive` streams; everything else is delegated."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        """Set the run of the grid underneath."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """Run information."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message with the grid underneath."""
        return self._grid.create_message(
            content, message_type, dst_node_id, group_id, ttl
        )

    def get_node_ids(self) -> Iterable[int]:
        """Ids of the nodes that are online."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Nodes that are online."""
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages with the grid underneath."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Fetch replies with the grid underneath."""
        return self._grid.pull_messages(message_ids)

    def push(self, messages: Iterable[Message]) -> list[str]:
        """Send messages.

        Returns:
            One id per message, in order; empty where the SuperLink refused it.
        """
        batch = list(messages)
        if not batch:
            return []
        for _ in range(_PUSHES):
            try:
                return [
                    message_id or "" for message_id in self._grid.push_messages(batch)
                ]
            except ObjectPushError:
                # A SuperLink that was started again has forgotten who was pushing.
                continue
            except httpx.HTTPStatusError:
                # One that was away for longer than the messages live calls them
                # malformed.
                if not any(_has_expired(message) for message in batch):
                    raise
                break
        # Nobody answers them: the round fails, and not the run.
        return [""] * len(batch)

    def collect(self, message_ids: Iterable[str], *, deadline: float | None) -> Replies:
        """Return the replies to pushed messages as they arrive.

        Args:
            message_ids: What `push` returned.
            deadline: A time of `time.monotonic()` in seconds, or None for none.
        """
        return Replies(self._grid, message_ids, deadline=deadline)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Replies:
        """Send messages now; return their replies as they arrive.

        Args:
            messages: Their time to live is the caller's business.
            timeout: Seconds after which the iterator ends; None for no limit.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return self.collect(self.push(messages), deadline=deadline)


def _has_expired(message: Message) -> bool:
    return time.time() >= message.metadata.created_at + message.metadata.ttl
