"""`unseen audit` shows a server that cheats, refused or not."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from crypto.wire import Broadcast, Entry, OpenRequest
from experiments.audit.verdict import audit
from server.recorder import RecordingGrid
from tests.audited import data_of, fields_of, make, record, replaced, set_data


def cheat(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[str, list[Message]], None]
) -> None:
    """Let the server change its messages, by kind, before it records and sends them."""
    push = RecordingGrid.push_messages

    def changed(self: RecordingGrid, messages: Iterable[Message]) -> Iterable[str]:
        batch = list(messages)
        change(str(fields_of(batch[0])["kind"]), batch)
        return push(self, batch)

    monkeypatch.setattr(RecordingGrid, "push_messages", changed)


def unsigned(entries: list[bytes]) -> list[bytes]:
    entry = dataclasses.replace(Entry.from_bytes(entries[0]), signature=bytes(64))
    return [entry.to_bytes(), *entries[1:]]


SAME, ONE_SET = "clients were sent the same", "every opening has one set"
# What is changed, in which of the messages, and where and how the audit says so.
CHEATS: dict[str, tuple[str, slice, dict[str, Any], str, str]] = {
    "a learning rate for one": (
        *("round", slice(0, 1), {"records": lambda _: {"config": {"lr": 0.0}}}),
        *(SAME, "is sent something else"),
    ),
    "a model for one": (
        *("round", slice(2, 3), {"arrays": lambda a: [[*a[0][:3], b"\1" * 120]]}),
        *(SAME, "is sent something else"),
    ),
    "another run": (
        *("round", slice(None), {"run_id": lambda _: bytes(16)}),
        *(SAME, "is of another run"),
    ),
    "the update of one": (
        *("open", slice(None), {"entries": lambda e: e[:1]}),
        *(ONE_SET, "asks for a sum of 1"),
    ),
    "two sets": (
        *("open", slice(1, 2), {"entries": lambda e: e[1:]}),
        *(ONE_SET, "asks for another set than"),
    ),
    "a client twice": (
        *("open", slice(None), {"entries": lambda e: [*e[:3], e[2]]}),
        *(ONE_SET, "not sorted and distinct"),
    ),
    "what nobody uploaded": (
        *("open", slice(None), {"entries": unsigned}),
        *(ONE_SET, "asks for a contribution that client 1 did not upload"),
    ),
    "what is no contribution": (
        *("open", slice(None), {"entries": lambda e: [*e[:3], b"no entry"]}),
        *(ONE_SET, "asks for a contribution that is malformed"),
    ),
    "another context": (
        *("open", slice(None), {"model": lambda _: bytes(32)}),
        *(ONE_SET, "asks for another context than the round's"),
    ),
    "powers of another set": (
        *("open", slice(None), {"powers": lambda p: p[::-1]}),
        *(ONE_SET, "bind their answers to something else"),
    ),
}


@pytest.mark.parametrize("case", CHEATS.values(), ids=CHEATS)
def test_cheating_server_is_found(
    case: tuple[str, slice, dict[str, Any], str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, some, changes, title, what = case
    body = Broadcast if kind == "round" else OpenRequest

    def change(own: str, batch: list[Message]) -> None:
        for message in batch[some] if own == kind else []:
            cheated = replaced(body.from_bytes(data_of(message)), **changes)
            set_data(message, cheated.to_bytes())

    cheat(monkeypatch, change)
    verdict = audit(record(make(tmp_path), tmp_path))
    (result,) = (result for result in verdict.results if result.title == title)
    assert any(what in finding.what for finding in result.findings)
    assert "server" in {finding.who for finding in result.findings}


def test_client_that_is_told_another_phase_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(kind: str, batch: list[Message]) -> None:
        if kind == "round":
            batch[0].metadata.message_type = "evaluate"

    cheat(monkeypatch, change)
    verdict = audit(record(make(tmp_path), tmp_path))
    found = [finding.what for finding in verdict.findings]
    assert (
        "round 1 train: client is told another phase than the broadcast names" in found
    )


def test_message_of_no_known_shape_from_the_server_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(kind: str, batch: list[Message]) -> None:
        if kind == "round":
            batch[0].content = RecordDict(
                {**batch[0].content, "extra": ConfigRecord({"client": 1})}
            )

    cheat(monkeypatch, change)
    verdict = audit(record(make(tmp_path), tmp_path))
    found = {(f.who, f.what) for f in verdict.findings}
    assert ("server", "holds a record beside the protocol's (config)") in found


def test_nonce_that_is_used_again_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "server.cohort.secrets.token_bytes", lambda size: b"\7" * (size or 32)
    )
    verdict = audit(record(make(tmp_path), tmp_path))
    assert [f.what for f in verdict.findings] == ["two hellos have the same nonce"]
