"""Whatever bytes and records a server sends, a client says "malformed", at once."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients import carriage
from crypto.wire import pack_arrays
from experiments.prepare import PreparedRun
from tests.federation import make_group, make_params
from tests.one_client import Client


@pytest.fixture
def group(tmp_path: Path) -> PreparedRun:
    return make_group(tmp_path / "keys", make_params())


@pytest.fixture
def client(group: PreparedRun) -> Client:
    return Client(group)


BULK = Array(np.frombuffer(b"abc", dtype=np.uint8))


def saved(array: Any, **options: Any) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def bulk(data: bytes, kind: str = "round", name: str = "data") -> RecordDict:
    array = Array("uint8", (3,), "numpy.ndarray", data)
    record = ConfigRecord({"kind": kind})
    return RecordDict({"unseen": record, "unseen-bulk": ArrayRecord({name: array})})


HEADER = saved(np.zeros(3, np.uint8))[:-3]
SHAPES = [
    RecordDict(),
    RecordDict({"unseen": ConfigRecord()}),
    RecordDict({"unseen": ConfigRecord({"kind": "hello"})}),
    RecordDict({"unseen": ConfigRecord({"data": b""})}),
    RecordDict({"unseen": ConfigRecord({"kind": "hello", "data": "text"})}),
    RecordDict({"unseen": ConfigRecord({"kind": 7, "data": b""})}),
    RecordDict({"unseen": ConfigRecord({"kind": ["hello"], "data": b""})}),
    RecordDict({"unseen": ConfigRecord({"kind": "hello", "data": b"", "more": 1})}),
    RecordDict({"unseen": MetricRecord({"kind": 1})}),
    RecordDict({"unseen": ArrayRecord({"data": BULK})}),
    RecordDict({"other": ConfigRecord({"kind": "hello", "data": b""})}),
    RecordDict({**carriage.carry("hello", b""), "more": ConfigRecord()}),
    RecordDict({**carriage.carry("hello", b""), "more": MetricRecord({"a": 1})}),
    RecordDict({**carriage.carry("hello", b""), "unseen-bulk": ConfigRecord()}),
    RecordDict({**carriage.carry("hello", b""), "unseen-bulk": ArrayRecord()}),
    RecordDict(
        {**carriage.carry("round", b""), "unseen-bulk": ArrayRecord({"data": BULK})}
    ),
    RecordDict(
        {
            "unseen": ConfigRecord({"kind": "round"}),
            "unseen-bulk": ArrayRecord({"data": BULK, "more": BULK}),
        }
    ),
    bulk(HEADER + b"abc", name="date"),
    bulk(b""),
    bulk(b"abc"),
    bulk(HEADER + b"ab"),
    bulk(HEADER + b"abcd"),
    bulk(saved(np.zeros(3, np.int8))),
    bulk(saved(np.zeros(3, np.float32))),
    bulk(saved(np.zeros((3, 1), np.uint8))),
    bulk(saved(np.uint8(1))),
    bulk(saved(np.zeros(3, np.uint8), version=(2, 0))),
    bulk(saved(np.array([None]), allow_pickle=True)),
    # A header that claims a terabyte must not be believed.
    bulk(HEADER.replace(b"(3,)", b"(1099511627776,)") + b"abc"),
]


@pytest.mark.parametrize("content", SHAPES)
def test_a_message_of_another_shape_is_malformed(
    client: Client, content: RecordDict
) -> None:
    assert client.answer(content) == ("error", b"MalformedMessageError")


def test_the_bulk_carriage_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriage, "_INLINE_BYTES", 10)
    for data in (b"", b"0123456789", b"0123456789a", bytes(1000)):
        message = Message(carriage.carry("round", data), 99, "train")
        assert carriage.uncarry(message) == ("round", data)
    assert set(carriage.carry("round", bytes(11))) == {"unseen", "unseen-bulk"}


def test_a_message_that_carries_an_error_is_malformed(client: Client) -> None:
    message = Message(RecordDict(), 99, "train")
    message.metadata.__dict__["_message_id"] = "a message"
    failed = Message(Error(0, "x"), reply_to=message)
    failed.metadata.__dict__["_message_id"] = "a message"
    assert client.answer_message(failed) == ("error", b"MalformedMessageError")


scalars = st.one_of(
    st.integers(-(1 << 62), 1 << 62), st.floats(), st.text(max_size=8), st.booleans()
)
names = st.one_of(
    st.sampled_from(["unseen", "unseen-bulk", "kind", "data"]), st.text(max_size=8)
)
kinds = st.sampled_from(["hello", "open", "prove", "round", "error", "upload"])
arrays = st.builds(
    Array,
    st.text(max_size=8),
    st.tuples(st.integers(0, 1 << 40)),
    st.sampled_from(["numpy.ndarray", "other"]),
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=20).map(lambda data: HEADER + data),
        st.binary(max_size=9).map(lambda b: saved(np.frombuffer(b, np.uint8))),
    ),
)
configs: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    names, st.one_of(scalars, st.binary(max_size=50), kinds), max_size=4
)
almost: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"kind": kinds}, optional={"data": st.binary(max_size=99)}
)
metrics: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    names, st.floats(), max_size=3
)
records = st.one_of(
    st.one_of(configs, almost).map(ConfigRecord),
    metrics.map(MetricRecord),
    st.dictionaries(names, arrays, max_size=3).map(ArrayRecord),
)
contents = st.dictionaries(names, records, max_size=4).map(RecordDict)
wrapped = st.fixed_dictionaries({"unseen": records}, optional={"unseen-bulk": records})


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(contents, wrapped.map(RecordDict)))
def test_any_records_at_all_are_malformed_and_reach_no_app(
    client: Client, content: RecordDict
) -> None:
    assert client.answer(content) == ("error", b"MalformedMessageError")
    assert client.calls == 0


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=kinds, data=st.binary(max_size=300))
def test_any_bytes_at_all_are_malformed_and_reach_no_app(
    client: Client, kind: str, data: bytes
) -> None:
    assert client.ask(kind, data) == ("error", b"MalformedMessageError")
    assert client.calls == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"arrays": pack_arrays([("a", np.zeros(1)), ("a", np.zeros(2))])},
        {"records": {"arrays": {"x": 1}}},
        {"records": {"config": {"x": None}}},
        {"records": {"config": {"x": {"y": 1}}}},
        {"records": {"config": {"x": [1, "a"]}}},
        {"arrays": [["a", "<f4", [-1], bytes(8)]]},
        {"arrays": [["a", "<f4", [3], bytes(8)]]},
        {"arrays": [["a", "|O", [1], bytes(8)]]},
        {"arrays": [["a", "<f4", [1] * 100, bytes(4)]]},
    ],
)
def test_a_model_that_no_message_can_hold_is_malformed(
    client: Client, changes: dict[str, Any]
) -> None:
    assert client.round(**changes) == ("error", b"MalformedMessageError")
    assert client.calls == 0
