"""A bad upload costs its client the round, not the others; key holders check again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

import crypto.aggregation
from clients.folder import open_member
from crypto.errors import MalformedMessageError
from crypto.identity import Identity
from crypto.manifest import Manifest
from crypto.wire import Entry, Upload, unpack_ciphertexts
from server.errors import RunError
from tests.federation import Federation, P, make_group, make_params

Change = Callable[[Upload, list[Upload]], Upload]

CHEAT = 3
WIDTH = 2 * 512 // 8  # bytes of a ciphertext
ANSWERED_TWICE = ("E_SET", "DecryptionRefusedError")
SIGNATURE = ("E_SIG", "InvalidSignatureError")
PROOF = ("E_POPK", "InvalidProofError")
MALFORMED = ("E_CT", "MalformedMessageError")
CONTEXT = ("E_CTX", "ContextMismatchError")


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def first_ciphertext(value: int) -> Change:
    head = value.to_bytes(WIDTH, "big")
    return lambda own, _: replace(own, ciphertexts=head + own.ciphertexts[WIDTH:])


# What client 3 sends instead of its upload, given the uploads that came before, each
# signed by client 3 itself.
SIGNED: dict[str, tuple[Change, tuple[str, str]]] = {
    "no proof": (lambda own, _: replace(own, proof=b""), PROOF),
    "flipped proof": (lambda own, _: replace(own, proof=flipped(own.proof)), PROOF),
    "another's ciphertexts": (
        lambda own, others: replace(own, ciphertexts=others[0].ciphertexts),
        PROOF,
    ),
    "another's ciphertexts and proof": (
        lambda own, others: replace(
            own, ciphertexts=others[0].ciphertexts, proof=others[0].proof
        ),
        PROOF,
    ),
    "zero": (first_ciphertext(0), MALFORMED),
    "out of range": (first_ciphertext((1 << (8 * WIDTH)) - 1), MALFORMED),
    "factor of n": (first_ciphertext(int(P)), MALFORMED),
    "ciphertext too few": (
        lambda own, _: replace(own, ciphertexts=own.ciphertexts[WIDTH:]),
        MALFORMED,
    ),
    "vector in the clear as well": (
        lambda own, _: replace(own, bulk=bytes(8)),
        MALFORMED,
    ),
}
# The same, as it is: the signature is not made anew.
UNSIGNED: dict[str, tuple[Change, tuple[str, str]]] = {
    "flipped signature": (
        lambda own, _: replace(own, signature=flipped(own.signature)),
        SIGNATURE,
    ),
    "another's upload": (lambda _, others: others[0], ANSWERED_TWICE),
    "another's upload in its own name": (
        lambda _, others: replace(others[0], client_id=CHEAT),
        SIGNATURE,
    ),
    "another context": (
        lambda own, _: replace(own, context=flipped(own.context)),
        CONTEXT,
    ),
}


def federation_of(folder: Path) -> Federation:
    return Federation(
        make_group(folder / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
    )


def identity_of(federation: Federation, client_id: int) -> Identity:
    prepared = federation.prepared
    folder = str(prepared.client_folder(client_id))
    return open_member({"client-dir": folder, "run-id": prepared.run_id}).identity


def signed(upload: Upload, identity: Identity) -> Upload:
    message = upload.entry().signed_bytes(upload.context)
    return replace(upload, signature=identity.sign(message))


def cheat(federation: Federation, change: Change) -> None:
    """Let client 3 send what a change makes of its upload."""
    others: list[Upload] = []

    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        if record["kind"] != "upload":
            return reply
        data = record["data"]
        assert isinstance(data, bytes)
        upload = Upload.from_bytes(data)
        if client_id == CHEAT:
            changed = change(upload, others).to_bytes()
            fields = ConfigRecord({"kind": "upload", "data": changed})
            reply.content = RecordDict({"unseen": fields})
        else:
            others.append(upload)
        return reply

    federation.tamper = tamper


def cheat_signed(federation: Federation, change: Change) -> None:
    identity = identity_of(federation, CHEAT)
    cheat(federation, lambda own, others: signed(change(own, others), identity))


def events_of(path: Path, name: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [e for e in events if e["event"] == name and e["phase"] == "train"]


CASES = [
    *(pytest.param(cheat_signed, *case, id=name) for name, case in SIGNED.items()),
    *(pytest.param(cheat, *case, id=name) for name, case in UNSIGNED.items()),
]


@pytest.mark.parametrize(("how", "change", "reason"), CASES)
def test_bad_upload_is_refused_by_name_and_the_round_goes_on(
    how: Callable[[Federation, Change], None],
    change: Change,
    reason: tuple[str, str],
    tmp_path: Path,
) -> None:
    federation, events = federation_of(tmp_path), tmp_path / "events.jsonl"
    how(federation, change)
    result, _ = federation.run(np.zeros(60, dtype=np.float32), events=events)
    (refused,) = events_of(events, "refused")
    assert (refused["client"], refused["by"]) == (CHEAT, "server")
    assert (refused["code"], refused["error"]) == reason
    (opened,) = events_of(events, "opened")
    assert opened["contributors"] == [1, 2, 4, 5]
    np.testing.assert_allclose(result.arrays["parameters"].numpy(), 1, atol=1e-4)


def test_upload_of_an_earlier_round_is_refused(tmp_path: Path) -> None:
    federation, events = federation_of(tmp_path), tmp_path / "events.jsonl"
    kept: list[Upload] = []

    def replay(own: Upload, _: list[Upload]) -> Upload:
        kept.append(own)
        return kept[0]

    cheat(federation, replay)
    federation.run(np.zeros(60, dtype=np.float32), rounds=2, events=events)
    (refused,) = events_of(events, "refused")
    assert (refused["round"], refused["client"]) == (2, CHEAT)
    assert (refused["code"], refused["error"]) == CONTEXT


def test_too_many_bad_uploads_fail_the_round_and_open_nothing(tmp_path: Path) -> None:
    federation, events = federation_of(tmp_path), tmp_path / "events.jsonl"
    cheat(federation, SIGNED["no proof"][0])
    federation.silent.add(1)
    with pytest.raises(RunError, match="TooFewUpdatesError"):
        federation.run(
            np.zeros(60, dtype=np.float32), events=events, max_failed_rounds=1
        )
    (failed,) = events_of(events, "round_failed")
    assert failed["code"] == "E_SET"
    assert events_of(events, "opening") == []


@pytest.mark.parametrize(
    ("how", "change", "reason"),
    [
        pytest.param(cheat_signed, *SIGNED[name], id=name)
        for name in ("no proof", "another's ciphertexts and proof", "factor of n")
    ]
    + [pytest.param(cheat, *UNSIGNED["flipped signature"], id="flipped signature")],
)
def test_upload_that_the_server_let_pass_is_refused_by_every_key_holder(
    how: Callable[[Federation, Change], None],
    change: Change,
    reason: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(entry: Entry, _: bytes, manifest: Manifest, __: object) -> list[Any]:
        key = manifest.keys.public_key
        count = len(entry.ciphertexts) // WIDTH
        try:
            return unpack_ciphertexts(entry.ciphertexts, count, key)
        except MalformedMessageError:
            return [key.n + 1] * count

    monkeypatch.setattr(crypto.aggregation, "check_entry", careless)
    federation, events = federation_of(tmp_path), tmp_path / "events.jsonl"
    how(federation, change)
    with pytest.raises(RunError, match="TooFewPartialsError"):
        federation.run(
            np.zeros(60, dtype=np.float32), events=events, max_failed_rounds=1
        )
    refused = events_of(events, "refused")
    assert sorted(e["by"] for e in refused) == [f"client {i}" for i in range(1, 6)]
    assert {(e["code"], e["error"]) for e in refused} == {reason}
    assert events_of(events, "opened") == []
