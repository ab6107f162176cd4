"""Answers that the protocol does not know cost their sender's part, and no other's."""

import io
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

from server.errors import RunError
from tests.federation import read, steady


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
    federation = steady(tmp_path / "keys", tamper=tamper)
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
    federation = steady(tmp_path / "keys", tamper=tamper)
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert {(e["client"], e["by"], e["code"], e["error"]) for e in refused} == {
        (3, "server", "E_CT", "MalformedMessageError")
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
    federation = steady(tmp_path / "keys", tamper=tamper)
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
    federation = steady(tmp_path / "keys", tamper=tamper)
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
    federation = steady(tmp_path / "keys", run_config={name: value})
    with pytest.raises(RunError):
        federation.run(
            np.zeros(4, dtype=np.float32), events=events, max_failed_rounds=1
        )
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert [(e["by"], e["code"], e["error"]) for e in refused] == [
        (f"client {i}", "E_CTX", "ContextMismatchError") for i in range(1, 6)
    ]
