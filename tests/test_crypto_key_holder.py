"""A share or a whole key that belongs elsewhere is refused."""

import json
from typing import Any

import pytest
from gmpy2 import mpz

from crypto.dealer import deal
from crypto.errors import KeyMismatchError
from crypto.key_holder import KeyShare, WholeKey, holder_from_dict
from crypto.public_key import PublicKey
from tests.crypto_group import dealt, safe_primes, shares_of

P, Q = safe_primes(128)[:2]
OTHERS = safe_primes(128)[2:]


def _key() -> PublicKey:
    return dealt(5, 4)[0]


def test_share_of_another_place_is_refused() -> None:
    key, shares = shares_of(5, 4)

    with pytest.raises(KeyMismatchError) as caught:
        KeyShare(key, 2, shares[0].secret).verify()

    assert str(caught.value) == f"share 2 does not belong to key {key.fingerprint}"


def test_share_of_another_key_is_refused() -> None:
    key, _ = shares_of(5, 4)
    _, others = deal(*OTHERS, num_holders=5, threshold=4)
    assert isinstance(others[0], KeyShare)

    with pytest.raises(KeyMismatchError, match="share 1 does not belong"):
        KeyShare(key, 1, others[0].secret).verify()


@pytest.mark.parametrize("index", [0, -1, 6])
def test_share_of_a_place_outside_the_committee_is_refused(index: int) -> None:
    key, shares = shares_of(5, 4)

    with pytest.raises(KeyMismatchError, match="does not belong"):
        KeyShare(key, index, shares[0].secret).verify()


def test_share_survives_the_trip_through_json() -> None:
    key, shares = shares_of(5, 4)

    stored = json.dumps(shares[2].to_dict())

    assert holder_from_dict(json.loads(stored), key) == shares[2]


def test_whole_key_survives_the_trip_through_json() -> None:
    key, (holder,) = deal(P, Q, num_holders=1, threshold=1)

    stored = json.dumps(holder.to_dict())

    assert holder_from_dict(json.loads(stored), key) == holder


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"index": 1},
        {"index": 1, "share": "0"},
        {"index": 1, "share": "-5"},
        {"index": 1, "share": "5"},
        {"index": 1, "share": ""},
        {"index": 1, "share": 5},
        {"index": None, "share": "5"},
        {"p": "5"},
        {"p": "5", "q": None},
        {"p": "5", "q": "7"},
        5,
        None,
    ],
    ids=repr,
)
def test_damaged_share_is_refused(values: Any) -> None:
    with pytest.raises(KeyMismatchError):
        holder_from_dict(values, _key())


@pytest.mark.parametrize(
    ("p", "q"), [(1, P * Q), (P * Q, 1), (-P, -Q), (P, Q + 2), OTHERS]
)
def test_factors_that_are_none_of_n_are_refused(p: mpz, q: mpz) -> None:
    key, _ = deal(P, Q, num_holders=1, threshold=1)

    with pytest.raises(KeyMismatchError, match=f"belong to key {key.fingerprint}"):
        WholeKey(key, mpz(p), mpz(q)).verify()
