"""Interprets a record: what was carried, what answers what, and which round it is of.

A message has exactly one of the shapes of PROTOCOL.md section 8.1, or it has a problem;
of a message with a problem nothing more is interpreted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import numpy as np
from flwr.app import Array

from crypto.encoding import Canonical
from crypto.errors import CryptoError, MalformedMessageError
from crypto.layout import Layout
from crypto.message import Message
from crypto.wire import (
    Broadcast,
    Challenge,
    Hello,
    OpenRequest,
    PartialProof,
    PartialReply,
    Upload,
)
from experiments.audit.record import Finding, Item, Record
from experiments.progress import Event
from server.carriage import BULK, RECORD
from server.events import PHASE_NAMES

INLINE_BYTES: Final = 10_000_000  # of both carriages: above, bytes travel as an array
ERROR: Final = "error"
_REQUESTS: Final[Mapping[str, type[Message]]] = {
    "hello": Challenge,
    "round": Broadcast,
    "open": OpenRequest,
    "prove": OpenRequest,
}
# By the request's kind: the kind of the answer, and what it must be.
_ANSWERS: Final[Mapping[str, tuple[str, type[Message]]]] = {
    "hello": ("hello", Hello),
    "round": ("upload", Upload),
    "open": ("partial", PartialReply),
    "prove": ("proof", PartialProof),
}


T = TypeVar("T")


class ShapeError(Exception):
    """A message that is of no known shape; the text says how."""


@dataclass(frozen=True)
class Parsed:
    """A message with what it carries.

    Attributes:
        item: As it was recorded.
        request: What it answers; None for a request, or if nobody asked.
        kind: `hello`, `round`, `open`, `prove`; `upload`, `partial`, `proof`, `error`;
            empty for Flower's own errors and for what cannot be read.
        data: The bytes carried; empty where `kind` is.
        body: What they mean; None for errors and for what cannot be read.
        problem: Why it is of no known shape; empty if it is of one.
    """

    item: Item
    request: "Parsed | None" = None
    kind: str = ""
    data: bytes = b""
    body: Message | None = None
    problem: str = ""


class Watch(Protocol):
    """Goes through the items of a slow loop and shows how far it is."""

    def __call__(self, items: Sequence[T], doing: str) -> Iterable[T]:
        """Return the same items, in order."""


@dataclass(frozen=True)
class Place:
    """A round's context and layout, recomputed from public facts."""

    context: bytes
    layout: Layout


@dataclass
class Round:
    """Everything that was said in one phase of one round.

    Attributes:
        number: Of the round.
        phase: `crypto.layout.TRAIN` or `EVALUATE`.
        broadcasts: Requests to take part.
        uploads: Answers to them.
        requests: Requests to open a sum, or to prove an opening.
        partials: Answers to requests to open.
        proofs: Answers to requests to prove.
        events: What the server's log says about it, by name.
    """

    number: int
    phase: int
    broadcasts: list[Parsed] = field(default_factory=list)
    uploads: list[Parsed] = field(default_factory=list)
    requests: list[Parsed] = field(default_factory=list)
    partials: list[Parsed] = field(default_factory=list)
    proofs: list[Parsed] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"round {self.number} {PHASE_NAMES.get(self.phase, self.phase)}"


