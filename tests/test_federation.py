"""The real mod and the real wrapper: exact sums, and nothing readable leaves."""

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from numpy.typing import NDArray

import clients.carriage
import crypto.sealing
import server.carriage
from crypto.aggregation import RoundSum
from crypto.layout import make_layout
from crypto.vector import encode
from crypto.wire import Upload
from server.errors import RunError
from tests.federation import Federation, make_group, make_params

Vector = NDArray[np.float32]
NUM = {1: 1, 2: 17, 3: 300, 4: 1024, 5: 5000}  # the last one is clamped to w_max


def moves(dim: int, scale: float = 1.0) -> dict[int, Vector]:
    """Made-up updates of five clients."""
    generator = np.random.default_rng(7)
    return {
        i: (generator.normal(0, scale, dim)).astype(np.float32) for i in range(1, 6)
    }


def extremes(dim: int) -> dict[int, Vector]:
    """Updates at and beyond the clip, all of one sign at the last coordinate."""
    pattern = np.array([2.0, -2.0, 3e30, -3e30, 0.0], dtype=np.float32)
    update = np.resize(pattern, dim)
    update[-1] = -9.0
    return dict.fromkeys(range(1, 6), update)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Keep what clients encode and what the server opens."""
    seen: dict[str, list[Any]] = {"encoded": [], "opened": []}

    def keep_encoded(*args: Any) -> Any:
        seen["encoded"].append(encode(*args))
        return seen["encoded"][-1]

    total = RoundSum.total

    def keep_opened(self: RoundSum, partials: Any) -> Any:
        seen["opened"].append(total(self, partials))
        return seen["opened"][-1]

    monkeypatch.setattr(crypto.sealing, "encode", keep_encoded)
    monkeypatch.setattr(RoundSum, "total", keep_opened)
    return seen


@pytest.mark.parametrize(
    ("updates", "silent"),
    [
        pytest.param(moves(50), set(), id="weighted clients and negatives"),
        pytest.param(moves(211), set(), id="last ciphertext not full"),
        pytest.param(moves(1), set(), id="one coordinate"),
        pytest.param(extremes(64), set(), id="extreme values"),
        pytest.param(moves(50), {3}, id="one client drops out"),
    ],
)
def test_opened_sum_is_the_sum_of_the_encoded_integers(
    updates: dict[int, Vector],
    silent: set[int],
    watched: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        if client_id in silent:
            federation.silent.add(client_id)
        new = parameters + updates[client_id]
        return new, {"num-examples": NUM[client_id], "loss": -1.5}

    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.tamper = lambda client_id, reply: (
        gone(reply) if client_id in federation.silent else reply
    )
    federation.run(np.zeros(len(updates[1]), dtype=np.float32))
    encoded, opened = watched["encoded"], watched["opened"]
    trained = [v for v in encoded if len(v) == len(encoded[0])]
    assert len(trained) == 5
    expected = sum(v for i, v in enumerate(trained, 1) if i not in silent)
    np.testing.assert_array_equal(opened[0], expected)


def gone(reply: Message) -> Message:
    """Turn a reply into one the server refuses, as if it never came."""
    reply.content = RecordDict({"unseen": ConfigRecord({"kind": "error", "data": b""})})
    return reply


def test_mean_is_the_weighted_mean_within_half_a_step(tmp_path: Path) -> None:
    updates, start = moves(100, 0.3), np.full(100, 0.25, dtype=np.float32)
    prepared = make_group(tmp_path / "keys", make_params())
    federation = Federation(
        prepared, lambda i, p: (p + updates[i], {"num-examples": NUM[i], "loss": i})
    )
    result, _ = federation.run(start)
    weights = {i: min(n, 1024) for i, n in NUM.items()}
    total = sum(weights.values())
    clipped = {i: np.clip(u.astype(np.float64), -2, 2) for i, u in updates.items()}
    mean = sum(weights[i] * clipped[i] for i in clipped) / total
    params = prepared.manifest.params
    bound = 5 * 0.5 / (params.scale * total / params.w_max)
    opened = result.arrays["parameters"].numpy().astype(np.float64) - start
    assert np.abs(opened - mean).max() <= bound + 1e-6  # float32 of the model
    loss = sum(weights[i] * i for i in weights) / total
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(loss, abs=1e-4)


def test_training_metrics_and_evaluation_come_back_as_means(tmp_path: Path) -> None:
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 10, "loss": 0.5}),
        evaluate=lambda i: {"num-examples": i, "loss": 1.0, "accuracy": i / 5},
    )
    result, _ = federation.run(np.zeros(3, dtype=np.float32))
    accuracy = sum(i * i / 5 for i in range(1, 6)) / 15
    metrics = result.evaluate_metrics_clientapp[1]
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.parametrize(
    "strategy",
    [
        FedAvg(),
        FedAvgM(server_momentum=0.9),
        FedAdam(),
        FedYogi(),
        FedProx(proximal_mu=0.1),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_every_strategy_of_the_family_works_on_sums(
    strategy: FedAvg, tmp_path: Path
) -> None:
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 10, "loss": 0.5}),
    )
    result, wrapper = federation.run(
        np.zeros(4, dtype=np.float32), rounds=2, strategy=strategy
    )
    parameters = result.arrays["parameters"].numpy()
    assert wrapper.rounds_opened == 2
    assert parameters.dtype == np.float32  # some strategies compute in float64
    assert (parameters > 0).all()


def test_plain_and_paillier_open_the_same_integers(
    watched: dict[str, list[Any]], tmp_path: Path
) -> None:
    updates = moves(40)
    for mode in ("plain", "paillier"):
        federation = Federation(
            make_group(tmp_path / mode, make_params(mode=mode)),
            lambda i, p: (p + updates[i], {"num-examples": NUM[i], "loss": 0.1 * i}),
        )
        federation.run(np.zeros(40, dtype=np.float32))
    plain, _, paillier, _ = watched["opened"]
    np.testing.assert_array_equal(plain, paillier)


def test_nothing_a_client_sends_is_readable(tmp_path: Path) -> None:
    secret = np.array([0.123456, -1.765432, 0.5432101, 0.2512345], dtype=np.float32)
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + secret, {"num-examples": 977, "loss": 0.7654321}),
        evaluate=lambda _: {"num-examples": 977, "loss": 0.5, "accuracy": 0.987654},
    )
    federation.run(np.zeros(4, dtype=np.float32), rounds=2)
    uploads = 0
    for reply in federation.received:
        assert set(reply.content) == {"unseen"}
        record = reply.content.config_records["unseen"]
        assert set(record) == {"kind", "data"}
        data = record["data"]
        assert isinstance(data, bytes)
        for value in (*secret, *(secret * 977 / 1024)):
            assert np.float32(value).tobytes() not in data
        assert np.float64(0.987654).tobytes() not in data
        assert b"977" not in data
        if record["kind"] == "upload":
            assert not Upload.from_bytes(data).bulk
            uploads += 1
    assert uploads == 20


def test_upload_size_depends_on_public_numbers_only(tmp_path: Path) -> None:
    sizes = set()
    for i, scale in enumerate((0.0, 1e-6, 5.0)):
        federation = Federation(
            make_group(tmp_path / str(i), make_params()),
            lambda c, p, s=scale: (  # type: ignore[misc]
                p + moves(30, s)[c],
                {"num-examples": 10**c, "loss": s},
            ),
        )
        federation.run(np.zeros(30, dtype=np.float32))
        sizes |= {
            len(r.content.config_records["unseen"]["data"])  # type: ignore[arg-type]
            for r in federation.received
            if r.content.config_records["unseen"]["kind"] == "upload"
        }
    layouts = [
        make_layout(make_params(), phase=1, dim=30, metrics=("loss",)),
        make_layout(make_params(), phase=2, dim=0, metrics=("loss", "accuracy")),
    ]
    counts = {make_params().num_ciphertexts(layout.num_values) for layout in layouts}
    assert len(sizes) == len(counts)


def test_an_exception_reaches_the_server_without_its_text_or_name(
    tmp_path: Path,
) -> None:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        if client_id == 2:
            raise LookupError("patient 4711 has no label")
        return parameters + 1, {"num-examples": 1, "loss": 0.0}

    events = tmp_path / "events.jsonl"
    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    assert not any(b"4711" in dump(reply) for reply in federation.received)
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert [(e["client"], e["by"], e["error"]) for e in refused] == [
        (2, "client 2", "AppError")
    ]


def test_nan_in_an_update_is_never_sent(tmp_path: Path) -> None:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        bad = np.float32("nan") if client_id == 1 else np.float32(1)
        return parameters + bad, {"num-examples": 1, "loss": 0.0}

    events = tmp_path / "events.jsonl"
    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    result, _ = federation.run(np.zeros(4, dtype=np.float32), events=events)
    assert [e["error"] for e in read(events) if e["event"] == "refused"] == [
        "NonFiniteError"
    ]
    np.testing.assert_allclose(result.arrays["parameters"].numpy(), 1, atol=1e-4)


def test_too_few_updates_open_nothing_and_end_the_run_by_name(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
    )

    def intercept(client_id: int, message: Message) -> Message:
        record = message.content.config_records["unseen"]
        if record["kind"] == "round" and client_id in (1, 2):
            raise_silence(federation, client_id)
        return message

    federation.intercept = intercept
    federation.tamper = lambda client_id, reply: (
        gone(reply) if client_id in federation.silent else reply
    )
    with pytest.raises(RunError, match=r"2 rounds failed in a row.*TooFewUpdatesError"):
        federation.run(
            np.zeros(4, dtype=np.float32),
            rounds=5,
            events=events,
            max_failed_rounds=2,
            deadline_seconds=0.3,
        )
    seen = [e["event"] for e in read(events)]
    assert "opening" not in seen
    assert seen.count("round_failed") == 2


def raise_silence(federation: Federation, client_id: int) -> None:
    """From now on this client answers nothing."""
    federation.silent.add(client_id)


@pytest.mark.parametrize("away", [0, 1])
def test_a_holder_that_is_away_or_wrong_is_replaced(away: int, tmp_path: Path) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        return gone(reply) if record["kind"] == "partial" and client_id == 3 else reply

    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    _, wrapper = federation.run(np.zeros(4, dtype=np.float32), rounds=2 + away)
    assert wrapper.rounds_opened == 2 + away


def test_with_two_holders_away_nothing_opens(tmp_path: Path) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        return gone(reply) if record["kind"] == "partial" and client_id < 3 else reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    with pytest.raises(RunError, match="TooFewPartialsError"):
        federation.run(
            np.zeros(4, dtype=np.float32), events=events, max_failed_rounds=1
        )
    assert "opened" not in [e["event"] for e in read(events)]


def test_global_vector_is_unchanged_by_training_and_updates_are_not_zero(
    watched: dict[str, list[Any]], tmp_path: Path
) -> None:
    def train(_: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        parameters += 1  # an app that trains in place on what it was given
        return parameters, {"num-examples": 1024, "loss": 0.0}

    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.run(np.zeros(4, dtype=np.float32))
    assert all(vector[:4].all() for vector in watched["encoded"][:5])


def test_a_run_warns_when_the_clip_does_not_fit(tmp_path: Path) -> None:
    messages = []
    for name, move in (("low", 3.0), ("high", 0.001)):
        events = tmp_path / f"{name}.jsonl"
        federation = Federation(
            make_group(tmp_path / name, make_params()),
            lambda _, p, m=move: (p + m, {"num-examples": 9, "loss": 0.0}),  # type: ignore[misc]
        )
        federation.run(np.zeros(4, dtype=np.float32), events=events)
        messages += [e["message"] for e in read(events) if e["event"] == "warning"]
    low, high = messages
    assert "100.0% of the update is clipped at 2; raise clip" in low
    assert "lower clip to about 0.002" in high


def read(path: Path) -> list[dict[str, Any]]:
    """Read an event log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def dump(reply: Message) -> bytes:
    """Everything in a reply, as bytes."""
    parts: list[bytes] = [repr(dict(reply.metadata.__dict__)).encode()]
    for record in reply.content.config_records.values():
        parts += [
            v if isinstance(v, bytes) else repr(v).encode() for v in record.values()
        ]
    return b"".join(itertools.chain(parts))


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({}),
        RecordDict({"unseen": ConfigRecord({"kind": "upload"})}),
        RecordDict({"unseen": ConfigRecord({"kind": "upload", "data": 7})}),
        RecordDict({"unseen": ConfigRecord({"kind": "upload", "data": b"\xff" * 9})}),
        RecordDict({"unseen": ConfigRecord({}), "unseen-bulk": ArrayRecord()}),
        RecordDict(
            {
                "unseen": ConfigRecord({"kind": "upload"}),
                "unseen-bulk": ArrayRecord(
                    {"data": Array(dtype="uint8", shape=(9,), stype="x", data=b"1")}
                ),
            }
        ),
    ],
)
@pytest.mark.parametrize("kind", ["upload", "partial"])
def test_garbage_from_one_client_costs_only_its_own_part(
    kind: str, content: RecordDict, tmp_path: Path
) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        if client_id == 3 and reply.content.config_records["unseen"]["kind"] == kind:
            reply.content = content
        return reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    _, wrapper = federation.run(np.zeros(4, dtype=np.float32), events=events)
    assert wrapper.rounds_opened == 1
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert {(e["client"], e["by"], e["code"], e["error"]) for e in refused} == {
        (3, "server", "E_CT", "MalformedMessageError")
    }


