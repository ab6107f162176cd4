"""Whoever gave a wrong partial is named, by other subsets or by the proofs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gmpy2 import mpz

from clients.state import ClientState
from crypto.aggregation import RoundSum
from crypto.errors import (
    BadPartialError,
    ContextMismatchError,
    CryptoError,
    DecryptionRefusedError,
    InvalidProofError,
    KeyMismatchError,
    RoundClosedError,
    SecondSetError,
)
from crypto.opening import ServedSets
from crypto.wire import PartialProof
from tests.crypto_group import (
    MemoryState,
    Round,
    added,
    make_facts,
    make_round,
    subsets,
)


def _answered(
    one: Round, bad: int, change: int = 1
) -> tuple[RoundSum, dict[int, list[mpz]], dict[int, PartialProof]]:
    """Have all five holders answer and prove; one of them changes a partial."""
    total = added(one, 4)
    request, partials, proofs = total.open_request(), {}, {}
    for client_id in range(1, 6):
        opener = one.opener(client_id)
        reply = opener.answer(request, total.context)
        partials[client_id] = total.check_partial(reply, client_id)
        proofs[client_id] = opener.prove(request, total.context)
    partials[bad][1] ^= change
    return total, partials, proofs


@pytest.mark.parametrize("bad", range(1, 6))
def test_holder_of_a_bad_partial_is_named_by_other_subsets(bad: int) -> None:
    total, partials, _ = _answered(make_round(), bad)
    with pytest.raises(BadPartialError) as caught:
        total.total({i: partials[i] for i in partials if i != bad % 5 + 1})

    index = caught.value.index
    assert index == 1
    opening = [
        chosen
        for chosen in subsets(range(1, 6), 4)
        if total.opens(index, {i: partials[i] for i in chosen})
    ]
    assert opening == [tuple(i for i in range(1, 6) if i != bad)]


@pytest.mark.parametrize("bad", range(1, 6))
def test_holder_of_a_bad_partial_is_named_by_its_proof(bad: int) -> None:
    total, partials, proofs = _answered(make_round(), bad)
    named = []
    for client_id, proof in proofs.items():
        arrived = PartialProof.from_bytes(proof.to_bytes())
        try:
            total.check_partial_proof(arrived, client_id, partials[client_id])
        except InvalidProofError:
            named.append(client_id)

    assert named == [bad]


def test_every_subset_opens_when_all_partials_are_right() -> None:
    total, partials, _ = _answered(make_round(), 1, change=0)

    for chosen in subsets(range(1, 6), 4):
        for index in range(total.num_ciphertexts):
            assert total.opens(index, {i: partials[i] for i in chosen})


@pytest.mark.parametrize(
    ("change", "client_id", "error"),
    [
        ({"holder": 3}, 2, InvalidProofError),
        ({}, 3, InvalidProofError),
        ({"set_digest": bytes(32)}, 2, InvalidProofError),
        ({"response": b""}, 2, InvalidProofError),
        ({}, 6, KeyMismatchError),
    ],
    ids=["place", "sender", "set", "response", "no holder"],
)
def test_proof_of_somebody_or_something_else_is_refused(
    change: dict[str, Any], client_id: int, error: type[CryptoError]
) -> None:
    total, partials, proofs = _answered(make_round(), 1, change=0)

    with pytest.raises(error):
        total.check_partial_proof(replace(proofs[2], **change), client_id, partials[2])


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> ServedSets:
    if request.param == "memory":
        return MemoryState()
    return ClientState.create(tmp_path / "state.sqlite")


def test_holder_proves_only_what_it_answered(state: ServedSets) -> None:
    one = make_round()

    with pytest.raises(DecryptionRefusedError, match="there is no answer to prove"):
        one.opener(1, state).prove(added(one, 4).open_request(), None)


def test_holder_does_not_prove_about_another_set(state: ServedSets) -> None:
    one = make_round()
    one.opener(1, state).answer(added(one, 4).open_request(), None)

    with pytest.raises(SecondSetError):
        one.opener(1, state).prove(added(one, 5).open_request(), None)


def test_holder_does_not_prove_about_a_round_that_it_missed(state: ServedSets) -> None:
    one, two = make_round(), make_round(facts=make_facts(round=2))
    two.opener(1, state).answer(added(two, 4).open_request(), None)

    with pytest.raises(RoundClosedError):
        one.opener(1, state).prove(added(one, 4).open_request(), None)


def test_holder_does_not_prove_for_another_context(state: ServedSets) -> None:
    one = make_round()
    request = added(one, 4).open_request()
    one.opener(1, state).answer(request, None)

    with pytest.raises(ContextMismatchError):
        one.opener(1, state).prove(request, bytes(32))


def test_holder_proves_after_a_restart(tmp_path: Path) -> None:
    one, path = make_round(), tmp_path / "state.sqlite"
    total = added(one, 4)
    request = total.open_request()
    reply = one.opener(1, ClientState.create(path)).answer(request, None)

    proof = one.opener(1, ClientState(path)).prove(request, None)

    total.check_partial_proof(proof, 1, total.check_partial(reply, 1))


def test_single_holder_proves_by_answering() -> None:
    one = make_round(num_holders=1, threshold=1, max_corrupt=0)
    opener, request = one.opener(1), added(one, 4).open_request()
    opener.answer(request, None)

    with pytest.raises(DecryptionRefusedError, match="there is no answer to prove"):
        opener.prove(request, None)
