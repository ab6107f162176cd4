"""Who is there: which node speaks for which client, and whom to ask this round.

A node speaks for a client if it signs a fresh nonce with that client's key: whoever can
reach the server may answer a hello, but neither take a client's place nor end the run.
A client that missed a deadline is left out until it answers a hello again. Nothing here
waits without a deadline.
"""

import random
import re
import secrets
import time
from collections.abc import Iterable
from typing import NamedTuple

from flwr.app import Message, MessageType

from crypto.errors import (
    CryptoError,
    InvalidSignatureError,
    KeyMismatchError,
    ProtocolMismatchError,
)
from crypto.manifest import Manifest
from crypto.provenance import PROTOCOL, code_digest
from crypto.wire import NONCE_BYTES, Challenge, Hello
from server.carriage import messages, unwrap
from server.errors import ClientError, RunError, refusal
from server.events import EventLog
from server.grid import FastGrid

_HELLO_SECONDS = 60.0
_POLL_SECONDS = 0.2
_RETRY_SECONDS = 5.0  # before a node is asked again whose answer was of no use
# With more at once, hundreds of nodes would answer the last ones too late. Who takes
# longer than this to answer keeps nobody else waiting.
_HELLOS_AT_ONCE = 32
_PROMPT_SECONDS = 2.0
_MANY_REASONS = 3
_PLAIN_WORD = re.compile(r"[\w./+-]{1,64}", re.ASCII)


class _Question(NamedTuple):
    """A hello on its way: the node asked, the nonce only it was sent, and when."""

    node: int
    nonce: bytes
    sent: float


