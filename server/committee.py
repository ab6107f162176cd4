"""The server asks key holders to open a sum, and opens it with their answers.

First the threshold's number of holders are asked; the others only when one refuses,
answers wrongly or takes too long. Partials that do not open the sum are found out for
free; then further holders are asked, every set of answers is tried on one ciphertext,
and whoever answered must prove its partials or is named. Implements PROTOCOL.md
sections 8.4 and 8.5.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, MessageType
from gmpy2 import mpz

from crypto.aggregation import RoundSum
from crypto.errors import BadPartialError, CryptoError
from crypto.vector import IntVector
from crypto.wire import PartialProof, PartialReply
from server.carriage import messages, unwrap
from server.errors import ClientError, OpeningError, TooFewPartialsError, refusal
from server.events import PHASE_NAMES, EventLog, Value
from server.grid import FastGrid

# A holder that has not answered after this share of the time gets a stand-in. Proofs
# may take as long once more.
_PATIENCE = 1 / 3


@dataclass(frozen=True)
class Opened:
    """An opened sum with what it took."""

    total: IntVector
    bytes_down: int
    bytes_up: int
    open_seconds: float
    combine_seconds: float


class Answers:
    """The partial decryptions that came, and which of them open the sum together.

    Args:
        round_sum: What is opened.
        threshold: Partial decryptions needed.

    Attributes:
        partials: Holder index to its partial of every ciphertext.
        seconds: Time spent on trying.
        is_clean: Whether every set that was tried opened the sum.
    """

    def __init__(self, round_sum: RoundSum, threshold: int) -> None:
        self.partials: dict[int, Sequence[mpz]] = {}
        self.seconds = 0.0
        self.is_clean = True
        self._sum = round_sum
        self._threshold = threshold
        self._places: list[int] = []  # of ciphertexts that some set did not open

    def add(self, holder: int, partials: Sequence[mpz]) -> IntVector | None:
        """Try every set of holders that this answer completes.

        A set is tried on single ciphertexts first, those that failed before: over
        all answers at most as many attempts as there are sets, 84 for 6 of 9.

        Returns:
            The opened sum; None if no set opens it.

        Raises:
            SumRangeError: If it is opened, and not a sum of honest encodings.
        """
        started = time.monotonic()
        others = list(self.partials)
        self.partials[holder] = partials
        try:
            for rest in itertools.combinations(others, self._threshold - 1):
                total = self._open((*rest, holder))
                if total is not None:
                    return total
        finally:
            self.seconds += time.monotonic() - started
        return None

    def _open(self, holders: Sequence[int]) -> IntVector | None:
        chosen = {holder: self.partials[holder] for holder in holders}
        if not all(self._sum.opens(place, chosen) for place in self._places):
            return None
        try:
            return self._sum.total(chosen)
        except BadPartialError as error:
            self.is_clean = False
            if error.index is not None:
                self._places.append(error.index)
            return None


class Opening:
    """The opening of one round's sum.

    Args:
        grid: Reaches the holders.
        round_sum: What is opened.
        threshold: Partial decryptions needed.
        events: The run's log.

    Attributes:
        unproven: Clients whose partials were wrong, as far as anybody can tell: asked
            for a proof, they gave none.
    """

    def __init__(
        self,
        grid: FastGrid,
        round_sum: RoundSum,
        *,
        threshold: int,
        events: EventLog,
    ) -> None:
        self.unproven: list[int] = []
        self._started = time.monotonic()
        self._grid = grid
        self._sum = round_sum
        self._threshold = threshold
        self._events = events
        self._request = round_sum.open_request()
        self._data = self._request.to_bytes()
        self._answers = Answers(round_sum, threshold)
        self._holders: dict[int, int] = {}  # client id to holder, of those who answered
        self._asked: dict[str, int] = {}  # message id to client id, still unanswered
        self._refused: list[int] = []  # clients that refused, or answered rubbish
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
            OpeningError: If no set of the answers opens the sum.
            SumRangeError: If it is opened, and not a sum of honest encodings.
        """
        total = self._collect(dict(nodes), timeout)
        number, count = self._request.round, len(self._holders)
        if count < self._threshold:
            raise TooFewPartialsError(
                f"round {number}: {count} of {self._threshold} needed key holders "
                f"answered{self._missing(timeout)}"
            )
        if not self._answers.is_clean:
            answered = {i: node for i, node in nodes.items() if i in self._holders}
            self._name_the_unproven(answered, timeout * _PATIENCE)
        if total is None:
            raise OpeningError(
                f"round {number}: no {self._threshold} of the {count} key holders that "
                f"answered open the sum (wrong: clients {self.unproven})"
            )
        return Opened(
            total=total,
            bytes_down=self._bytes_down,
            bytes_up=self._bytes_up,
            open_seconds=time.monotonic() - self._started - self._answers.seconds,
            combine_seconds=self._answers.seconds,
        )

    def _collect(self, waiting: dict[int, int], timeout: float) -> IntVector | None:
        """Ask holders until the sum is open, none is left or time is up."""
        started = time.monotonic()
        replies = self._grid.collect([], deadline=started + timeout)
        patience = started + timeout * _PATIENCE
        while True:
            left = patience - time.monotonic()
            count = self._lacking()
            if left <= 0 and waiting:
                count = len(waiting)
                self._note_the_late(timeout * _PATIENCE)
            replies.add(self._ask("open", waiting, count, timeout))
            reply = replies.get(timeout=left if waiting else None)
            total = None if reply is None else self._take(reply)
            if total is not None or (reply is None and not waiting):
                return total

    def _lacking(self) -> int:
        """Count holders to ask now: for what is missing, or one more if all came."""
        missing = self._threshold - len(self._holders)
        return max(max(missing, 1) - len(self._asked), 0)

    def _ask(
        self, kind: str, waiting: dict[int, int], count: int, timeout: float
    ) -> list[str]:
        """Send the request to the first of those who wait for it."""
        chosen = {i: waiting.pop(i) for i in list(waiting)[:count]}
        if not chosen:
            return []
        event = "opening" if kind == "open" else "proving"
        self._log(event, holders=list(chosen), contributors=self._sum.contributors)
        requests = messages(
            kind,
            self._data,
            chosen,
            message_type=MessageType.TRAIN,
            group=str(self._request.round),
            ttl=timeout,
        )
        self._bytes_down += len(self._data) * len(chosen)
        ids = self._grid.push(requests)
        asked = {i: client for i, client in zip(ids, chosen, strict=True) if i}
        self._asked.update(asked)
        return list(asked)

    def _take(self, reply: Message) -> IntVector | None:
        """Check one answer and open the sum, if the answers so far do."""
        client_id = self._asked.pop(reply.metadata.reply_to_message_id, None)
        if client_id is None:  # the sender's own word, and nothing we asked
            return None
        try:
            data = unwrap(reply, "partial")
            answer = PartialReply.from_bytes(data)
            partials = self._sum.check_partial(answer, client_id)
        except (CryptoError, ClientError) as error:
            self._refused.append(client_id)
            self._log("refused", **refusal(client_id, error))
            return None
        self._holders[client_id] = answer.holder
        self._bytes_up += len(data)
        self._log("partial", client=client_id, bytes=len(data))
        return self._answers.add(answer.holder, partials)

    def _name_the_unproven(self, nodes: dict[int, int], timeout: float) -> None:
        """Ask these holders for proofs, and log by name who has none.

        Sets that fail show that somebody lies, not who: two liars can make a set with
        both of them open the sum and one with an honest holder fail.
        """
        proven: set[int] = set()
        if self._threshold > 1:  # else an answer that failed did so by itself
            sent = self._ask("prove", dict(nodes), len(nodes), timeout)
            deadline = time.monotonic() + timeout
            for reply in self._grid.collect(sent, deadline=deadline):
                client_id = self._asked.pop(reply.metadata.reply_to_message_id, None)
                if client_id is not None and self._proves(reply, client_id):
                    proven.add(client_id)
        self.unproven = sorted(set(nodes) - proven)
        for client_id in self.unproven:
            error = BadPartialError("no proof of its partial decryptions")
            self._log("refused", **refusal(client_id, error))

    def _proves(self, reply: Message, client_id: int) -> bool:
        partials = self._answers.partials[self._holders[client_id]]
        try:
            data = unwrap(reply, "proof")
            proof = PartialProof.from_bytes(data)
            self._sum.check_partial_proof(proof, client_id, partials)
        except (CryptoError, ClientError):
            return False
        self._bytes_up += len(data)
        return True

    def _missing(self, timeout: float) -> str:
        """Say which holders gave no partials, and how."""
        refused, silent = sorted(self._refused), self._silent()
        parts = [f"; clients {refused} refused or answered wrongly"] * bool(refused)
        parts += [f"; clients {silent} did not in {timeout:.0f} s"] * bool(silent)
        return "".join(parts)

    def _note_the_late(self, after: float) -> None:
        late = self._silent()
        if late:
            self._log("late", clients=late, after=after)

    def _silent(self) -> list[int]:
        """Clients that were asked and have not answered."""
        return sorted(self._asked.values())

    def _log(self, event: str, **values: Value) -> None:
        number, name = self._request.round, PHASE_NAMES[self._request.phase]
        self._events.write(event, round=number, phase=name, **values)
