"""Only a client's own signature gives it a place, and no stranger ends a run."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from crypto.errors import CryptoError, KeyMismatchError, ProtocolMismatchError
from crypto.identity import Identity
from crypto.manifest import Manifest
from crypto.provenance import PROTOCOL, code_digest
from crypto.wire import Challenge, Hello
from server import cohort
from server.cohort import Cohort
from server.errors import RunError
from server.events import EventLog
from server.grid import FastGrid
from tests.crypto_group import identities, make_manifest, make_params

RUN_ID = bytes(16)
WAIT = 0.6  # seconds

Node = Callable[[bytes], RecordDict | Error | None]


class HelloGrid(Grid):
    """Nodes that answer at once, or never.

    Attributes:
        nodes: Node id to what the node makes of a nonce.
        asked: Node ids in the order in which they were asked.
        nonces: What each of them was sent.
    """

    def __init__(self, nodes: dict[int, Node]) -> None:
        self.nodes = nodes
        self.asked: list[int] = []
        self.nonces: list[bytes] = []
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *args: Any, **options: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            ids.append(f"id-{len(self.asked)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            record = message.content.config_records["unseen"]
            assert record["kind"] == "hello"
            data = record["data"]
            assert isinstance(data, bytes)
            node = message.metadata.dst_node_id
            self.asked.append(node)
            self.nonces.append(Challenge.from_bytes(data).nonce)
            content = self.nodes[node](self.nonces[-1])
            if content is not None:
                self._replies[ids[-1]] = Message(content, reply_to=message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


MANIFEST: Manifest = make_manifest(make_params())


def hello(client_id: int, **changes: Any) -> Hello:
    right = Hello(
        client_id=client_id,
        protocol=PROTOCOL,
        code=code_digest(),
        keys=MANIFEST.keys.fingerprint,
        params=MANIFEST.params.digest(),
        run_id=RUN_ID,
    )
    return replace(right, **changes)


def answer(kind: str, data: bytes) -> RecordDict:
    return RecordDict({"unseen": ConfigRecord({"kind": kind, "data": data})})


def client(client_id: int, signer: Identity | None = None, **changes: Any) -> Node:
    """A node that answers for a client, with the client's own key unless given."""
    identity = signer or identities(6)[client_id - 1]
    unsigned = hello(client_id, **changes)

    def respond(nonce: bytes) -> RecordDict:
        signature = identity.sign(unsigned.signed_bytes(nonce))
        return answer("hello", replace(unsigned, signature=signature).to_bytes())

    return respond


def honest() -> dict[int, Node]:
    return {100 + i: client(i) for i in range(1, 6)}