class Transcript:
    """A record, interpreted.

    Args:
        record: What was read.
        watch: Shows how far a slow check is.

    Attributes:
        record: What was read.
        watch: As given.
        sent: What the server sent, in order.
        received: What it received, in order.
        rounds: Both, and the log, by round and phase, in order.
    """

    def __init__(self, record: Record, watch: Watch) -> None:
        self.record = record
        self.watch = watch
        self.sent: list[Parsed] = []
        self.received: list[Parsed] = []
        self._bodies: dict[tuple[str, bytes], tuple[bytes, Message]] = {}
        self._places: dict[bytes, Place | None] = {}
        self._clients: dict[Canonical, int] = {}
        self._read()
        self.rounds = self._rounds()

    def place(self, request: Parsed) -> Place | None:
        """Return where a `Broadcast` or `OpenRequest` belongs; None if nowhere."""
        if request.data not in self._places:
            self._places[request.data] = self._compute_place(request.body)
        return self._places[request.data]

    def who(self, parsed: Parsed) -> str:
        """Name the client that sent a message, or was sent it, as far as it is known.

        By the node that was asked: the sender's metadata are its own claim.
        """
        asked = parsed.request or parsed
        if parsed.item.is_received and parsed.request is None:
            node = parsed.item.metadata["src_node_id"]
        else:
            node = asked.item.metadata["dst_node_id"]
        client_id = self._clients.get(node)
        return f"node {node!r}" if client_id is None else f"client {client_id}"

    def finding(self, parsed: Parsed, what: str) -> Finding:
        """Return a finding about a message."""
        who = self.who(parsed) if parsed.item.is_received else "server"
        return Finding(what, parsed.item.file, who)

    def client_id(self, parsed: Parsed) -> int | None:
        """Return which client the node that was asked said hello as."""
        if parsed.request is None:
            return None
        return self._clients.get(parsed.request.item.metadata["dst_node_id"])

    def contributions(self, place: Round) -> dict[int, Upload]:
        """Return the first upload of every client in a round, by client id."""
        found: dict[int, Upload] = {}
        for parsed in place.uploads:
            upload = parsed.body
            if isinstance(upload, Upload) and upload.client_id == self.client_id(
                parsed
            ):
                found.setdefault(upload.client_id, upload)
        return found

    def answers(self, kind: str) -> list[Parsed]:
        """Return the well-formed answers of a kind, in order."""
        return [p for p in self.received if p.kind == kind and p.body is not None]

    def _read(self) -> None:
        by_id: dict[Canonical, Parsed] = {}
        for item in self.record.items:
            if item.is_received:
                request = by_id.get(item.metadata["reply_to_message_id"])
                parsed = _parse_answer(item, request)
                self.received.append(parsed)
                if isinstance(parsed.body, Hello) and request is not None:
                    node = request.item.metadata["dst_node_id"]
                    self._clients[node] = parsed.body.client_id
            else:
                parsed = self._parse_request(item)
                by_id[item.metadata["message_id"]] = parsed
                self.sent.append(parsed)

    def _parse_request(self, item: Item) -> Parsed:
        """Parse what the server sent; the same bytes to many nodes are kept once."""
        try:
            kind, data = _carried(item)
            if (kind, data) not in self._bodies:
                self._bodies[kind, data] = data, _body(_REQUESTS.get(kind), data)
        except ShapeError as error:
            return Parsed(item, problem=str(error))
        data, body = self._bodies[kind, data]
        return Parsed(item, None, kind, data, body)

    def _compute_place(self, body: Message | None) -> Place | None:
        try:
            if isinstance(body, Broadcast):
                facts = body.facts(self.record.run_config)
            elif isinstance(body, OpenRequest):
                facts = body.facts()
            else:
                return None
            manifest = self.record.manifest
            return Place(facts.context(manifest), facts.layout(manifest))
        except CryptoError:
            return None

    def _rounds(self) -> list[Round]:
        rounds: dict[tuple[int, int], Round] = {}

        def of(number: int, phase: int) -> Round:
            return rounds.setdefault((number, phase), Round(number, phase))

        for parsed in (*self.sent, *self.received):
            asked = parsed.request or parsed
            if isinstance(asked.body, Broadcast | OpenRequest):
                self._sort_in(of(asked.body.round, asked.body.phase), parsed)
        phases = {name: phase for phase, name in PHASE_NAMES.items()}
        for event in self.record.events:
            number, phase = event.get("round"), phases.get(str(event.get("phase")))
            is_ours = event["event"] in ("opened", "metrics")
            if is_ours and phase and isinstance(number, int):
                of(number, phase).events.setdefault(event["event"], event)
        return [rounds[key] for key in sorted(rounds)]

    @staticmethod
    def _sort_in(place: Round, parsed: Parsed) -> None:
        lists = {
            "round": place.broadcasts,
            "upload": place.uploads,
            "open": place.requests,
            "prove": place.requests,
            "partial": place.partials,
            "proof": place.proofs,
        }
        if parsed.body is not None and parsed.kind in lists:
            lists[parsed.kind].append(parsed)


def _parse_answer(item: Item, request: Parsed | None) -> Parsed:
    if item.error is not None:
        return Parsed(item, request)
    try:
        kind, data = _carried(item)
        if kind == ERROR:
            return Parsed(item, request, kind, data)
        expected, message = _ANSWERS.get(request.kind if request else "", ("", None))
        body = _body(message if kind == expected else None, data)
    except ShapeError as error:
        return Parsed(item, request, problem=str(error))
    return Parsed(item, request, kind, data, body)


def _carried(item: Item) -> tuple[str, bytes]:
    """Return kind and bytes of a message of one of the two shapes of the carriage.

    Raises:
        ShapeError: If it holds anything else.
    """
    if item.error is not None:
        raise ShapeError("is an error of Flower's")
    others = [kind for name, (kind, _) in item.records.items() if name != RECORD]
    if RECORD not in item.records or item.records[RECORD][0] != "config":
        raise ShapeError("lacks the one record of the protocol")
    fields = item.records[RECORD][1]
    kind, data = fields.get("kind"), fields.get("data")
    names = {"kind", "data"}
    if BULK in item.records:
        others.remove(item.records[BULK][0])
        names, data = {"kind"}, _from_bulk(*item.records[BULK])
    if others:
        raise ShapeError(f"holds a record beside the protocol's ({', '.join(others)})")
    if set(fields) != names:
        raise ShapeError("holds a field beside the protocol's, or lacks one")
    if not isinstance(kind, str) or not isinstance(data, bytes):
        raise ShapeError("holds a field of another type than the protocol's")
    if (BULK in item.records) != (len(data) > INLINE_BYTES):
        raise ShapeError("carries its bytes in the way of another size")
    return kind, data


def _from_bulk(kind: str, arrays: Mapping[str, Canonical]) -> bytes:
    """Return the bytes of a bulk record: one array of bytes, as Flower writes it."""
    if kind != "array" or set(arrays) != {"data"}:
        raise ShapeError("holds a bulk record that is not one array")
    value: object = arrays["data"]
    if not isinstance(value, list) or not isinstance(value[-1], bytes):
        raise ShapeError("holds a bulk record that is not one array")
    size = value[2][0] if isinstance(value[2], list) and value[2] else 0
    data = value[-1][-size:] if isinstance(size, int) and size > 0 else b""
    written = Array(np.frombuffer(data, dtype=np.uint8))
    if value != [written.dtype, written.stype, list(written.shape), written.data]:
        raise ShapeError("holds a bulk record that is not an array of bytes alone")
    return data


def _body(message: type[Message] | None, data: bytes) -> Message:
    """Read the bytes as what they must be; None if nothing of this kind is expected."""
    if message is None:
        raise ShapeError("is of a kind that is not expected here")
    try:
        return message.from_bytes(data)
    except MalformedMessageError:
        raise ShapeError(
            f"does not hold exactly one {message.__name__} of the protocol"
        ) from None
