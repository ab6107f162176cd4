"""`unseen audit` finds every place where a patched client lets a float out."""

import dataclasses
import struct
from collections.abc import Callable
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
from gmpy2 import mpz

from crypto.errors import ProtocolMismatchError
from crypto.identity import Identity
from crypto.manifest import read_json
from crypto.wire import (
    Challenge,
    Hello,
    PartialReply,
    Upload,
    partial_signed_bytes,
    upload_signed_bytes,
)
from experiments.audit.verdict import audit
from tests.audited import (
    LEAK,
    data_of,
    fields_of,
    make,
    record,
    replaced,
    set_data,
    texts,
)
from tests.federation import Federation

Change = Callable[[Message], None]
Tamper = Callable[[int, Message], Message]


def tamper_once(change: Change, *, client_id: int = 3) -> Tamper:
    """Let a client change its first upload on the way out."""
    done: list[bool] = []

    def tamper(sender: int, reply: Message) -> Message:
        if sender == client_id and kind_of(reply) == "upload" and not done:
            done.append(True)
            change(reply)
        return reply

    return tamper


def kind_of(reply: Message) -> str:
    return str(fields_of(reply)["kind"]) if reply.has_content() else ""


def add_record(record: Any) -> Change:
    def change(reply: Message) -> None:
        reply.content["extra"] = record

    return change


def set_field(name: str, value: Any) -> Change:
    def change(reply: Message) -> None:
        fields_of(reply)[name] = value

    return change


def append_bytes(reply: Message) -> None:
    set_data(reply, data_of(reply) + struct.pack("<f", LEAK))


def set_metadata(name: str, value: Any) -> Change:
    def change(reply: Message) -> None:
        reply.metadata.__dict__[f"_{name}"] = value

    return change


def later(seconds: float) -> Change:
    """Move the time of creation, with the rest of its life moved along."""

    def change(reply: Message) -> None:
        metadata = reply.metadata
        end = metadata.created_at + metadata.ttl
        metadata.created_at += seconds
        metadata.ttl = end - metadata.created_at

    return change


def fail_with(text: str) -> Change:
    def change(reply: Message) -> None:
        fields = ConfigRecord({"kind": "error", "data": text.encode()})
        reply.content = RecordDict({"unseen": fields})

    return change


def crash_with(reason: str, *, code: int = 2) -> Change:
    def change(reply: Message) -> None:
        reply.__dict__["_content"] = None
        reply.__dict__["_error"] = Error(code, reason)

    return change


SHAPES, TEXT = "messages have known shapes", "no text of clients"
LEAKS: dict[str, tuple[Change, str]] = {
    "metric record": (add_record(MetricRecord({"loss": LEAK})), SHAPES),
    "config record": (add_record(ConfigRecord({"loss": LEAK})), SHAPES),
    "array record": (add_record(ArrayRecord({"w": Array(np.ones(1))})), SHAPES),
    "config value": (set_field("loss", LEAK), SHAPES),
    "another kind": (set_field("kind", f"upload {LEAK}"), SHAPES),
    "appended bytes": (append_bytes, SHAPES),
    "group": (set_metadata("group_id", str(LEAK)), SHAPES),
    "type": (set_metadata("message_type", "train.loss_0125"), SHAPES),
    "time to live": (set_metadata("ttl", LEAK), SHAPES),
    "reply to": (set_metadata("reply_to_message_id", str(LEAK)), SHAPES),
    "message id": (set_metadata("message_id", "ab" * 32), SHAPES),
    "sender": (set_metadata("src_node_id", 125), SHAPES),
    "receiver": (set_metadata("dst_node_id", 125), SHAPES),
    "task": (set_metadata("dst_task_id", 125), SHAPES),
    "run": (set_metadata("run_id", 125), SHAPES),
    "delivery": (set_metadata("delivered_at", str(LEAK)), SHAPES),
    "another time": (later(3600.0), SHAPES),
    "a finer time": (later(0.00000025), SHAPES),
    "error text": (fail_with(f"ParameterError: loss {LEAK}"), TEXT),
    "text of Flower's error": (crash_with(f"ValueError: loss {LEAK}"), TEXT),
    "class name that is none": (crash_with("loss_0125"), TEXT),
    "code of Flower's error": (crash_with("ValueError", code=125), TEXT),
}


@pytest.mark.parametrize(("change", "title"), LEAKS.values(), ids=LEAKS)
def test_client_that_leaks_a_float_beside_its_upload_is_found(
    change: Change, title: str, tmp_path: Path
) -> None:
    federation = make(tmp_path)
    federation.tamper = tamper_once(change)
    verdict = audit(record(federation, tmp_path))
    (result,) = (result for result in verdict.results if result.title == title)
    assert {finding.who for finding in result.findings} <= {"client 3", "node 125"}
    assert result.findings
    assert len({finding.file for finding in result.findings}) == 1
    assert not any("0.125" in text or "0125" in text for text in texts(verdict))


# What a patched client can do with valid signatures


def identity(federation: Federation, client_id: int = 3) -> Identity:
    folder = federation.prepared.client_folder(client_id)
    return Identity.from_dict(read_json(folder / "identity.json"))


def sign_upload(federation: Federation, upload: Upload) -> Upload:
    entry = upload.entry()
    signed = upload_signed_bytes(
        upload.context,
        upload.client_id,
        entry.bulk_digest,
        upload.ciphertexts,
        upload.proof,
    )
    return dataclasses.replace(upload, signature=identity(federation).sign(signed))


