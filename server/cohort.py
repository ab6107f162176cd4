"""Who is there: which node speaks for which client, and whom to ask this round.

A client that missed a deadline is left out until it answers a hello again. Nothing
here waits without a deadline.
"""

import random
import time
from collections.abc import Iterable

from flwr.app import Message, MessageType

from crypto.errors import CryptoError, KeyMismatchError, ProtocolMismatchError
from crypto.manifest import Manifest
from crypto.provenance import PROTOCOL, code_digest
from crypto.wire import Hello
from server.carriage import messages, unwrap
from server.errors import ClientError, RunError
from server.events import EventLog
from server.grid import FastGrid

_HELLO_SECONDS = 60.0
_POLL_SECONDS = 0.2


class Cohort:
    """The clients of a run as the server knows them.

    Attributes:
        nodes: Client id to node id, of clients that answered their last message.
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
        self._grid = grid
        self._manifest = manifest
        self._run_id = run_id
        self._seed = seed
        self._events = events
        self._asked: dict[str, int] = {}  # hello message id -> node id
        self._hellos = grid.collect([], deadline=None)

    def gather(self, *, wanted: int, needed: int, timeout: float) -> None:
        """Wait for clients to answer a hello.

        Args:
            wanted: Clients to wait for.
            needed: Clients that are enough once the time is over.
            timeout: Seconds to wait.

        Raises:
            RunError: If too few answer, or one runs other code or other keys.
        """
        end = time.monotonic() + timeout
        while len(self.nodes) < wanted and time.monotonic() < end:
            self._ask_newcomers()
            self._listen(strict=True)
        missing = sorted(set(self._manifest.keys.roster.clients) - set(self.nodes))
        self._events.write("clients_ready", clients=sorted(self.nodes), missing=missing)
        if len(self.nodes) < needed:
            raise RunError(
                f"{len(self.nodes)} of {needed} needed clients answered in "
                f"{timeout:.0f} s (missing: clients {missing})",
                "see the logs of the missing clients",
            )

    def refresh(self, *, needed: int, timeout: float) -> None:
        """Look for clients that came or came back; wait only if too few are left."""
        end = time.monotonic() + timeout
        self._ask_newcomers()
        if self._asked:
            self._listen(strict=False)
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

    def _ask_newcomers(self) -> None:
        known = set(self.nodes.values()) | set(self._asked.values())
        new = {node: node for node in self._grid.get_node_ids() if node not in known}
        hellos = messages(
            "hello",
            b"",
            new,
            message_type=MessageType.TRAIN,
            group="hello",
            ttl=_HELLO_SECONDS,
        )
        ids = self._grid.push(hellos)
        asked = {i: node for i, node in zip(ids, new, strict=True) if i}
        self._asked.update(asked)
        self._hellos.add(asked)

    def _listen(self, *, strict: bool) -> None:
        """Take in the answers that are there; with `strict`, a wrong one is fatal."""
        if not self._asked:
            time.sleep(_POLL_SECONDS)
        while self._asked:
            reply = self._hellos.get(timeout=_POLL_SECONDS)
            if reply is None:
                return
            node = self._asked.pop(reply.metadata.reply_to_message_id, None)
            try:
                if node is not None:
                    self._welcome(reply, node)
            except (CryptoError, RunError) as error:
                if strict:
                    raise
                self._events.write("warning", message=str(error))

    def _welcome(self, reply: Message, node: int) -> None:
        if reply.has_error():
            return  # the node went away; it is asked again if it comes back
        try:
            hello = Hello.from_bytes(unwrap(reply))
        except ClientError as error:
            raise RunError(
                f"a client cannot take part: {error}", "see the logs of the clients"
            ) from error
        self._check(hello)
        self.nodes[hello.client_id] = node

    def _check(self, hello: Hello) -> None:
        who = f"client {hello.client_id}"
        if (hello.protocol, hello.code) != (PROTOCOL, code_digest()):
            raise ProtocolMismatchError(
                f"{who} runs {hello.protocol} code {hello.code}, the server "
                f"{PROTOCOL} code {code_digest()}; run the same version everywhere"
            )
        keys = self._manifest.keys
        if hello.keys != keys.fingerprint:
            raise KeyMismatchError(
                f"{who} has keys {hello.keys}, this run uses {keys.fingerprint}"
            )
        if hello.params != self._manifest.params.digest():
            raise KeyMismatchError(f"{who} has other parameters than this run")
        if hello.run_id != self._run_id:
            raise KeyMismatchError(f"{who} is enrolled in another run")
        if hello.client_id not in keys.roster.clients:
            raise KeyMismatchError(f"{who} is not on the roster")
