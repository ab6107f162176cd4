"""A key holder can prove partials that are right, and no others."""

import secrets
from dataclasses import replace
from typing import Any

import pytest
from gmpy2 import mpz

from crypto.dealer import deal
from crypto.errors import BadPartialError, InvalidProofError
from crypto.key_holder import KeyShare
from crypto.partial_proof import PartialStatement
from crypto.threshold import combine
from tests import proof_reference
from tests.crypto_group import (
    COMMITTEES,
    always,
    phe_ciphertext,
    safe_primes,
    shares_of,
)

CONTEXT, DIGEST = bytes([1] * 32), bytes(range(32))
PLAINTEXTS = (-(mpz(1) << 100) + 12345, mpz(7), mpz(0))
committees = pytest.mark.parametrize(("num_holders", "threshold"), COMMITTEES)


def _statement(share: KeyShare, **changes: Any) -> PartialStatement:
    """What a holder says about the sum of three ciphertexts."""
    key = share.public_key
    ciphertexts = [
        phe_ciphertext(key, m, jacobi=sign)
        for m, sign in zip(PLAINTEXTS, (1, -1, 1), strict=True)
    ]
    values: dict[str, Any] = {
        "public_key": key,
        "context": CONTEXT,
        "set_digest": DIGEST,
        "holder": share.index,
        "ciphertexts": ciphertexts,
        "partials": share.partials(ciphertexts, DIGEST),
    }
    return PartialStatement(**(values | changes))


def _share(place: int = 2) -> KeyShare:
    return shares_of(5, 4)[1][place - 1]


@committees
def test_every_holder_of_every_committee_can_prove(
    num_holders: int, threshold: int
) -> None:
    for share in shares_of(num_holders, threshold)[1]:
        statement = _statement(share)
        statement.verify(*share.prove(statement))