class Cohort:
    """The clients of a run as the server knows them.

    Attributes:
        nodes: Client id to node id, of clients that answered their last message.
        doubted: Key holders that gave partials they could not prove; asked last.
    """

    def __init__(
        self,
        grid: FastGrid,
        manifest: Manifest,
        run_id: bytes,
        *,
        seed: int,
        events: EventLog,
    ) -> None:
        self.nodes: dict[int, int] = {}
        self.doubted: set[int] = set()
        self._grid = grid
        self._manifest = manifest
        self._run_id = run_id
        self._seed = seed
        self._events = events
        self._round = 0
        self._asked: dict[str, _Question] = {}  # by message id
        self._not_before: dict[int, float] = {}  # node id to its next hello
        self._told: dict[tuple[int, str], str] = {}
        self._hellos = grid.collect([], deadline=None)

    def gather(self, *, wanted: int, needed: int, timeout: float) -> None:
        """Wait for clients to answer a hello.

        Args:
            wanted: Clients to wait for.
            needed: Clients that are enough once the time is over.
            timeout: Seconds to wait.

        Raises:
            RunError: If too few answer.
            CryptoError: If an enrolled client runs other code, keys or parameters.
        """
        end = time.monotonic() + timeout
        while len(self.nodes) < wanted and time.monotonic() < end:
            self._ask_newcomers()
            self._listen(strict=True)
        missing = sorted(set(self._manifest.keys.roster.clients) - set(self.nodes))
        self._events.write("clients_ready", clients=sorted(self.nodes), missing=missing)
        if len(self.nodes) < needed:
            reasons = "; ".join(["", *sorted(set(self._told.values()))[:_MANY_REASONS]])
            raise RunError(
                f"{len(self.nodes)} of {needed} needed clients answered in "
                f"{timeout:.0f} s (missing: clients {missing}){reasons}",
                "see the logs of the missing clients",
            )

    def refresh(self, server_round: int, *, needed: int, timeout: float) -> None:
        """Look for clients that came or came back; wait only if too few are left."""
        self._round = server_round
        end = time.monotonic() + timeout
        self._ask_newcomers()
        if self._asked:
            self._listen(strict=False)
        if len(self.nodes) < needed:
            here = sorted(self.nodes)
            facts = {"needed": needed, "seconds": timeout}
            self._events.write("waiting", round=server_round, clients=here, **facts)
        while len(self.nodes) < needed and time.monotonic() < end:
            self._ask_newcomers()
            self._listen(strict=False)

    def sample(self, server_round: int, fraction: float) -> dict[int, int]:
        """Choose this round's clients, the same for the same seed and clients.

        Returns:
            Client id to node id: a fraction of the clients that are there, but
            never fewer than a sum needs.
        """
        here = sorted(self.nodes)
        params = self._manifest.params
        size = max(params.min_contributors, round(fraction * len(here)))
        size = min(size, params.max_contributors, len(here))
        chooser = random.Random(f"{self._seed}-{server_round}")  # noqa: S311 - no secret
        return {i: self.nodes[i] for i in sorted(chooser.sample(here, size))}

    def leave_out(self, client_ids: Iterable[int]) -> None:
        """Do not ask these clients again before they answer a hello."""
        for client_id in client_ids:
            self.nodes.pop(client_id, None)

    def holders(self, server_round: int) -> dict[int, int]:
        """Return the key holders that are there, in the order in which to ask them.

        Another one sits out every round, so that the work is shared.

        Returns:
            Client id to node id.
        """
        ids = self._manifest.keys.roster.holder_ids
        turn = server_round % len(ids)
        order = sorted(ids[turn:] + ids[:turn], key=self.doubted.__contains__)
        return {i: self.nodes[i] for i in order if i in self.nodes}

    def _ask_newcomers(self) -> None:
        now = time.monotonic()
        known = {*self.nodes.values(), *(asked.node for asked in self._asked.values())}
        newcomers = [
            node
            for node in self._grid.get_node_ids()
            if node not in known and self._not_before.get(node, now) <= now
        ]
        # Who was never asked comes first, or bad answers could keep good ones away.
        newcomers.sort(key=lambda node: self._not_before.get(node, 0.0))
        prompt = [
            one for one in self._asked.values() if now - one.sent < _PROMPT_SECONDS
        ]
        # A nonce of its own each: an answer overheard elsewhere is of no use.
        questions = [
            _Question(node, secrets.token_bytes(NONCE_BYTES), now)
            for node in newcomers[: max(0, _HELLOS_AT_ONCE - len(prompt))]
        ]
        ids = self._grid.push(hello for one in questions for hello in _hello(one))
        asked = {i: one for i, one in zip(ids, questions, strict=True) if i}
        self._asked.update(asked)
        self._hellos.add(asked)

    def _listen(self, *, strict: bool) -> None:
        """Take in the answers that are there.

        Raises:
            CryptoError: If `strict` and an enrolled client runs other code, keys or
                parameters: people must know before they wait for it.
        """
        if not self._asked:
            time.sleep(_POLL_SECONDS)
        while self._asked:
            reply = self._hellos.get(timeout=_POLL_SECONDS)
            if reply is None:
                return
            question = self._asked.pop(reply.metadata.reply_to_message_id, None)
            if question is not None:
                self._take(reply, question, strict=strict)

    def _take(self, reply: Message, question: _Question, *, strict: bool) -> None:
        """Let a client in, or say why not."""
        if reply.has_error():  # the node went away; perhaps it comes back
            self._not_before[question.node] = time.monotonic() + _RETRY_SECONDS
            return
        hello = None
        try:
            hello = Hello.from_bytes(unwrap(reply, "hello"))
            self._check(hello)
            self._verify(hello, question.nonce)
        except (CryptoError, ClientError) as error:
            if strict and hello is not None and self._is_signed(hello, question.nonce):
                raise
            self._refuse(question.node, hello, error)
        else:
            self.nodes[hello.client_id] = question.node

    def _refuse(
        self, node: int, hello: Hello | None, error: CryptoError | ClientError
    ) -> None:
        """Log a refusal, once for the same node and reason, and ask again later."""
        self._not_before[node] = time.monotonic() + _RETRY_SECONDS
        facts = refusal(hello.client_id if hello else None, error)
        key = (node, str(facts["error"]))
        if key in self._told:
            return
        self._told[key] = _reason(error, hello)
        self._events.write(
            "refused",
            round=self._round,
            phase="hello",
            node=node,
            message=self._told[key],
            **facts,
        )

    def _verify(self, hello: Hello, nonce: bytes) -> None:
        signed = hello.signed_bytes(nonce)
        self._manifest.keys.roster.verify(hello.client_id, hello.signature, signed)

    def _is_signed(self, hello: Hello, nonce: bytes) -> bool:
        try:
            self._verify(hello, nonce)
        except InvalidSignatureError:
            return False
        return True

    def _check(self, hello: Hello) -> None:
        """Compare what a client states about itself with this run."""
        who = f"client {hello.client_id}"
        if (hello.protocol, hello.code) != (PROTOCOL, code_digest()):
            raise ProtocolMismatchError(
                f"{who} runs {_plain(hello.protocol)} code {_plain(hello.code)}, the "
                f"server {PROTOCOL} code {code_digest()}; run the same version "
                f"everywhere"
            )
        keys = self._manifest.keys
        if hello.keys != keys.fingerprint:
            raise KeyMismatchError(
                f"{who} has keys {_plain(hello.keys)}, this run uses {keys.fingerprint}"
            )
        if hello.params != self._manifest.params.digest():
            raise KeyMismatchError(f"{who} has other parameters than this run")
        if hello.run_id != self._run_id:
            raise KeyMismatchError(f"{who} is enrolled in another run")


def _hello(question: _Question) -> list[Message]:
    return messages(
        "hello",
        Challenge(question.nonce).to_bytes(),
        {0: question.node},
        message_type=MessageType.TRAIN,
        group="hello",
        ttl=_HELLO_SECONDS,
    )


def _reason(error: CryptoError | ClientError, hello: Hello | None) -> str:
    """Say for people why a node was not let in."""
    if isinstance(error, ClientError):
        return f"a client cannot take part: {error}"
    if isinstance(error, InvalidSignatureError) and hello is not None:
        return f"a node says it is client {hello.client_id}, but does not sign for it"
    return str(error)


def _plain(text: str) -> str:
    """Return a stranger's word for a message, unless it is more than a word."""
    return text if _PLAIN_WORD.fullmatch(text) else "(unreadable)"
