"""Nothing that leaves a client can be read, not even through errors and sizes."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    ConfigRecord,
    Message,
    RecordDict,
)
from numpy.typing import NDArray

from crypto.layout import make_layout
from crypto.wire import Upload
from tests.federation import Federation, make_group, make_params, moves, read, steady

Vector = NDArray[np.float32]


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


def dump(reply: Message) -> bytes:
    """Everything in a reply, as bytes."""
    parts: list[bytes] = [repr(dict(reply.metadata.__dict__)).encode()]
    for record in reply.content.config_records.values():
        parts += [
            v if isinstance(v, bytes) else repr(v).encode() for v in record.values()
        ]
    return b"".join(itertools.chain(parts))


def test_an_exception_reaches_the_server_without_its_text_or_name(
    tmp_path: Path,
) -> None:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        if client_id == 2:
            raise LookupError("patient Jane has no label")
        return parameters + 1, {"num-examples": 1, "loss": 0.0}

    events = tmp_path / "events.jsonl"
    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    assert not any(b"Jane" in dump(reply) for reply in federation.received)
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
    federation = steady(tmp_path / "keys", tamper=tamper)
    federation.run(np.zeros(4, dtype=np.float32), events=events)
    # A word, not a number: the times in there have many digits.
    assert "jane" not in events.read_text().lower()
    refused = [e for e in read(events) if e["event"] == "refused"]
    assert {(e["by"], e["code"], e["error"]) for e in refused} == {
        ("client 3", "", "UnnamedError")
    }
