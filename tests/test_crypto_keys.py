"""A key that a careless or dishonest dealer could make is refused."""

import json
import secrets
from dataclasses import replace
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz

from crypto import dealer, public_key
from crypto.dealer import _deal_with, create_keys, deal
from crypto.errors import KeyMismatchError, ParameterError
from crypto.key_holder import KeyShare
from crypto.primes import safe_prime
from crypto.public_key import PublicKey, derive_v
from tests.crypto_group import COMMITTEES, dealt, safe_primes

P, Q = safe_primes(128)[:2]
OTHERS = safe_primes(128)[2:]


def _key() -> PublicKey:
    return dealt(5, 4)[0]


@pytest.mark.parametrize(("num_holders", "threshold"), [(1, 1), *COMMITTEES])
def test_honest_dealing_passes_every_check(num_holders: int, threshold: int) -> None:
    key, holders = deal(P, Q, num_holders=num_holders, threshold=threshold)

    key.verify()
    for holder in holders:
        holder.verify()
    assert [holder.index for holder in holders] == list(range(1, num_holders + 1))


@pytest.mark.parametrize("holder", range(5))
def test_one_wrong_verification_value_is_refused(holder: int) -> None:
    values = list(_key().verification)
    values[holder] = values[holder] * 4 % _key().n

    with pytest.raises(KeyMismatchError, match="do not belong together"):
        replace(_key(), verification=tuple(values)).verify()


def test_swapped_verification_values_are_refused() -> None:
    one, two, *rest = _key().verification

    with pytest.raises(KeyMismatchError, match="do not belong together"):
        replace(_key(), verification=(two, one, *rest)).verify()


def test_shares_on_a_steeper_polynomial_are_refused() -> None:
    key, _ = deal(P, Q, num_holders=5, threshold=5)

    with pytest.raises(KeyMismatchError, match="do not belong together"):
        replace(key, threshold=4).verify()


def test_shares_of_another_secret_are_refused() -> None:
    # Doubling every share keeps them on one polynomial, but not above 1/n.
    key = _key()
    doubled = tuple(value**2 % key.n for value in key.verification)

    with pytest.raises(KeyMismatchError, match="do not belong together"):
        replace(key, verification=doubled).verify()


def test_base_that_is_not_the_hash_is_refused() -> None:
    # Consistent in itself: v and every v_i raised to the same power.
    key = _key()
    chosen = replace(
        key,
        v=key.v**2 % key.n,
        verification=tuple(value**2 % key.n for value in key.verification),
    )

    with pytest.raises(KeyMismatchError, match="not the hash of its seed"):
        chosen.verify()


def test_base_of_one_with_random_shares_is_refused() -> None:
    # All v_i = 1 satisfy every equation and prove nothing.
    ones = replace(_key(), v=mpz(1), verification=(mpz(1),) * 5)
    ones._check_verification()

    with pytest.raises(KeyMismatchError, match="not the hash of its seed"):
        ones.verify()


@pytest.mark.parametrize("value", [0, -1, "n", "n + v"])
def test_verification_value_out_of_range_is_refused(value: Any) -> None:
    key = _key()
    numbers = {"n": key.n, "n + v": key.n + key.verification[0]}
    wrong = (mpz(numbers.get(value, value)), *key.verification[1:])

    with pytest.raises(KeyMismatchError, match="out of range"):
        replace(key, verification=wrong).verify()


@pytest.mark.parametrize("place", [0, 4])
def test_verification_value_that_is_not_invertible_is_refused(place: int) -> None:
    # Its holder could prove nothing: the proof divides by it.
    values = list(_key().verification)
    values[place] = 3 * P

    with pytest.raises(KeyMismatchError, match="value is not invertible"):
        replace(_key(), verification=tuple(values)).verify()


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_seed_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(KeyMismatchError, match="seed of y and v is not 32 bytes"):
        replace(_key(), y_seed=bytes(size)).verify()


@pytest.mark.parametrize("count", [0, 4, 6])
def test_every_holder_needs_one_verification_value(count: int) -> None:
    values = (_key().verification * 2)[:count]

    with pytest.raises(KeyMismatchError, match="one verification value for every"):
        replace(_key(), verification=values).verify()


@pytest.mark.parametrize(
    ("num_holders", "threshold"), [(5, 0), (5, -1), (5, 6), (0, 0), (256, 4)]
)
def test_impossible_committee_of_a_key_is_refused(
    num_holders: int, threshold: int
) -> None:
    key = replace(_key(), num_holders=num_holders, threshold=threshold)

    with pytest.raises(KeyMismatchError, match=f"{threshold} of {num_holders} is imp"):
        key.verify()


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (mpz(-15), "not a Paillier modulus"),
        (mpz(0), "not a Paillier modulus"),
        (mpz(1), "not a Paillier modulus"),
        (2 * P, "even"),
        (P, "a prime"),
        (P * P, "a power"),
        (P**3, "a power"),
        (3 * P, "small factor"),
        (1048573 * P * Q, "small factor"),
    ],
    ids=["-15", "0", "1", "even", "prime", "square", "cube", "3", "below 2**20"],
)
def test_modulus_of_a_wrong_form_is_refused(n: mpz, message: str) -> None:
    with pytest.raises(KeyMismatchError, match=message):
        replace(_key(), n=n).verify()


