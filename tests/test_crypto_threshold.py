"""Any `threshold` key holders open a sum, fewer open nothing, wrong partials show."""

import math
import secrets
from collections.abc import Sequence

import gmpy2
import pytest
from gmpy2 import mpz

from crypto import paillier
from crypto.dealer import deal
from crypto.errors import BadPartialError, NotEnoughSharesError
from crypto.key_holder import KeyShare
from crypto.public_key import PublicKey, lagrange
from crypto.randomness import RandomStream
from crypto.threshold import combine
from tests.crypto_group import (
    COMMITTEES,
    phe_ciphertext,
    safe_primes,
    shares_of,
    subsets,
    whole_key,
)

DIGEST = bytes(range(32))
PLAINTEXT = -(mpz(1) << 100) + 12345
committees = pytest.mark.parametrize(("num_holders", "threshold"), COMMITTEES)


def _partials(
    shares: Sequence[KeyShare], ciphertexts: list[mpz], digest: bytes = DIGEST
) -> dict[int, list[mpz]]:
    return {share.index: share.partials(ciphertexts, digest) for share in shares}


@committees
@pytest.mark.parametrize("jacobi", [1, -1])
def test_every_subset_opens_the_same_value(
    num_holders: int, threshold: int, jacobi: int
) -> None:
    key, shares = shares_of(num_holders, threshold)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=jacobi)
    partials = _partials(shares, [ciphertext])

    for chosen in subsets(range(1, num_holders + 1), threshold):
        own = {i: partials[i] for i in chosen}
        assert combine([ciphertext], own, key, DIGEST) == [PLAINTEXT]


@committees
def test_one_holder_less_than_the_threshold_opens_nothing(
    num_holders: int, threshold: int
) -> None:
    key, shares = shares_of(num_holders, threshold)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=1)
    partials = _partials(shares[: threshold - 1], [ciphertext])

    with pytest.raises(NotEnoughSharesError) as caught:
        combine([ciphertext], partials, key, DIGEST)

    assert str(caught.value) == (
        f"{threshold - 1} partial decryptions of {threshold} needed"
    )


@committees
@pytest.mark.parametrize("forged", [1, 2, 12345, -1])
def test_forged_partial_opens_nothing(
    num_holders: int, threshold: int, forged: int
) -> None:
    key, shares = shares_of(num_holders, threshold)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=1)
    partials = _partials(shares[: threshold - 1], [ciphertext])

    with pytest.raises(BadPartialError, match="do not open the sum"):
        combine(
            [ciphertext],
            partials | {num_holders: [forged % key.n]},
            key,
            DIGEST,
        )


@committees
def test_lagrange_coefficients_are_integers_that_recover_the_polynomial(
    num_holders: int, threshold: int
) -> None:
    delta = math.factorial(num_holders)
    polynomial = [secrets.randbelow(1000) for _ in range(threshold)]
    values = [
        sum(a * x**k for k, a in enumerate(polynomial)) for x in range(num_holders + 1)
    ]

    for chosen in subsets(range(1, num_holders + 1), threshold):
        for at in range(num_holders + 1):
            total = sum(
                lagrange(delta, list(chosen), i, at=at) * values[i] for i in chosen
            )
            assert total == delta * values[at]


def _dj_opens(
    ciphertext: mpz, chosen: Sequence[int], num_holders: int, threshold: int
) -> mpz:
    """Open in DJ mode (Damgard-Jurik 2001, s = 1) with a fresh dealing."""
    p, q, *_ = safe_primes(128)
    n, order = p * q, (p // 2) * (q // 2)
    modulus, n_squared = n * order, n * n
    # d = 0 mod p'q', d = 1 mod n
    d = order * gmpy2.invert(order, n) % modulus
    polynomial = [d] + [secrets.randbelow(int(modulus)) for _ in range(threshold - 1)]
    shares = {
        i: sum(a * i**k for k, a in enumerate(polynomial)) % modulus
        for i in range(1, num_holders + 1)
    }
    delta = math.factorial(num_holders)
    product = mpz(1)
    for i in chosen:
        part = gmpy2.powmod(ciphertext, 2 * delta * shares[i], n_squared)
        exponent = 2 * lagrange(delta, list(chosen), i)
        product = product * gmpy2.powmod(part, exponent, n_squared) % n_squared
    value = (product - 1) // n * gmpy2.invert(4 * delta * delta, n) % n
    return value - n if 2 * value > n else value


@committees
def test_root_mode_agrees_with_the_mode_of_damgard_and_jurik(
    num_holders: int, threshold: int
) -> None:
    key, shares = shares_of(num_holders, threshold)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=-1)
    chosen = list(range(2, threshold + 2))

    partials = _partials(
        [share for share in shares if share.index in chosen], [ciphertext]
    )

    assert combine([ciphertext], partials, key, DIGEST) == [
        _dj_opens(ciphertext, chosen, num_holders, threshold)
    ]