def with_bulk(claimed: tuple[int, ...], data: bytes, **changes: Any) -> RecordDict:
    """An answer in an array whose header claims a size of its own."""
    head = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": claimed}
    np.lib.format.write_array_header_1_0(head, shape)
    facts: dict[str, Any] = {
        "dtype": "uint8",
        "shape": claimed,
        "stype": "numpy.ndarray",
    }
    array = Array(**facts, data=head.getvalue() + data)
    records = {"unseen": ConfigRecord({"kind": "upload"}), **changes}
    return RecordDict(records | {"unseen-bulk": ArrayRecord({"data": array})})


def with_one_more(name: str, record: Any) -> Callable[[RecordDict], RecordDict]:
    return lambda content: RecordDict({**content, name: record})


def with_field(**fields: Any) -> Callable[[RecordDict], RecordDict]:
    def change(content: RecordDict) -> RecordDict:
        own = dict(content.config_records["unseen"])
        return RecordDict({"unseen": ConfigRecord(own | fields)})

    return change


@pytest.mark.parametrize(
    "change",
    [
        with_one_more("metrics", MetricRecord({"loss": 0.5})),
        with_one_more("config", ConfigRecord({})),
        with_one_more("arrays", ArrayRecord({"a": Array(np.zeros(1))})),
        with_one_more("unseen-bulk", ArrayRecord({"data": Array(np.zeros(1))})),
        with_field(loss=0.5),
        with_field(kind="partial"),
        with_field(kind="hello"),
        with_field(kind=3),
        with_field(data="text"),
        lambda _: with_bulk((9,), b"1"),
        lambda _: with_bulk((1 << 62,), b"1"),
        lambda _: with_bulk((1,), b"11"),
        lambda _: with_bulk((1, 1), b"1"),
        lambda _: with_bulk((1,), b"1", metrics=MetricRecord({"loss": 0.5})),
    ],
)
def test_an_answer_with_anything_more_is_refused(
    change: Callable[[RecordDict], RecordDict], tmp_path: Path
) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        if client_id == 3 and record["kind"] == "upload":
            reply.content = change(reply.content)
        return reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert {(e["client"], e["by"], e["code"], e["error"]) for e in refused} == {
        (3, "server", "E_CT", "MalformedMessageError")
    }


