"""A key holder opens one lawful set per round and phase, and remembers it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from clients.state import ClientState
from crypto.errors import (
    ContextMismatchError,
    CryptoError,
    DecryptionRefusedError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedMessageError,
)
from crypto.identity import Identity
from crypto.layout import EVALUATE
from crypto.opening import ServedSets
from crypto.wire import OpenRequest, pack_ciphertexts
from tests.crypto_group import (
    MemoryState,
    Round,
    added,
    identities,
    make_contribution,
    make_facts,
    make_round,
)


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> ServedSets:
    if request.param == "memory":
        return MemoryState()
    return ClientState.create(tmp_path / "state.sqlite")


def _request(one: Round, count: int = 4) -> OpenRequest:
    """Ask to open the sum of clients 1..count."""
    return added(one, count).open_request()


def _in_round(number: int, run: int = 0) -> Round:
    return make_round(facts=make_facts(round=number, run_id=bytes([run] * 16)))


def test_answer_is_signed_for_this_set_and_holder() -> None:
    one = make_round()
    total = added(one, 4)

    reply = one.opener(2).answer(total.open_request(), None)

    assert reply.holder == 2
    total.check_partial(reply, 2)


def test_holder_that_took_part_answers_for_its_own_context(state: ServedSets) -> None:
    one = make_round()

    assert one.opener(1, state).answer(_request(one), one.sum.context)


def test_sum_of_another_context_than_its_own_is_refused(state: ServedSets) -> None:
    one = make_round()

    with pytest.raises(ContextMismatchError, match="another context than this client"):
        one.opener(1, state).answer(_request(one), bytes(32))


def test_refused_request_leaves_no_trace(state: ServedSets) -> None:
    one = make_round()
    with pytest.raises(ContextMismatchError):
        one.opener(1, state).answer(_request(one, 5), bytes(32))

    assert one.opener(1, state).answer(_request(one, 4), one.sum.context)


def _entries(one: Round, ids: list[int]) -> list[bytes]:
    return [one.upload(i).entry().to_bytes() for i in ids]


def _changed_entry(one: Round, **changes: Any) -> list[bytes]:
    entry = replace(one.upload(1).entry(), **changes)
    return [entry.to_bytes(), *_entries(one, [2, 3, 4])]


def _foreign_entry(one: Round) -> list[bytes]:
    stranger = one.upload(7, make_contribution(7), signer=Identity.create(7))
    return [*_entries(one, [1, 2, 3]), stranger.entry().to_bytes()]


def _resigned_zero(one: Round) -> list[bytes]:
    """A client that signs a zero where its first ciphertext should be."""
    key = one.manifest.keys.public_key
    rest = one.upload(1).ciphertexts[2 * key.n_bytes :]
    return _resigned(one, ciphertexts=pack_ciphertexts([mpz(0)], key) + rest)


def _resigned(one: Round, **changes: Any) -> list[bytes]:
    """A client that changes its upload and signs it again."""
    entry = replace(one.upload(1).entry(), **changes)
    signature = identities(6)[0].sign(entry.signed_bytes(one.sum.context))
    signed = replace(entry, signature=signature)
    return [signed.to_bytes(), *_entries(one, [2, 3, 4])]


REFUSED: dict[str, tuple[Callable[[Round], list[bytes]], type[CryptoError], str]] = {
    "no entry": (lambda _: [], DecryptionRefusedError, "of 4 to 5 updates, got 0"),
    "one entry": (
        lambda one: _entries(one, [1]),
        DecryptionRefusedError,
        "of 4 to 5 updates, got 1",
    ),
    "too few": (
        lambda one: _entries(one, [1, 2, 3]),
        DecryptionRefusedError,
        "of 4 to 5 updates, got 3",
    ),
    "too many": (
        lambda one: _entries(one, [1, 2, 3, 4, 5, 6]),
        DecryptionRefusedError,
        "of 4 to 5 updates, got 6",
    ),
    "unsorted": (
        lambda one: _entries(one, [2, 1, 3, 4]),
        DecryptionRefusedError,
        "not sorted and distinct",
    ),
    "duplicate": (
        lambda one: _entries(one, [1, 1, 2, 3]),
        DecryptionRefusedError,
        "not sorted and distinct",
    ),
    "foreign client": (_foreign_entry, InvalidSignatureError, "not on the roster"),
    "swapped id": (
        lambda one: [*_entries(one, [1, 2, 3]), _changed_entry(one, client_id=4)[0]],
        InvalidSignatureError,
        "does not verify",
    ),
    "changed signature": (
        lambda one: _changed_entry(one, signature=bytes(64)),
        InvalidSignatureError,
        "does not verify",
    ),
    "changed ciphertexts": (
        lambda one: _changed_entry(one, ciphertexts=one.upload(1).ciphertexts),
        InvalidSignatureError,
        "does not verify",
    ),
    "with bulk": (
        lambda one: _changed_entry(one, bulk_digest=bytes([1] * 32)),
        MalformedMessageError,
        "malformed",
    ),
    "changed proof": (
        lambda one: _changed_entry(one, proof=one.upload(1).proof),
        InvalidSignatureError,
        "does not verify",
    ),
    "no proof": (
        lambda one: _resigned(one, proof=b""),
        InvalidProofError,
        "client 1 does not prove",
    ),
    "proof of another upload": (
        lambda one: _resigned(one, proof=one.upload(1).proof),
        InvalidProofError,
        "client 1 does not prove",
    ),
    "upload of another client": (
        lambda one: _resigned(
            one, ciphertexts=one.upload(2).ciphertexts, proof=one.upload(2).proof
        ),
        InvalidProofError,
        "client 1 does not prove",
    ),
    "zero ciphertext": (_resigned_zero, MalformedMessageError, "malformed"),
    "no entry at all": (lambda _: [b"x"] * 4, MalformedMessageError, "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_set_that_breaks_a_rule_is_refused(name: str) -> None:
    make, error, message = REFUSED[name]
    one, state = make_round(), MemoryState()
    request = replace(_request(one), entries=make(one))

    with pytest.raises(error, match=message):
        one.opener(1, state).answer(request, None)

    assert not state.rows


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": bytes([1] * 16)},
        {"round": 2},
        {"model": bytes(32)},
        {"dim": 9},
        {"metrics": ["loss"]},
        {"run_config": bytes(32)},
        {"records": bytes(32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_set_under_another_fact_is_refused(change: dict[str, Any]) -> None:
    one = make_round()

    with pytest.raises(InvalidSignatureError):
        one.opener(1).answer(replace(_request(one), **change), None)


def test_uploads_of_two_phases_in_one_request_are_refused() -> None:
    # Training and evaluation of the same round and model.
    one = make_round()
    other = make_round(facts=make_facts(phase=EVALUATE, dim=0))
    nothing = np.zeros(0, dtype=np.float32)
    evaluated = [
        other.upload(i, replace(make_contribution(i), update=nothing))
        .entry()
        .to_bytes()
        for i in (2, 3, 4)
    ]
    request = replace(_request(one), entries=[*_entries(one, [1]), *evaluated])

    with pytest.raises(InvalidSignatureError):
        one.opener(1).answer(request, None)


def _powers(one: Round, request: OpenRequest, name: str) -> bytes:
    size, powers = one.manifest.keys.public_key.n_bytes, request.powers
    return {
        "none": b"",
        "one less": powers[size:],
        "one more": powers + powers[:size],
        "zero": bytes(size) + powers[size:],
        "n": int(one.manifest.keys.public_key.n).to_bytes(size, "big") + powers[size:],
        "another set": _request(one, 5).powers,
        "swapped": powers[size : 2 * size] + powers[:size] + powers[2 * size :],
    }[name]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("none", MalformedMessageError),
        ("one less", MalformedMessageError),
        ("one more", MalformedMessageError),
        ("zero", MalformedMessageError),
        ("n", MalformedMessageError),
        ("another set", DecryptionRefusedError),
        ("swapped", DecryptionRefusedError),
    ],
)
def test_powers_that_are_not_those_of_the_set_are_refused_and_leave_no_trace(
    name: str, error: type[CryptoError]
) -> None:
    one, state = make_round(), MemoryState()
    request = _request(one)

    with pytest.raises(error):
        one.opener(1, state).answer(
            replace(request, powers=_powers(one, request, name)), None
        )

    assert not state.rows


def test_answer_does_not_depend_on_who_computed_the_powers() -> None:
    one = make_round()
    total = added(one, 4)
    digest = total.partial_statement(1, []).set_digest
    holder = one.opener(1).holder
    ciphertexts = total.partial_statement(1, []).ciphertexts

    reply = one.opener(1).answer(total.open_request(), None)

    assert total.check_partial(reply, 1) == holder.partials(ciphertexts, digest)


def test_nothing_is_opened_in_mode_plain() -> None:
    one = make_round(mode="plain")

    with pytest.raises(DecryptionRefusedError, match="nothing is encrypted"):
        one.opener(1).answer(_request(one), one.sum.context)
