"""Attacks with uploads: forged, copied, replayed, relabelled or broken ones.

Every one is put before key holders, who trust the server with nothing. Up to two
clients collude with the server and sign what it likes.
"""

from collections.abc import Callable
from dataclasses import replace

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

import crypto.entries
from crypto.context import RoundFacts
from crypto.errors import (
    BadPartialError,
    CryptoError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedMessageError,
    SecondSetError,
)
from crypto.identity import Identity
from crypto.knowledge import Statement
from crypto.manifest import Manifest
from crypto.memo import Memo
from crypto.roster import Roster
from crypto.wire import Entry, pack_ciphertexts
from tests.attack_table import Attack
from tests.cheating_server import CheatingServer, integers, quorum, signed, uploads
from tests.crypto_group import (
    Round,
    identities,
    make_contribution,
    make_facts,
    make_round,
    safe_primes,
)


def without_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the check of proofs of plaintext knowledge off."""
    monkeypatch.setattr(crypto.entries, "verify_knowledge", lambda *_: None)
    monkeypatch.setattr(crypto.entries, "proven", Memo())  # nor is it remembered


def without_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the check of clients' signatures off."""
    monkeypatch.setattr(Roster, "verify", lambda *_: None)


def without_id_in_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the client id out of what a proof is bound to."""
    real = Statement.challenges

    def challenges(statement: Statement, commitment: bytes, count: int) -> list[int]:
        return real(replace(statement, client_id=0), commitment, count)

    monkeypatch.setattr(Statement, "challenges", challenges)


@pytest.mark.attack("a colluder submits the inverse product of the others")
def test_inverse_product(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_round()
    server, entries = CheatingServer(one), uploads(one, 1, 2, 3, 4)
    key, colluder = one.manifest.keys.public_key, identities(6)[3]
    inverse = [gmpy2.invert(c, key.n_squared) for c in server.total(entries[1:3])]
    entries[3] = signed(
        entries[3],
        colluder,
        one.sum.context,
        ciphertexts=pack_ciphertexts(inverse, key),
    )

    with monkeypatch.context() as off:
        without_proofs(off)
        leaked = server.open(entries, quorum(one))
    assert (leaked == integers(one, 1)).all()
    attack.leaked("client 1's update: the sum of four is nothing else")

    with attack.refused(InvalidProofError, "client 4 does not prove"):
        server.open(entries, quorum(one))


@pytest.mark.attack("colluders copy another client's ciphertexts and proof")
def test_copied_ciphertexts_and_proof(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_round()
    server = CheatingServer(one)

    def copies() -> list[Entry]:
        (victim,) = uploads(one, 1)
        context = one.sum.context
        return [victim, *(signed(victim, i, context) for i in identities(6)[1:4])]

    with monkeypatch.context() as off:
        without_id_in_proofs(off)
        leaked = server.open(copies(), quorum(one))
    assert (leaked == 4 * integers(one, 1)).all()
    attack.leaked("client 1's update, times four")

    with attack.refused(InvalidProofError, "client [234] does not prove"):
        server.open(copies(), quorum(one))


@pytest.mark.attack("an old round's ciphertexts are replayed in a new one")
def test_replayed_ciphertexts(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise a second round opens the second set that the first one refuses.
    one = make_round()
    two = replace(one, facts=make_facts(round=2))
    server, later = CheatingServer(one), CheatingServer(two)
    real = RoundFacts.context

    def of_any_round(facts: RoundFacts, manifest: Manifest) -> bytes:
        return real(replace(facts, round=1), manifest)

    with monkeypatch.context() as off:
        off.setattr(RoundFacts, "context", of_any_round)
        entries, holders = uploads(one, 1, 2, 3, 4, 5), quorum(one)
        first = server.open(entries, holders)
        leaked = first - later.open(entries[:4], holders)
    assert (leaked == integers(one, 5)).all()
    attack.leaked("client 5's update, as the difference of two rounds")

    holders = quorum(one)
    server.open(entries, holders)
    with attack.refused(InvalidSignatureError):
        later.open(entries[:4], holders)
    with pytest.raises(SecondSetError):
        server.open(entries[:4], holders)


@pytest.mark.attack("one upload under other clients' ids")
def test_swapped_client_ids(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_round()
    server = CheatingServer(one)

    def relabelled() -> list[Entry]:
        (victim,) = uploads(one, 1)
        return [replace(victim, client_id=i) for i in (1, 2, 3, 4)]

    with monkeypatch.context() as off:
        without_signatures(off)
        with pytest.raises(InvalidProofError):  # the proof names its client, too
            server.open(relabelled(), quorum(one))
        without_id_in_proofs(off)
        leaked = server.open(relabelled(), quorum(one))
    assert (leaked == 4 * integers(one, 1)).all()
    attack.leaked("client 1's update, times four")

    with attack.refused(InvalidSignatureError, "does not verify"):
        server.open(relabelled(), quorum(one))


@pytest.mark.attack("signatures by keys outside the roster")
def test_signatures_outside_the_roster(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server makes up three clients, with updates that it knows.
    one = make_round()
    server, victim = CheatingServer(one), uploads(one, 1)

    def made_up(*ids: int) -> list[Entry]:
        strangers = [Identity.create(i) for i in ids]
        return [
            one.upload(i.client_id, make_contribution(i.client_id), signer=i).entry()
            for i in strangers
        ]

    with monkeypatch.context() as off:
        without_signatures(off)
        total = server.open([*victim, *made_up(7, 8, 9)], quorum(one))
    assert (total - integers(one, 7, 8, 9) == integers(one, 1)).all()
    attack.leaked("client 1's update, less the made-up ones")

    with attack.refused(InvalidSignatureError, "is not on the roster"):
        server.open([*victim, *made_up(7, 8, 9)], quorum(one))
    with pytest.raises(InvalidSignatureError, match="does not verify"):
        server.open([*victim, *made_up(2, 3, 4)], quorum(one))


# What a colluding client puts in the place of its first ciphertext; what becomes of the
# round without the checks; what that means.
BROKEN: dict[str, tuple[Callable[[Round], mpz], type[CryptoError] | None, str]] = {
    "a ciphertext of zero": (
        lambda _: mpz(0),
        MalformedMessageError,
        "no data, but the round: a partial of zero is none",
    ),
    "a ciphertext that shares a factor with n": (
        lambda _: safe_primes(128)[0],
        BadPartialError,
        "no data, but the round (its sender could decrypt anyway)",
    ),
    "a ciphertext out of range": (
        lambda one: one.manifest.keys.public_key.n_squared + 1,
        None,
        "no data: it counts as its rest mod n squared",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.attack(n)) for n in BROKEN]
)
def test_broken_ciphertext(
    name: str, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, error, leak = BROKEN[name]
    one = make_round()
    server, entries = CheatingServer(one), uploads(one, 1, 2, 3, 4, 5)
    key, rest = one.manifest.keys.public_key, server.ciphertexts(entries[4])[1:]
    broken = pack_ciphertexts([make(one), *rest], key)
    entries[4] = signed(
        entries[4], identities(6)[4], one.sum.context, ciphertexts=broken
    )

    with monkeypatch.context() as off:
        off.setattr(
            crypto.entries,
            "unpack_ciphertexts",
            lambda data, *_: server.ciphertexts(replace(entries[4], ciphertexts=data)),
        )
        with pytest.raises(InvalidProofError):  # it is about other bytes
            server.open(entries, quorum(one))
        without_proofs(off)
        if error is not None:
            with pytest.raises(error):
                server.open(entries, quorum(one))
        else:
            opened = server.open(entries, quorum(one))
            first = one.manifest.params.slots_per_plaintext
            assert (opened[:first] == integers(one, 1, 2, 3, 4)[:first]).all()
    attack.leaked(leak)

    with attack.refused(MalformedMessageError):
        server.open(entries, quorum(one))


@pytest.mark.attack("a ciphertext too few, too many or cut off")
def test_ciphertexts_of_another_length(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_round()
    server, (*others, last) = CheatingServer(one), uploads(one, 1, 2, 3, 4, 5)
    size = 2 * one.manifest.keys.public_key.n_bytes

    def resized(change: int) -> list[Entry]:
        data = (last.ciphertexts + bytes(size))[: len(last.ciphertexts) + change]
        client, context = identities(6)[4], one.sum.context
        return [*others, signed(last, client, context, ciphertexts=data)]

    def as_many(data: bytes, count: int, *_: object) -> list[mpz]:
        found = server.ciphertexts(replace(last, ciphertexts=data))
        return [*found, mpz(1)][:count]

    with monkeypatch.context() as off:
        off.setattr(crypto.entries, "unpack_ciphertexts", as_many)
        without_proofs(off)
        short, long = (server.open(resized(n), quorum(one)) for n in (-size, size))
    assert (long == integers(one, 1, 2, 3, 4, 5)).all()
    lacking = np.count_nonzero(short != integers(one, 1, 2, 3, 4, 5))
    assert lacking
    attack.leaked(f"no data, but {lacking} of {short.size} integers lack the client")

    for change in (-size, -1, 1, size):
        with attack.refused(MalformedMessageError):
            server.open(resized(change), quorum(one))
