"""The server asks key holders to open a sum, and opens it with their answers.

First the threshold's number of holders are asked; the others only when one refuses,
answers wrongly or takes too long. Implements PROTOCOL.md section 8.4.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, MessageType
from gmpy2 import mpz

from crypto.aggregation import RoundSum
from crypto.errors import BadPartialError, CryptoError, SumRangeError
from crypto.vector import IntVector
from crypto.wire import PartialReply
from server.carriage import error_name, messages, unwrap
from server.errors import ClientError, OpeningError, TooFewPartialsError
from server.events import PHASE_NAMES, EventLog, Value
from server.grid import FastGrid

# A holder that has not answered after this share of the time gets a stand-in.
_PATIENCE = 1 / 3


@dataclass(frozen=True)
class Opened:
    """An opened sum with what it took."""

    total: IntVector
    bytes_down: int
    bytes_up: int
    open_seconds: float
    combine_seconds: float


class Opening:
    """The opening of one round's sum.

    Args:
        grid: Reaches the holders.
        round_sum: What is opened.
        threshold: Partial decryptions needed.
        events: The run's log.
    """

    def __init__(
        self,
        grid: FastGrid,
        round_sum: RoundSum,
        *,
        threshold: int,
        events: EventLog,
    ) -> None:
        self._grid = grid
        self._sum = round_sum
        self._threshold = threshold
        self._events = events
        self._request = round_sum.open_request()
        self._data = self._request.to_bytes()
        self._partials: dict[int, Sequence[mpz]] = {}
        self._asked: dict[str, int] = {}
        self._bytes_down = 0
        self._bytes_up = 0

    def run(self, nodes: Mapping[int, int], *, timeout: float) -> Opened:
        """Ask, wait and combine.

        Args:
            nodes: Client id to node id of the holders that are there, in the order
                in which to ask them.
            timeout: Seconds for the answers.

        Raises:
            TooFewPartialsError: If fewer than the threshold answer in time.
            OpeningError: If the answers do not open a possible sum.
        """
        started = time.monotonic()
        self._collect(dict(nodes), started, timeout)
        answered = time.monotonic()
        if len(self._partials) < self._threshold:
            raise TooFewPartialsError(
                f"round {self._request.round}: {len(self._partials)} of "
                f"{self._threshold} key holders answered within {timeout:.0f} s"
            )
        try:
            total = self._sum.total(self._partials)
        except (BadPartialError, SumRangeError) as error:
            raise OpeningError(f"round {self._request.round}: {error}") from error
        return Opened(
            total=total,
            bytes_down=self._bytes_down,
            bytes_up=self._bytes_up,
            open_seconds=answered - started,
            combine_seconds=time.monotonic() - answered,
        )

    def _collect(self, waiting: dict[int, int], started: float, timeout: float) -> None:
        """Ask holders until enough have answered, none is left or time is up."""
        replies = self._grid.collect([], deadline=started + timeout)
        replies.add(self._ask(waiting, self._threshold, timeout))
        patience = started + timeout * _PATIENCE
        while len(self._partials) < self._threshold:
            left = patience - time.monotonic() if waiting else None
            reply = replies.get(timeout=left)
            if reply is not None and self._take(reply):
                continue
            if not waiting and reply is None:
                return
            # Somebody refused or is late: one stand-in, or everybody when late.
            count = len(waiting) if reply is None else 1
            replies.add(self._ask(waiting, count, timeout))

    def _ask(self, waiting: dict[int, int], count: int, timeout: float) -> list[str]:
        chosen = {i: waiting.pop(i) for i in list(waiting)[:count]}
        if not chosen:
            return []
        self._log("opening", holders=list(chosen), contributors=self._sum.contributors)
        requests = messages(
            "open",
            self._data,
            chosen,
            message_type=MessageType.TRAIN,
            group=str(self._request.round),
            ttl=timeout,
        )
        self._bytes_down += len(self._data) * len(chosen)
        ids = self._grid.push(requests)
        asked = {i: holder for i, holder in zip(ids, chosen, strict=True) if i}
        self._asked.update(asked)
        return list(asked)

    def _take(self, reply: Message) -> bool:
        """Check one answer; False if it is of no use."""
        client_id = self._asked[reply.metadata.reply_to_message_id]
        try:
            data = unwrap(reply)
            partial = PartialReply.from_bytes(data)
            checked = self._sum.check_partial(partial, client_id)
        except (CryptoError, ClientError) as error:
            self._log("refused", client=client_id, error=error_name(error))
            return False
        self._partials[partial.holder] = checked
        self._bytes_up += len(data)
        self._log("partial", client=client_id, bytes=len(data))
        return True

    def _log(self, event: str, **values: Value) -> None:
        number, name = self._request.round, PHASE_NAMES[self._request.phase]
        self._events.write(event, round=number, phase=name, **values)
