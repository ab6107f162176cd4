"""Signatures name their client, and a sealed share opens for one client only."""

import json
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import InvalidSignatureError, KeyMismatchError
from crypto.identity import Identity, seal, verify_signature
from crypto.roster import Roster
from tests.crypto_group import identities

ALICE, BOB = identities(6)[:2]
ROSTER = Roster.of(identities(6), 5)


def test_sealed_message_opens_for_its_client() -> None:
    assert ALICE.open(seal(ALICE.sealing_public, b"a share")) == b"a share"


def test_empty_message_can_be_sealed() -> None:
    assert ALICE.open(seal(ALICE.sealing_public, b"")) == b""


def test_message_sealed_to_another_client_is_refused() -> None:
    sealed = seal(ALICE.sealing_public, b"a share")

    with pytest.raises(KeyMismatchError, match="was not sealed to client 2"):
        BOB.open(sealed)


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_flipped_bit_of_a_sealed_message_is_refused(at: int) -> None:
    sealed = bytearray(seal(ALICE.sealing_public, b"a share"))
    sealed[at] ^= 1

    with pytest.raises(KeyMismatchError, match="was not sealed to client 1"):
        ALICE.open(bytes(sealed))


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 47])
def test_truncated_sealed_message_is_refused(size: int) -> None:
    with pytest.raises(KeyMismatchError, match="was not sealed to client 1"):
        ALICE.open(seal(ALICE.sealing_public, b"a share")[:size])


def test_degenerate_ephemeral_key_is_refused() -> None:
    # The all-zero point makes every exchange zero; X25519 refuses it.
    with pytest.raises(KeyMismatchError, match="was not sealed to client 1"):
        ALICE.open(bytes(80))


def test_same_message_seals_differently() -> None:
    one, two = (seal(ALICE.sealing_public, b"a share") for _ in range(2))

    assert one[:32] != two[:32]
    assert one[32:] != two[32:]


def test_signature_verifies_under_its_own_key() -> None:
    verify_signature(ALICE.signing_public, ALICE.sign(b"message"), b"message")


@pytest.mark.parametrize(
    ("public", "signature", "message"),
    [
        (BOB.signing_public, ALICE.sign(b"message"), b"message"),
        (ALICE.signing_public, ALICE.sign(b"message"), b"massage"),
        (ALICE.signing_public, bytes(64), b"message"),
        (ALICE.signing_public, b"", b"message"),
        (b"", ALICE.sign(b"message"), b"message"),
        (bytes([255] * 32), ALICE.sign(b"message"), b"message"),
    ],
    ids=["other key", "other message", "zeros", "no signature", "no key", "no point"],
)
def test_signature_of_somebody_else_is_refused(
    public: bytes, signature: bytes, message: bytes
) -> None:
    with pytest.raises(InvalidSignatureError, match="the signature does not verify"):
        verify_signature(public, signature, message)


def test_identity_survives_the_trip_through_json() -> None:
    again = Identity.from_dict(json.loads(json.dumps(ALICE.to_dict())))

    assert again.to_dict() == ALICE.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "one"},
        {"client_id": None},
        {"signing_key": "zz"},
        {"signing_key": "00"},
        {"sealing_key": 5},
    ],
    ids=repr,
)
def test_damaged_identity_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(KeyMismatchError, match="not an identity of this protocol"):
        Identity.from_dict(ALICE.to_dict() | change)


@pytest.mark.parametrize("name", ["client_id", "signing_key", "sealing_key"])
def test_identity_without_a_field_is_refused(name: str) -> None:
    values = ALICE.to_dict()
    del values[name]

    with pytest.raises(KeyMismatchError, match="not an identity of this protocol"):
        Identity.from_dict(values)


def test_roster_verifies_the_signature_of_an_enrolled_client() -> None:
    ROSTER.verify(1, ALICE.sign(b"message"), b"message")


def test_signature_under_the_id_of_another_client_is_refused() -> None:
    with pytest.raises(InvalidSignatureError, match="does not verify"):
        ROSTER.verify(2, ALICE.sign(b"message"), b"message")


def test_client_outside_the_roster_is_refused() -> None:
    with pytest.raises(InvalidSignatureError, match="client 7 is not on the roster"):
        ROSTER.verify(7, ALICE.sign(b"message"), b"message")


def test_committee_is_in_its_order() -> None:
    assert ROSTER.holder_ids == (1, 2, 3, 4, 5)


def test_holder_index_starts_at_one() -> None:
    assert [ROSTER.holder_index(i) for i in (1, 5)] == [1, 5]


def test_client_outside_the_committee_has_no_index() -> None:
    with pytest.raises(KeyMismatchError, match="client 6 is not a key holder"):
        ROSTER.holder_index(6)


def test_roster_survives_the_trip_through_json() -> None:
    again = Roster.from_dict(json.loads(json.dumps(ROSTER.to_dict())))

    assert (again, again.digest()) == (ROSTER, ROSTER.digest())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clients": None}, "not a roster"),
        ({"clients": []}, "not a roster"),
        ({"clients": {"one": "00" * 32}}, "not a roster"),
        ({"clients": {"1": "zz"}}, "not a roster"),
        ({"holders": None}, "not a roster"),
        ({"holders": [1]}, "not a roster"),
        ({"holders": [[1, "00", 2]]}, "not a roster"),
        ({"clients": {"1": "00" * 31}}, "not 32 bytes"),
        ({"holders": [[1, "00" * 33]]}, "not 32 bytes"),
        ({"clients": {"0": "00" * 32}, "holders": []}, "out of range"),
        ({"clients": {str(1 << 32): "00" * 32}, "holders": []}, "out of range"),
        ({"holders": [[7, "00" * 32]]}, "a key holder is not on the roster"),
        ({"holders": [[1, "00" * 32]] * 2}, "a client is a key holder twice"),
        (
            {"clients": {"1": "07" * 32, "2": "07" * 32}, "holders": []},
            "two clients on the roster have the same key",
        ),
    ],
)
def test_damaged_roster_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KeyMismatchError, match=message):
        Roster.from_dict(ROSTER.to_dict() | change)


def test_ids_and_keys_cannot_trade_bytes_in_the_digest() -> None:
    one = replace(ROSTER, clients={**ROSTER.clients, 7: bytes(32)})
    two = replace(ROSTER, holders=(*ROSTER.holders, (6, bytes(32))))

    assert one.digest() != two.digest()