def test_large_messages_travel_as_arrays_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (clients.carriage, server.carriage):
        monkeypatch.setattr(module, "_INLINE_BYTES", 300)
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
    )
    result, wrapper = federation.run(np.zeros(60, dtype=np.float32))
    assert wrapper.rounds_opened == 1
    bulky = [r for r in federation.received if "unseen-bulk" in r.content]
    kinds = {r.content.config_records["unseen"]["kind"] for r in bulky}
    assert kinds == {"upload", "partial"}
    np.testing.assert_allclose(result.arrays["parameters"].numpy(), 1, atol=1e-4)


@pytest.mark.parametrize(
    "text", [b"\x1b[31m jane cancer", b"LookupError", b"PatientJane", b"\xff", b""]
)
def test_an_error_that_is_not_one_of_ours_is_not_repeated(
    text: bytes, tmp_path: Path
) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        if client_id == 3 and "upload" in repr(reply.content):
            record = ConfigRecord({"kind": "error", "data": text})
            reply.content = RecordDict({"unseen": record})
        return reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    # A word, not a number: the times in there have many digits.
    assert "jane" not in events.read_text().lower()
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert {(e["by"], e["code"], e["error"]) for e in refused} == {
        ("client 3", "", "UnnamedError")
    }


def test_an_upload_in_another_clients_name_is_refused(tmp_path: Path) -> None:
    kept: dict[int, RecordDict] = {}

    def tamper(client_id: int, reply: Message) -> Message:
        if reply.content.config_records["unseen"]["kind"] == "upload":
            kept.setdefault(client_id, reply.content)
            if client_id == 2:
                reply.content = kept[1]
        return reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    first = next(e for e in read(events) if e["event"] == "refused")
    assert (first["client"], first["error"]) == (2, "DecryptionRefusedError")