def test_base_of_the_blinding_that_is_not_invertible_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed = public_key.hash_to_integer

    def multiple_of_p(label: bytes, seed: bytes, n: mpz) -> mpz:
        return 3 * P if label == b"SA/v1/y" else hashed(label, seed, n)

    monkeypatch.setattr(public_key, "hash_to_integer", multiple_of_p)

    with pytest.raises(KeyMismatchError, match="y is not invertible"):
        _key().verify()


def test_base_of_the_checks_that_is_not_invertible_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(public_key, "derive_v", lambda _seed, _n: 3 * P)

    with pytest.raises(KeyMismatchError, match="v is not the hash"):
        replace(_key(), v=3 * P).verify()


def test_primes_that_make_no_paillier_key_are_refused() -> None:
    # 11 = 2 * 5 + 1: 5 divides n = 55 and phi(n) = 40.
    with pytest.raises(ParameterError, match="do not make a Paillier key"):
        deal(mpz(5), mpz(11), num_holders=3, threshold=2)


def test_dealings_of_one_key_differ() -> None:
    (one, _), (two, _) = (deal(P, Q, num_holders=3, threshold=2) for _ in range(2))

    assert (one.y_seed, one.verification) != (two.y_seed, two.verification)


def test_coefficients_are_drawn_below_the_order_of_the_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounds: list[int] = []

    def draw(bound: int) -> int:
        bounds.append(bound)
        return bound - 1

    monkeypatch.setattr(secrets, "randbelow", draw)
    deal(P, Q, num_holders=5, threshold=4)

    assert bounds == 3 * [(P // 2) * (Q // 2)]


def test_share_is_the_polynomial_at_its_place() -> None:
    order = (P // 2) * (Q // 2)
    _, holders = _deal_with(P, Q, 3, coefficients=[mpz(5)], y_seed=bytes(32))

    secret = gmpy2.invert(P * Q, order)
    shares = [holder.secret for holder in holders if isinstance(holder, KeyShare)]
    assert shares == [(secret + 5 * i) % order for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("num_holders", "threshold"), [(3, 0), (3, 4), (0, 0), (3, -1)]
)
def test_impossible_threshold_is_refused_before_primes_are_searched(
    num_holders: int, threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealer, "safe_primes", pytest.fail)

    with pytest.raises(ParameterError, match=f"{threshold} of {num_holders} is imp"):
        create_keys(key_bits=256, num_holders=num_holders, threshold=threshold)


def test_created_keys_have_the_size_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(bits: int, tick: Any) -> tuple[mpz, mpz]:
        tick()
        return safe_prime(bits), safe_prime(bits)

    monkeypatch.setattr(dealer, "safe_primes", search)
    ticks: list[int] = []

    key, holders = create_keys(
        key_bits=96, num_holders=3, threshold=2, tick=lambda: ticks.append(1)
    )

    assert (key.key_bits, len(holders), ticks) == (96, 3, [1])


def test_public_key_survives_the_trip_through_json() -> None:
    again = PublicKey.from_dict(json.loads(json.dumps(_key().to_dict())))

    assert (again, again.digest()) == (_key(), _key().digest())


@pytest.mark.parametrize(
    "change",
    [
        {"n": "not hex"},
        {"n": 15},
        {"n": None},
        {"num_holders": "many"},
        {"threshold": None},
        {"y_seed": "zz"},
        {"v": ""},
        {"verification": 5},
        {"verification": [1]},
    ],
    ids=repr,
)
def test_damaged_public_key_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(KeyMismatchError, match="not a public key of this protocol"):
        PublicKey.from_dict(_key().to_dict() | change)


@pytest.mark.parametrize("name", _key().to_dict())
def test_public_key_without_a_field_is_refused(name: str) -> None:
    values = _key().to_dict()
    del values[name]

    with pytest.raises(KeyMismatchError, match="not a public key of this protocol"):
        PublicKey.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        {"n": safe_primes(128)[2] * safe_primes(128)[3]},
        {"num_holders": 6},
        {"threshold": 5},
        {"y_seed": bytes(32)},
        {"y_seed": b""},
        {"v": mpz(4)},
        {"verification": (mpz(4),) * 5},
        {"verification": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_changes_the_digest_of_a_key(change: dict[str, Any]) -> None:
    assert replace(_key(), **change).digest() != _key().digest()


def test_fingerprint_is_the_start_of_the_digest() -> None:
    assert _key().fingerprint == _key().digest().hex()[:16]


def test_test_primes_are_safe_primes() -> None:
    for bits in (128, 256, 1024, 1536):
        for p in safe_primes(bits):
            assert gmpy2.is_prime(p)
            assert gmpy2.is_prime(p // 2)
            assert p >> (bits - 2) == 3


def test_base_v_is_a_square_of_the_hash() -> None:
    v = derive_v(_key().y_seed, _key().n)

    assert gmpy2.jacobi(v, P) == gmpy2.jacobi(v, Q) == 1
