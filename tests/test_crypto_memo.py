"""What a process has found true is not worked out again; anything else is."""

from dataclasses import replace
from typing import Any

import pytest

from crypto import entries, knowledge, memo
from crypto.entries import check_entries, check_entry
from crypto.errors import InvalidProofError, InvalidSignatureError
from crypto.memo import Memo
from crypto.wire import Entry
from tests.crypto_group import Round, identities, make_facts, make_round


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the clients whose proofs are verified, in turn."""
    calls: list[int] = []

    def spy(statement: knowledge.Statement, *rest: Any) -> None:
        calls.append(statement.client_id)
        knowledge.verify(statement, *rest)

    monkeypatch.setattr(entries, "verify_knowledge", spy)
    memo.forget()
    return calls


def _check(one: Round, *given: Entry) -> list[list[int]]:
    manifest, facts = one.manifest, one.facts
    context, layout = facts.context(manifest), facts.layout(manifest)
    return [
        [int(c) for c in row] for row in check_entries(given, context, manifest, layout)
    ]


def _sent(one: Round, *clients: int) -> list[Entry]:
    """Return uploads of other processes."""
    sent = [one.upload(client_id).entry() for client_id in clients]
    memo.forget()
    return sent


@pytest.mark.parametrize("mode", ["paillier", "hybrid"])
def test_proof_is_verified_once_a_process(mode: str, verified: list[int]) -> None:
    one = make_round(mode=mode)
    sent = _sent(one, 1, 2)

    first = _check(one, *sent)

    assert sorted(verified) == [1, 2]
    assert _check(one, *sent) == first
    assert len(verified) == 2


def test_client_does_not_verify_the_proof_it_made(verified: list[int]) -> None:
    one = make_round()
    (other,) = _sent(one, 1)
    own = one.upload(2).entry()

    _check(one, other, own)

    assert verified == [1]


def test_changed_proof_is_refused_after_the_right_one(verified: list[int]) -> None:
    one = make_round()
    (right,) = _sent(one, 1)
    _check(one, right)
    identity, context = identities(6)[0], one.facts.context(one.manifest)
    wrong = replace(right, proof=right.proof[:-1] + bytes([right.proof[-1] ^ 1]))
    signature = identity.sign(wrong.signed_bytes(context))

    for _ in range(2):
        with pytest.raises(InvalidProofError):
            _check(one, replace(wrong, signature=signature))

    assert verified == [1, 1, 1]


def test_signature_is_checked_every_time(verified: list[int]) -> None:
    one = make_round()
    (right,) = _sent(one, 1)
    _check(one, right)

    with pytest.raises(InvalidSignatureError):
        _check(one, replace(right, signature=bytes(len(right.signature))))

    assert verified == [1]


def test_proof_is_verified_anew_for_another_context() -> None:
    one = make_round()
    other = Round(one.manifest, make_facts(dim=7))
    (entry,) = _sent(one, 1)
    _check(one, entry)
    context, layout = other.facts.context(one.manifest), one.facts.layout(one.manifest)
    again = replace(entry, signature=identities(6)[0].sign(entry.signed_bytes(context)))

    with pytest.raises(InvalidProofError):
        check_entry(again, context, one.manifest, layout)


def test_oldest_digest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_KEPT", 2)
    known = Memo()
    for digest in (b"one", b"two", b"two", b"three"):
        known.add(digest)

    assert [digest in known for digest in (b"one", b"two", b"three")] == [
        False,
        True,
        True,
    ]
    memo.forget()
    assert b"three" not in known