@pytest.mark.parametrize("count", [1, 2, 20])
def test_any_number_of_partials_is_proved_at_once(count: int) -> None:
    share = _share()
    ciphertexts = [_statement(share).ciphertexts[0]] * count
    partials = share.partials(ciphertexts, DIGEST)
    statement = _statement(share, ciphertexts=ciphertexts, partials=partials)

    challenge, response = share.prove(statement)

    statement.verify(challenge, response)
    assert (len(challenge), len(response)) == (16, (256 + 257 + 7) // 8)


def _cannot_prove(share: KeyShare, **changes: Any) -> bool:
    """Whether a holder fails to prove other facts, with a proof made for these."""
    statement = _statement(share, **changes)
    with pytest.raises(InvalidProofError) as caught:
        statement.verify(*share.prove(statement))
    return str(caught.value) == f"holder {statement.holder} cannot prove its partials"


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("change", ["flipped", "doubled", "one", "of another place"])
def test_one_wrong_partial_among_many_cannot_be_proved(place: int, change: str) -> None:
    share = _share()
    partials = list(_statement(share).partials)
    partials[place] = {
        "flipped": partials[place] ^ 1,
        "doubled": 2 * partials[place] % share.public_key.n,
        "one": mpz(1),
        "of another place": partials[(place + 1) % 3],
    }[change]

    assert _cannot_prove(share, partials=partials)


@pytest.mark.parametrize("name", ["zero", "multiple of p"])
def test_partial_that_is_not_invertible_cannot_be_proved(name: str) -> None:
    share = _share()
    bad = mpz(0) if name == "zero" else 5 * safe_primes(128)[0]
    partials = [bad, *_statement(share).partials[1:]]

    assert _cannot_prove(share, partials=partials)


def test_partials_for_another_set_cannot_be_proved() -> None:
    share = _share()
    partials = share.partials(_statement(share).ciphertexts, bytes(32))

    assert _cannot_prove(share, partials=partials)


def test_partials_of_another_holder_cannot_be_proved() -> None:
    assert _cannot_prove(_share(2), partials=_statement(_share(3)).partials)


def test_share_of_another_dealing_cannot_prove() -> None:
    p, q, *_ = safe_primes(128)
    other = deal(p, q, num_holders=5, threshold=4)[1][1]
    assert isinstance(other, KeyShare)
    foreign = replace(other, public_key=_share().public_key)

    assert _cannot_prove(foreign)


@pytest.mark.parametrize(
    "change",
    [
        {"context": bytes(32)},
        {"set_digest": bytes(32)},
        {"holder": 3},
        {"ciphertexts": [_statement(_share()).ciphertexts[i] for i in (1, 0, 2)]},
        {"partials": _statement(_share()).partials[::-1]},
        {"ciphertexts": [mpz(4)] * 3},
        {"partials": _statement(_share(3)).partials},
    ],
    ids=["round", "set", "holder", "order", "order of partials", "sum", "partials"],
)
def test_proof_holds_for_nothing_else(change: dict[str, Any]) -> None:
    share = _share()
    proof = share.prove(_statement(share))

    with pytest.raises(InvalidProofError):
        _statement(share, **change).verify(*proof)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("at", [0, 7, -1])
def test_changed_byte_of_a_proof_is_refused(part: int, at: int) -> None:
    share = _share()
    statement = _statement(share)
    proof = [bytearray(octets) for octets in share.prove(statement)]
    proof[part][at] ^= 1

    with pytest.raises(InvalidProofError):
        statement.verify(*(bytes(octets) for octets in proof))


@pytest.mark.parametrize(
    "change",
    [
        lambda z: b"\0" + z,
        lambda z: z[1:],
        lambda z: z + b"\0",
        lambda _: b"",
        lambda z: bytes([z[0] | 0x80]) + z[1:],
        lambda z: bytes([255] * len(z)),
    ],
    ids=["longer", "shorter", "shifted", "empty", "a bit more", "all ones"],
)
def test_response_of_another_length_is_refused(change: Any) -> None:
    share = _share()
    statement = _statement(share)
    challenge, response = share.prove(statement)

    with pytest.raises(InvalidProofError):
        statement.verify(challenge, change(response))


@pytest.mark.parametrize(("bits", "holds"), [(512, True), (513, False), (519, False)])
def test_response_beyond_its_bits_is_refused_though_its_equation_holds(
    bits: int, holds: bool
) -> None:
    # 513 bits in 65 bytes: seven bits to spare, which a prover must leave alone.
    share = _share()
    key, statement = share.public_key, _statement(share)
    proof = proof_reference.prove_partials(
        int(key.n),
        int(share.secret),
        head=statement.head,
        bases=(int(key.v), int(statement.base)),
        powers=(int(key.verification[share.index - 1]), int(statement.power)),
        mask=1 << bits,
    )

    if holds:
        statement.verify(*proof)
        return
    with pytest.raises(InvalidProofError):
        statement.verify(*proof)


def test_negated_partial_is_proved_and_harmless() -> None:
    # Proof and opening square every partial: -x is as good as x.
    share = _share()
    key = share.public_key
    partials = [key.n - x for x in _statement(share).partials]
    statement = _statement(share, partials=partials)

    statement.verify(*share.prove(statement))

    others = {one.index: _statement(one).partials for one in shares_of(5, 4)[1][2:]}
    opened = combine(statement.ciphertexts, others | {2: partials}, key, DIGEST)
    assert opened == list(PLAINTEXTS)


def test_proofs_of_one_statement_are_new_every_time() -> None:
    share = _share()

    assert share.prove(_statement(share)) != share.prove(_statement(share))


def test_proofs_with_a_broken_generator_do_not_give_the_share_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two answers with one mask would: the share is their difference, divided.
    share = _share()
    monkeypatch.setattr(secrets, "token_bytes", always(b"\7"))
    one = _statement(share)
    partials = share.partials(one.ciphertexts, bytes(32))
    two = _statement(share, set_digest=bytes(32), partials=partials)

    (e, z), (f, y) = (
        [int.from_bytes(part, "big") for part in share.prove(each)]
        for each in (one, two)
    )

    assert z - y != (e - f) * share.secret


@pytest.mark.parametrize("index", range(3))
def test_error_names_the_ciphertext_that_does_not_open(index: int) -> None:
    share = _share()
    statement = _statement(share)
    partials = {one.index: _statement(one).partials for one in shares_of(5, 4)[1][1:]}
    changed = list(partials[2])
    changed[index] ^= 1

    with pytest.raises(BadPartialError) as caught:
        combine(
            statement.ciphertexts, partials | {2: changed}, share.public_key, DIGEST
        )

    assert caught.value.index == index


def test_error_about_another_number_of_partials_names_no_ciphertext() -> None:
    statement = _statement(_share())
    partials = {one.index: _statement(one).partials for one in shares_of(5, 4)[1][1:]}
    partials[2] = partials[2][:1]

    with pytest.raises(BadPartialError) as caught:
        combine(statement.ciphertexts, partials, statement.public_key, DIGEST)

    assert caught.value.index is None


def test_response_of_another_length_is_refused_before_any_power() -> None:
    share = _share()
    challenge, _ = share.prove(_statement(share))
    statement = _statement(share)

    with pytest.raises(InvalidProofError):
        statement.verify(challenge, bytes([1]) * 1000)

    assert "base" not in vars(statement)