def test_our_own_ciphertexts_open_in_order() -> None:
    key, shares = shares_of(5, 4)
    plaintexts = [mpz(m) for m in (0, 1, -1, 2**200, -(2**200))]
    stream = RandomStream(secrets.token_bytes(32))
    alphas = paillier.draw_alphas(len(plaintexts), key, stream)
    ciphertexts = paillier.encrypt(plaintexts, alphas, key)

    opened = combine(ciphertexts, _partials(shares, ciphertexts), key, DIGEST)

    assert opened == plaintexts


def test_opening_never_uses_more_partials_than_needed() -> None:
    key, shares = shares_of(5, 4)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=1)
    partials = _partials(shares, [ciphertext]) | {5: [mpz(1)]}

    assert combine([ciphertext], partials, key, DIGEST) == [PLAINTEXT]


def _two() -> tuple[PublicKey, list[mpz], dict[int, list[mpz]]]:
    key, shares = shares_of(5, 4)
    ciphertexts = [
        phe_ciphertext(key, PLAINTEXT, jacobi=1),
        phe_ciphertext(key, mpz(7), jacobi=-1),
    ]
    return key, ciphertexts, _partials(shares[:4], ciphertexts)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("holder", [1, 4])
def test_flipped_partial_is_detected(holder: int, index: int) -> None:
    key, ciphertexts, partials = _two()
    partials[holder][index] ^= 1

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


def test_negated_partial_is_harmless() -> None:
    # Every partial is squared by its even exponent: -x opens the same value.
    key, ciphertexts, partials = _two()
    partials[1][0] = key.n - partials[1][0]

    assert combine(ciphertexts, partials, key, DIGEST) == [PLAINTEXT, 7]


def test_partials_swapped_between_ciphertexts_are_detected() -> None:
    key, ciphertexts, partials = _two()
    partials[2].reverse()

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


def test_partials_swapped_between_holders_are_detected() -> None:
    key, ciphertexts, partials = _two()
    partials[1], partials[2] = partials[2], partials[1]

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


def test_swapped_ciphertexts_are_detected() -> None:
    key, ciphertexts, partials = _two()

    with pytest.raises(BadPartialError):
        combine(ciphertexts[::-1], partials, key, DIGEST)


def test_partial_for_another_set_is_detected() -> None:
    key, ciphertexts, partials = _two()
    _, shares = shares_of(5, 4)
    partials[3] = shares[2].partials(ciphertexts, bytes(32))

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


@pytest.mark.parametrize("name", ["zero", "multiple of p"])
@pytest.mark.parametrize("holder", [1, 2, 3, 4])
def test_partial_that_is_not_invertible_is_detected(holder: int, name: str) -> None:
    key, ciphertexts, partials = _two()
    p = safe_primes(128)[0]
    partials[holder][0] = mpz(0) if name == "zero" else 5 * p

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_partials_for_another_number_of_ciphertexts_are_refused(count: int) -> None:
    key, ciphertexts, partials = _two()
    partials[2] = (partials[2] * 2)[:count]

    with pytest.raises(BadPartialError, match="another number of ciphertexts"):
        combine(ciphertexts, partials, key, DIGEST)


def test_member_shares_of_another_dealing_open_nothing() -> None:
    key, ciphertexts, partials = _two()
    p, q, *_ = safe_primes(128)
    _, others = deal(p, q, num_holders=5, threshold=4)
    partials[1] = others[0].partials(ciphertexts, DIGEST)

    with pytest.raises(BadPartialError):
        combine(ciphertexts, partials, key, DIGEST)


@pytest.mark.parametrize("jacobi", [1, -1])
def test_single_holder_opens_with_its_root(jacobi: int) -> None:
    holder = whole_key()
    ciphertexts = [
        phe_ciphertext(holder.public_key, m, jacobi=jacobi) for m in (PLAINTEXT, mpz(7))
    ]

    partials = {1: holder.partials(ciphertexts, DIGEST)}

    opened = combine(ciphertexts, partials, holder.public_key, DIGEST)
    assert opened == [PLAINTEXT, 7]


@pytest.mark.parametrize("jacobi", [1, -1])
def test_single_holder_decrypts_by_the_factors(jacobi: int) -> None:
    holder = whole_key()
    ciphertext = phe_ciphertext(holder.public_key, PLAINTEXT, jacobi=jacobi)

    assert holder.decrypt(ciphertext) == PLAINTEXT


@pytest.mark.parametrize("wrong", [0, 1, 12345])
def test_wrong_root_of_a_single_holder_is_detected(wrong: int) -> None:
    key = whole_key().public_key
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=1)

    with pytest.raises(BadPartialError):
        combine([ciphertext], {1: [mpz(wrong)]}, key, DIGEST)