@pytest.mark.parametrize("field", ["_src_node_id", "_reply_to_message_id"])
def test_metadata_of_a_reply_harms_nobody_else(field: str, tmp_path: Path) -> None:
    """A client writes its reply's metadata itself: it claims to be another one."""

    def tamper(client_id: int, reply: Message) -> Message:
        if client_id == 1:
            forged: object = 1002 if field == "_src_node_id" else "message-of-nobody"
            reply.metadata.__dict__[field] = forged
        return reply

    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        tamper=tamper,
    )
    _, wrapper = federation.run(np.zeros(4, dtype=np.float32), events=events)
    uploads = {e["client"] for e in read(events) if e["event"] == "upload"}
    refused = {e["client"] for e in read(events) if e["event"] == "refused"}
    assert wrapper.rounds_opened == 1
    assert uploads >= {2, 3, 4, 5}
    assert not refused


@pytest.mark.parametrize(
    ("name", "value"),
    [("protocol", "plain"), ("key-bits", 2048), ("min-contributors", 2), ("clip", 9.0)],
)
def test_a_run_configuration_that_differs_from_the_pinned_numbers_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        run_config={name: value},
    )
    with pytest.raises(RunError):
        federation.run(
            np.zeros(4, dtype=np.float32), events=events, max_failed_rounds=1
        )
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert [(e["by"], e["code"], e["error"]) for e in refused] == [
        (f"client {i}", "E_CTX", "ContextMismatchError") for i in range(1, 6)
    ]
