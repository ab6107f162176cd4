"""What passes the mod: to the app only what the context covers, to the server a name.

`test_federation.py` shows that honest rounds work; here the server, the app or both
misbehave.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)

from clients import carriage
from clients.mod import SecureMod
from clients.node import _is_quick
from crypto.errors import (
    CryptoError,
    DecryptionRefusedError,
    NonFiniteError,
    SecondSetError,
)
from crypto.layout import EVALUATE, TRAIN
from crypto.wire import Challenge, Hello, OpenRequest, Upload, pack_arrays
from experiments.prepare import PreparedRun
from models.fingerprint import network_digest
from tests.federation import make_group, make_params
from tests.one_client import ARRAYS, METRICS, Client, Reply, good_reply


@pytest.fixture
def group(tmp_path: Path) -> PreparedRun:
    return make_group(tmp_path / "keys", make_params())


@pytest.fixture
def client(group: PreparedRun) -> Client:
    return Client(group)


# --- what the app sees ---


def test_the_app_sees_nothing_that_the_servers_machine_numbered(
    client: Client,
) -> None:
    seen: list[tuple[Message, Context]] = []

    def reply(message: Message, context: Context) -> Message:
        seen.append((message, context))
        return good_reply(message, context)

    client.reply = reply
    assert client.round()[0] == "upload"
    ((message, context),) = seen
    assert (context.run_id, context.node_id, context.series_id) == (0, 0, 0)
    assert context.run_config is client.run_config
    assert context.node_config is client.context.node_config
    metadata = dict(vars(message.metadata))
    assert metadata == {
        "_run_id": 0,
        "_message_id": "",
        "_src_node_id": 0,
        "_dst_node_id": 0,
        "_reply_to_message_id": "",
        "_group_id": "1",  # the round, which the context covers
        "_created_at": 0.0,
        "_ttl": 0.0,
        "_message_type": "train",  # the phase, which the context covers
        "_src_task_id": None,
        "_dst_task_id": None,
        "_delivered_at": "",
    }
    assert set(message.content) == {"arrays", "config"}


def test_the_apps_own_state_is_kept(client: Client) -> None:
    def reply(message: Message, context: Context) -> Message:
        context.state = RecordDict({"mine": ConfigRecord({"seen": 1})})
        return good_reply(message, context)

    client.reply = reply
    client.round()
    assert client.context.state.config_records["mine"]["seen"] == 1


# --- networks ---


def allow_networks(group: PreparedRun, value: str) -> None:
    path = group.client_folder(1) / "policy.toml"
    lines = [x for x in path.read_text().splitlines() if not x.startswith("networks")]
    path.write_text("\n".join([*lines, f"networks = {value}"]))


@pytest.mark.parametrize("phase", [TRAIN, EVALUATE])
def test_a_network_off_the_list_is_refused_before_the_app_sees_it(
    group: PreparedRun, client: Client, phase: int
) -> None:
    allow_networks(group, f'["{network_digest("another", ARRAYS)}"]')
    assert client.round(phase=phase) == ("error", b"PolicyError")
    assert client.calls == 0
    allow_networks(group, f'["{network_digest("", ARRAYS)}"]')
    metrics = [] if phase == TRAIN else ["accuracy"]
    assert client.round(phase=phase, metrics=metrics)[0] == "upload"
    assert client.calls == 1


def test_the_network_is_described_by_the_clients_own_code(
    group: PreparedRun, client: Client
) -> None:
    described = Client(group, SecureMod(lambda run: f"Network({run['task']})"))
    allow_networks(group, f'["{network_digest("Network(test)", ARRAYS)}"]')
    assert client.round() == ("error", b"PolicyError")
    assert described.round()[0] == "upload"


@pytest.mark.parametrize(
    "arrays",
    [
        {"parameters": np.zeros(4, np.float32)},
        {"parameters": np.zeros((3, 1), np.float32)},
        {"parameters": np.zeros(3, np.float64)},
        {"other": np.zeros(3, np.float32)},
        {"parameters": np.zeros(3, np.float32), "trap": np.zeros(1, np.float32)},
        {},
    ],
)
def test_a_layout_that_differs_is_another_network(
    group: PreparedRun, client: Client, arrays: dict[str, Any]
) -> None:
    allow_networks(group, f'["{network_digest("", ARRAYS)}"]')
    packed = pack_arrays(list(arrays.items()))
    assert client.round(arrays=packed, phase=EVALUATE) == ("error", b"PolicyError")
    assert client.calls == 0


def test_a_refused_network_names_the_rule_and_its_digest_in_the_log(
    group: PreparedRun, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    allow_networks(group, "[]")
    client.round()
    digest = network_digest("", ARRAYS)
    assert caplog.messages == [
        "refused: E_PARAMS PolicyError: networks: this client allows 0 networks, "
        f"the run has another one, {digest}"
    ]


def test_a_network_that_cannot_be_described_is_not_trained(
    group: PreparedRun,
) -> None:
    def fail(_: object) -> str:
        raise LookupError("no such task")

    allow_networks(group, "[]")
    client = Client(group, SecureMod(fail))
    assert client.round() == ("error", b"AppError")
    assert client.calls == 0


# --- what leaves when something fails ---


def with_records(**records: Any) -> Reply:
    def reply(message: Message, _: Context) -> Message:
        return Message(RecordDict(records), reply_to=message)

    return reply


def with_metrics(**metrics: Any) -> Reply:
    arrays = ArrayRecord({"parameters": Array(ARRAYS["parameters"])})
    named = {name.replace("_", "-"): value for name, value in metrics.items()}
    return with_records(arrays=arrays, metrics=MetricRecord(named))


def with_arrays(*arrays: Any) -> Reply:
    records = {
        f"arrays{i}": ArrayRecord({name: Array(a) for name, a in named.items()})
        for i, named in enumerate(arrays)
    }
    return with_records(metrics=MetricRecord(METRICS), **records)


def with_error(message: Message, _: Context) -> Message:
    return Message(Error(0, "patient 4711"), reply_to=message)


def raising(error: Exception) -> Reply:
    def reply(*_: object) -> Message:
        raise error

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        raising(LookupError("patient 4711 has no label")),
        raising(MemoryError()),
        raising(DecryptionRefusedError("an app that knows our errors")),
        raising(NonFiniteError("an app that knows our errors")),
        with_error,
        lambda *_: None,
        lambda *_: 7,
        with_records(),
        with_metrics(),
        with_metrics(loss=0.5),
        with_metrics(num_examples=[1]),
        with_metrics(num_examples=float("nan")),
        with_metrics(num_examples=float("inf"), loss=0.5),
        with_metrics(num_examples=0, loss=0.5),
        with_metrics(num_examples=-5, loss=0.5),
        with_metrics(num_examples=10),  # the metric that travels is missing
        with_arrays(),
        with_arrays(ARRAYS, ARRAYS),
        with_arrays({"other": ARRAYS["parameters"]}),
        with_arrays({"parameters": np.zeros(4, np.float32)}),
        with_arrays({"parameters": np.zeros(3, np.int64)}),
    ],
)
def test_whatever_the_app_does_wrong_leaves_as_one_name(
    client: Client, reply: Reply
) -> None:
    client.reply = reply
    assert client.round() == ("error", b"AppError")
    assert client.calls == 1


@pytest.mark.parametrize(
    "reply",
    [
        with_arrays({"parameters": np.full(3, np.nan, np.float32)}),
        with_metrics(num_examples=10, loss=float("inf")),
    ],
)
def test_nan_keeps_its_own_name(client: Client, reply: Reply) -> None:
    client.reply = reply
    assert client.round() == ("error", b"NonFiniteError")


class StrangeError(CryptoError):
    """One that somebody else derived; its name could be anything."""


@pytest.mark.parametrize("error", [OSError("/home/somebody"), StrangeError("x")])
def test_an_error_that_is_not_ours_leaves_as_an_app_error(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("clients.mod.open_member", raising(error))
    assert client.ask("hello", b"") == ("error", b"AppError")


def test_a_refusal_is_one_line_with_code_and_class(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = SecondSetError("round 1 phase 1: another set was opened")
    monkeypatch.setattr("clients.mod.open_member", raising(refusal))
    client.ask("open", b"")
    (record,) = caplog.records
    assert record.getMessage() == (
        "refused: E_SECOND_SET SecondSetError: round 1 phase 1: another set was opened"
    )
    assert record.exc_info is None
    assert record.levelno == logging.WARNING


def test_an_error_without_a_code_has_only_its_class(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.context.node_config = {}
    assert client.ask("hello", b"") == ("error", b"KeyMismatchError")
    assert caplog.messages[0].startswith("refused: KeyMismatchError: this node was ")


def test_how_the_app_failed_stays_in_the_clients_own_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.reply = raising(LookupError("label 12 is unknown"))
    client.round()
    (record,) = caplog.records
    assert record.getMessage() == "refused: AppError: the ClientApp failed"
    assert "label 12 is unknown" in caplog.text


# --- hello and openings ---


def test_a_hello_is_signed_for_one_nonce(group: PreparedRun, client: Client) -> None:
    kind, data = client.ask("hello", Challenge(b"n" * 32).to_bytes())
    hello = Hello.from_bytes(data)
    roster = group.manifest.keys.roster
    assert kind == "hello"
    assert hello.client_id == 1
    roster.verify(1, hello.signature, hello.signed_bytes(b"n" * 32))
    with pytest.raises(CryptoError):
        roster.verify(1, hello.signature, hello.signed_bytes(b"m" * 32))
    with pytest.raises(CryptoError):
        roster.verify(2, hello.signature, hello.signed_bytes(b"n" * 32))


def make_request(group: PreparedRun, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "run_id": bytes.fromhex(group.run_id),
        "round": 1,
        "phase": TRAIN,
        "model": bytes(32),
        "dim": 3,
        "metrics": [],
        "run_config": bytes(32),
        "records": bytes(32),
        "powers": b"",
        "entries": [],
    }
    return OpenRequest(**(values | changes)).to_bytes()


@pytest.mark.parametrize("kind", ["open", "prove"])
def test_an_opening_of_another_run_is_refused(
    group: PreparedRun, client: Client, kind: str
) -> None:
    request = make_request(group, run_id=bytes(16))
    assert client.ask(kind, request) == ("error", b"ContextMismatchError")


@pytest.mark.parametrize("kind", ["open", "prove"])
def test_an_opening_of_nothing_is_refused(
    group: PreparedRun, client: Client, kind: str
) -> None:
    answer = client.ask(kind, make_request(group))
    assert answer == ("error", b"DecryptionRefusedError")


@pytest.mark.parametrize("kind", ["open", "prove"])
def test_an_opening_in_another_context_than_the_own_upload_is_refused(
    group: PreparedRun, client: Client, kind: str
) -> None:
    assert Upload.from_bytes(client.round()[1]).client_id == 1
    answer = client.ask(kind, make_request(group))
    assert answer == ("error", b"ContextMismatchError")


@pytest.mark.parametrize(
    ("kind", "is_quick"),
    [("hello", True), ("open", True), ("prove", True), ("round", False), ("x", False)],
)
def test_only_training_waits_for_training(kind: str, is_quick: bool) -> None:
    assert _is_quick(Message(carriage.carry(kind, b""), 99, "train")) is is_quick