class Group:
    """A cohort over some nodes, with its events."""

    def __init__(self, nodes: dict[int, Node], folder: Path) -> None:
        self.grid = HelloGrid(nodes)
        self._path = folder / "events.jsonl"
        self._path.touch()
        events = EventLog(self._path)
        grid = FastGrid(self.grid)
        self.cohort = Cohort(grid, MANIFEST, RUN_ID, seed=1, events=events)

    def gather(self, *, wanted: int = 5, needed: int = 4) -> dict[int, int]:
        self.cohort.gather(wanted=wanted, needed=needed, timeout=WAIT)
        return self.cohort.nodes

    def events(self, name: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [event for event in events if event["event"] == name]

    def refusals(self) -> list[tuple[Any, ...]]:
        keys = ("node", "client", "by", "code", "error")
        return [tuple(e[key] for key in keys) for e in self.events("refused")]


STRANGER = Identity.create(3)


@pytest.mark.parametrize(
    ("stranger", "refusal"),
    [
        pytest.param(
            client(3, STRANGER),
            (3, "server", "E_SIG", "InvalidSignatureError"),
            id="another key for a client's name",
        ),
        pytest.param(
            client(9, STRANGER),
            (9, "server", "E_SIG", "InvalidSignatureError"),
            id="nobody on the roster",
        ),
        pytest.param(
            lambda _: client(3)(bytes(32)),
            (3, "server", "E_SIG", "InvalidSignatureError"),
            id="client's signature of another nonce",
        ),
        pytest.param(
            lambda _: answer("hello", hello(3).to_bytes()),
            (3, "server", "E_SIG", "InvalidSignatureError"),
            id="no signature",
        ),
        pytest.param(
            client(3, STRANGER, code="0000"),
            (3, "server", "", "ProtocolMismatchError"),
            id="other code",
        ),
        pytest.param(
            client(3, STRANGER, keys="0000"),
            (3, "server", "", "KeyMismatchError"),
            id="other keys",
        ),
        pytest.param(
            lambda _: answer("error", b"PolicyError"),
            (None, "a client", "E_PARAMS", "PolicyError"),
            id="an error",
        ),
        pytest.param(
            lambda _: answer("error", b"\x1b[31m 4711 cancer"),
            (None, "a client", "", "UnnamedError"),
            id="an error in its own words",
        ),
        pytest.param(
            lambda _: answer("hello", b"\xff" * 100),
            (None, "server", "E_CT", "MalformedMessageError"),
            id="garbage",
        ),
        pytest.param(
            lambda _: RecordDict({}),
            (None, "server", "E_CT", "MalformedMessageError"),
            id="nothing",
        ),
    ],
)
def test_stranger_gets_no_place_and_does_not_end_the_run(
    stranger: Node, refusal: tuple[Any, ...], tmp_path: Path
) -> None:
    group = Group({7: stranger} | honest(), tmp_path)
    assert group.gather() == {i: 100 + i for i in range(1, 6)}
    assert group.refusals() == [(7, *refusal)]
    assert group.cohort.nodes[3] == 103


def test_stranger_cannot_take_the_place_of_a_client_that_is_away(
    tmp_path: Path,
) -> None:
    nodes = {7: client(3, STRANGER)} | honest()
    del nodes[103]
    group = Group(nodes, tmp_path)
    assert group.gather() == {i: 100 + i for i in (1, 2, 4, 5)}
    assert group.events("clients_ready")[0]["missing"] == [3, 6]


def test_node_that_never_answers_does_not_keep_the_others_waiting(
    tmp_path: Path,
) -> None:
    group = Group({7: lambda _: None} | honest(), tmp_path)
    assert len(group.gather()) == 5


def test_no_more_than_a_few_hellos_wait_for_an_answer_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "_HELLOS_AT_ONCE", 2)
    silent: dict[int, Node] = {i: lambda _: None for i in range(7)}
    group = Group(silent | honest(), tmp_path)
    assert not group.gather(needed=0)
    assert len(group.grid.asked) == 2


def test_silent_nodes_delay_the_others_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "_HELLOS_AT_ONCE", 2)
    monkeypatch.setattr(cohort, "_PROMPT_SECONDS", 0.05)
    monkeypatch.setattr(cohort, "_POLL_SECONDS", 0.02)
    silent: dict[int, Node] = {i: lambda _: None for i in range(2)}
    group = Group(silent | honest(), tmp_path)
    assert len(group.gather()) == 5


def test_bad_answers_do_not_keep_those_away_that_were_never_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "_HELLOS_AT_ONCE", 2)
    monkeypatch.setattr(cohort, "_RETRY_SECONDS", 0.0)
    strangers = {i: client(3, STRANGER) for i in range(2)}
    group = Group(strangers | honest(), tmp_path)
    assert len(group.gather()) == 5


def test_every_hello_has_a_nonce_of_its_own(tmp_path: Path) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    assert len(set(group.grid.nonces)) == 5