SIZE = 2 * 512 // 8
PUBLIC, READABLE = "sizes are public", "nothing is readable"
FRESH, SIGNED = "ciphertexts are fresh", "signatures and proofs hold"
CHANGES: dict[str, tuple[dict[str, Callable[[Any], Any]], set[str]]] = {
    "bytes in the bulk part": (
        {"bulk": lambda _: struct.pack("<f", LEAK)},
        {READABLE, PUBLIC, SIGNED},
    ),
    "a longer proof": (
        {"proof": lambda proof: proof + struct.pack("<f", LEAK)},
        {PUBLIC, SIGNED},
    ),
    "another proof": ({"proof": lambda proof: bytes(len(proof))}, {SIGNED}),
    "one ciphertext more": (
        {"ciphertexts": lambda own: own + b"\1" * SIZE},
        {PUBLIC, SIGNED},
    ),
    "a ciphertext twice": (
        {"ciphertexts": lambda own: own[-SIZE:] + own[SIZE:]},
        {FRESH, SIGNED},
    ),
    "a ciphertext of zero": (
        {"ciphertexts": lambda own: bytes(SIZE) + own[SIZE:]},
        {FRESH, SIGNED},
    ),
    "a ciphertext that is a number": (
        {"ciphertexts": lambda own: (1).to_bytes(SIZE, "big") + own[SIZE:]},
        {READABLE, SIGNED},
    ),
    "another context": ({"context": lambda _: bytes(32)}, {SIGNED}),
    "another client": ({"client_id": lambda _: 4}, {SIGNED}),
}


@pytest.mark.parametrize(("change", "titles"), CHANGES.values(), ids=CHANGES)
def test_upload_that_is_changed_and_signed_is_found(
    change: dict[str, Callable[[Any], Any]], titles: set[str], tmp_path: Path
) -> None:
    federation = make(tmp_path)

    def tamper(reply: Message) -> None:
        upload = replaced(Upload.from_bytes(data_of(reply)), **change)
        set_data(reply, sign_upload(federation, upload).to_bytes())

    federation.tamper = tamper_once(tamper)
    verdict = audit(record(federation, tmp_path))
    assert {result.title for result in verdict.results if result.findings} == titles
    assert {finding.who for finding in verdict.findings} == {"client 3"}


def test_ciphertexts_without_blinding_are_found_though_everybody_accepts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_blinding(count: int, *_: Any) -> list[mpz]:
        return [mpz(0)] * count

    monkeypatch.setattr("crypto.paillier.draw_alphas", no_blinding)
    run = record(make(tmp_path), tmp_path)
    assert '"opened"' in (run / "events.jsonl").read_text()
    found = {finding.what for finding in audit(run).findings}
    assert "has a ciphertext of no blinding" in found


def test_ciphertexts_of_another_client_are_found(tmp_path: Path) -> None:
    federation = make(tmp_path)
    seen: list[bytes] = []

    def tamper(client_id: int, reply: Message) -> Message:
        if kind_of(reply) == "upload":
            upload = Upload.from_bytes(data_of(reply))
            if client_id == 3:
                upload = dataclasses.replace(upload, ciphertexts=seen[-1])
                set_data(reply, sign_upload(federation, upload).to_bytes())
            seen.append(upload.ciphertexts)
        return reply

    federation.tamper = tamper
    verdict = audit(record(federation, tmp_path))
    repeated = [
        f.who for f in verdict.findings if "has a ciphertext that is in" in f.what
    ]
    unproved = [f.who for f in verdict.findings if "InvalidProofError" in f.what]
    # Copy and original arrive in any order; only the copy has no proof.
    assert len(repeated) == 2
    assert set(repeated) <= {"client 2", "client 3"}
    assert set(unproved) == {"client 3"}


def test_hello_with_a_text_of_its_own_is_found(tmp_path: Path) -> None:
    federation = make(tmp_path)
    nonces: dict[int, bytes] = {}

    def keep(client_id: int, message: Message) -> Message:
        if fields_of(message)["kind"] == "hello":
            nonces[client_id] = Challenge.from_bytes(data_of(message)).nonce
        return message

    def tamper(client_id: int, reply: Message) -> Message:
        if client_id == 3 and kind_of(reply) == "hello":
            hello = dataclasses.replace(
                Hello.from_bytes(data_of(reply)), code=f"{LEAK:016f}"
            )
            signature = identity(federation).sign(hello.signed_bytes(nonces[3]))
            hello = dataclasses.replace(hello, signature=signature)
            set_data(reply, hello.to_bytes())
        return reply

    federation.intercept, federation.tamper = keep, tamper
    with pytest.raises(ProtocolMismatchError):
        record(federation, tmp_path)
    found = {(f.who, f.what) for f in audit(tmp_path / "run").findings}
    assert ("client 3", "says what is not of this run") in found
    assert {who for who, _ in found} == {"client 3", ""}


def test_partials_that_open_nothing_are_found(tmp_path: Path) -> None:
    federation = make(tmp_path)
    contexts: list[bytes] = []

    def tamper(client_id: int, reply: Message) -> Message:
        if kind_of(reply) == "upload":
            contexts.append(Upload.from_bytes(data_of(reply)).context)
        if client_id == 3 and kind_of(reply) == "partial":
            partial = PartialReply.from_bytes(data_of(reply))
            leak = struct.pack("<f", LEAK).rjust(64, b"\1") + partial.partials[64:]
            signed = partial_signed_bytes(
                contexts[-1], partial.set_digest, partial.holder, leak
            )
            partial = dataclasses.replace(
                partial, partials=leak, signature=identity(federation).sign(signed)
            )
            set_data(reply, partial.to_bytes())
        return reply

    federation.tamper = tamper
    run = record(federation, tmp_path)
    assert '"opened"' in (run / "events.jsonl").read_text()
    found = {(f.who, f.what) for f in audit(run).findings}
    what = "round 1 train: partials do not open the sum that others' open"
    assert ("client 3", what) in found
    assert {who for who, _ in found} == {"client 3"}