def test_restarted_client_takes_its_own_place(tmp_path: Path) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    del group.grid.nodes[103]
    group.grid.nodes[203] = client(3)
    group.cohort.refresh(2, needed=4, timeout=WAIT)
    assert group.cohort.nodes[3] == 203
    assert len(group.cohort.nodes) == 5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"code": "0000"},
            ProtocolMismatchError,
            r"client 3 runs unseen/\d+ code 0000",
        ),
        ({"protocol": "x/9"}, ProtocolMismatchError, "client 3 runs x/9 code"),
        ({"keys": "0000"}, KeyMismatchError, "client 3 has keys 0000, this run uses"),
        ({"params": bytes(32)}, KeyMismatchError, "client 3 has other parameters"),
        ({"run_id": b"r" * 16}, KeyMismatchError, "client 3 is enrolled in another"),
        (
            {"code": "\x1b[2J"},
            ProtocolMismatchError,
            r"code \(unreadable\), the server",
        ),
        (
            {"code": "x" * 999},
            ProtocolMismatchError,
            r"code \(unreadable\), the server",
        ),
    ],
)
def test_enrolled_client_with_another_setup_ends_the_run_at_once(
    changes: dict[str, Any], error: type[CryptoError], message: str, tmp_path: Path
) -> None:
    group = Group(honest() | {103: client(3, **changes)}, tmp_path)
    with pytest.raises(error, match=message):
        group.gather()


def test_enrolled_client_with_another_setup_does_not_end_a_run_that_goes_on(
    tmp_path: Path,
) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    group.cohort.leave_out([3])
    group.grid.nodes[103] = client(3, code="0000")
    group.cohort.refresh(2, needed=4, timeout=WAIT)
    assert 3 not in group.cohort.nodes
    (refused,) = group.events("refused")
    assert (refused["round"], refused["error"]) == (2, "ProtocolMismatchError")


def test_too_few_clients_are_reported_with_what_the_others_said(tmp_path: Path) -> None:
    nodes = {101: client(1), 102: lambda _: answer("error", b"PolicyError")}
    nodes[103] = client(3, STRANGER)
    group = Group(nodes, tmp_path)
    with pytest.raises(RunError) as failed:
        group.gather()
    assert str(failed.value) == (
        "1 of 4 needed clients answered in 1 s (missing: clients [2, 3, 4, 5, 6]); "
        "a client cannot take part: PolicyError; "
        "a node says it is client 3, but does not sign for it"
    )


def test_refused_node_is_asked_again_later_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.cohort._RETRY_SECONDS", 0.05)
    group = Group(honest() | {103: lambda _: answer("error", b"PolicyError")}, tmp_path)
    assert len(group.gather()) == 4
    assert group.grid.asked.count(103) > 1
    assert len(group.refusals()) == 1


def test_refused_node_is_not_asked_again_at_once(tmp_path: Path) -> None:
    group = Group(honest() | {103: lambda _: answer("error", b"PolicyError")}, tmp_path)
    group.gather()
    assert group.grid.asked.count(103) == 1


def test_client_that_missed_a_deadline_comes_back_by_answering(tmp_path: Path) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    group.cohort.leave_out([2])
    assert 2 not in group.cohort.nodes
    group.cohort.refresh(2, needed=4, timeout=WAIT)
    assert group.cohort.nodes[2] == 102


def test_waiting_for_clients_before_a_round_is_logged(tmp_path: Path) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    group.cohort.refresh(2, needed=4, timeout=WAIT)
    assert group.events("waiting") == []
    group.grid.nodes = {101: client(1)}
    group.cohort.leave_out([2, 3, 4, 5])
    group.cohort.refresh(3, needed=4, timeout=WAIT)
    (waiting,) = group.events("waiting")
    facts = {key: waiting[key] for key in ("round", "clients", "needed", "seconds")}
    assert facts == {"round": 3, "clients": [1], "needed": 4, "seconds": WAIT}


def test_doubted_holders_are_asked_last(tmp_path: Path) -> None:
    group = Group(honest(), tmp_path)
    group.gather()
    assert list(group.cohort.holders(1)) == [2, 3, 4, 5, 1]
    group.cohort.doubted.add(3)
    assert list(group.cohort.holders(1)) == [2, 4, 5, 1, 3]
    group.cohort.leave_out([4])
    assert list(group.cohort.holders(2)) == [5, 1, 2, 3]


def test_node_that_went_away_is_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.cohort._RETRY_SECONDS", 0.05)
    answers = [lambda _: Error(ErrorCode.NODE_UNAVAILABLE), client(3)]

    def respond(nonce: bytes) -> RecordDict | Error | None:
        return answers.pop(0)(nonce)

    group = Group(honest() | {103: respond}, tmp_path)
    assert len(group.gather()) == 5
    assert group.refusals() == []
