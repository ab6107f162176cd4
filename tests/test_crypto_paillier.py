"""Our ciphertexts are Paillier's: stock phe reads them, and we read stock phe's."""

import secrets
from functools import cache
from typing import Any

import gmpy2
import numpy as np
import phe
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from crypto import packing, paillier
from crypto.errors import PlaintextOverflowError
from crypto.key_holder import KeyShare
from crypto.paillier import FixedBase
from crypto.public_key import PublicKey
from crypto.randomness import RandomStream
from crypto.threshold import combine
from tests.crypto_group import (
    KEY_BITS,
    dealt,
    make_params,
    safe_primes,
    whole_key,
)


@cache
def phe_keys(key_bits: int = KEY_BITS) -> tuple[Any, Any]:
    p, q, *_ = safe_primes(key_bits // 2)
    public = phe.PaillierPublicKey(int(p * q))
    return public, phe.PaillierPrivateKey(public, int(p), int(q))


def encrypt(plaintexts: list[mpz], key: PublicKey) -> list[mpz]:
    stream = RandomStream(secrets.token_bytes(32))
    alphas = paillier.draw_alphas(len(plaintexts), key, stream)
    return paillier.encrypt(plaintexts, alphas, key)


def phe_decrypts(ciphertext: mpz, key_bits: int = KEY_BITS) -> int:
    """Decrypt as a user of phe would: a signed integer."""
    public, private = phe_keys(key_bits)
    return int(private.decrypt(phe.EncryptedNumber(public, int(ciphertext), 0)))


def edges(n: mpz) -> list[mpz]:
    """Zero, one, slot edges and the largest plaintexts, with both signs."""
    slot = make_params().slot_bits
    sizes = [0, 1, (1 << (slot - 1)) - 1, 1 << (slot - 1), 1 << slot, n // 3 - 1]
    return [mpz(sign * size) for size in sizes for sign in (1, -1)]


EDGES = edges(whole_key().public_key.n)
PLAINTEXTS = st.integers(int(EDGES[-1]), int(EDGES[-2])).map(mpz)


@pytest.mark.parametrize("plaintext", EDGES, ids=lambda m: f"{m:x}")
def test_phe_decrypts_our_ciphertext(plaintext: mpz) -> None:
    (ciphertext,) = encrypt([plaintext], whole_key().public_key)

    assert phe_decrypts(ciphertext) == plaintext


@pytest.mark.parametrize("plaintext", EDGES, ids=lambda m: f"{m:x}")
def test_we_decrypt_the_ciphertext_of_phe(plaintext: mpz) -> None:
    public, _ = phe_keys()
    ciphertext = mpz(public.raw_encrypt(int(plaintext % public.n)))

    assert whole_key().decrypt(ciphertext) == plaintext


@given(st.lists(PLAINTEXTS, min_size=1, max_size=4))
def test_we_decrypt_what_we_encrypt(plaintexts: list[mpz]) -> None:
    holder = whole_key()

    ciphertexts = encrypt(plaintexts, holder.public_key)

    assert [holder.decrypt(c) for c in ciphertexts] == plaintexts


@given(PLAINTEXTS, PLAINTEXTS)
def test_sum_of_ciphertexts_decrypts_to_the_sum(left: mpz, right: mpz) -> None:
    holder = whole_key()
    key = holder.public_key

    (total,) = paillier.add(encrypt([left], key), encrypt([right], key), key)

    assert (holder.decrypt(total) - left - right) % key.n == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_phe_decrypts_a_packed_sum_at_the_limits(sign: int) -> None:
    params, key = make_params(), whole_key().public_key
    limit = sign * params.max_value
    slots, slot_bits = params.slots_per_plaintext, params.slot_bits
    values = np.array([limit, -limit, 0, 1, -1, limit] * slots, dtype=np.int64)
    packed = packing.pack(values, slot_bits=slot_bits, slots_per_plaintext=slots)
    total = encrypt(packed, key)
    for _ in range(params.max_contributors - 1):
        total = paillier.add(total, encrypt(packed, key), key)

    opened = packing.unpack(
        [mpz(phe_decrypts(c)) for c in total],
        count=values.size,
        slot_bits=slot_bits,
        slots_per_plaintext=slots,
    )

    assert opened.tolist() == (params.max_contributors * values).tolist()


def test_phe_adds_our_ciphertexts() -> None:
    public, private = phe_keys()
    ciphertexts = encrypt([mpz(-1234), mpz(1000)], whole_key().public_key)

    one, two = [phe.EncryptedNumber(public, int(c), 0) for c in ciphertexts]

    assert private.decrypt(one + two) == -234


def test_we_add_the_ciphertext_of_phe_to_ours() -> None:
    public, _ = phe_keys()
    key = whole_key().public_key
    theirs = mpz(public.raw_encrypt(1000))

    (total,) = paillier.add([theirs], encrypt([mpz(-1234)], key), key)

    assert whole_key().decrypt(total) == -234


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_plaintext_of_a_third_of_the_key_is_refused(sign: int, above: int) -> None:
    key = whole_key().public_key

    with pytest.raises(PlaintextOverflowError) as caught:
        encrypt([sign * (key.n // 3 + 1 + above)], key)

    assert str(caught.value) == "a plaintext does not fit a third of the key"


def test_same_plaintext_encrypts_differently() -> None:
    one, two = encrypt([mpz(7), mpz(7)], whole_key().public_key)

    assert one != two


def test_sums_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paillier.add([mpz(1)], [mpz(1), mpz(1)], whole_key().public_key)


def test_blinding_exponent_is_half_of_the_key() -> None:
    assert paillier.alpha_bits(whole_key().public_key) == KEY_BITS // 2


def test_ciphertext_has_the_blinding_of_its_alpha() -> None:
    key, alpha = whole_key().public_key, mpz(987654321)

    (ciphertext,) = paillier.encrypt([mpz(0)], [alpha], key)

    assert ciphertext == gmpy2.powmod(key.h_n, alpha, key.n_squared)


@given(st.integers(0, 2**128 - 1))
def test_table_agrees_with_powmod(exponent: int) -> None:
    key = whole_key().public_key

    power = paillier.blinding_table(key).power(mpz(exponent))

    assert power == gmpy2.powmod(key.h_n, exponent, key.n_squared)


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 64])
def test_table_of_any_length_reaches_its_largest_exponent(bits: int) -> None:
    table = FixedBase(mpz(3), mpz(10**9 + 7), exponent_bits=bits)

    for exponent in (0, 1, (1 << bits) - 1):
        assert table.power(mpz(exponent)) == pow(3, exponent, 10**9 + 7)


@pytest.mark.parametrize("exponent", [-1, 256])
def test_exponent_outside_the_table_is_refused(exponent: int) -> None:
    table = FixedBase(mpz(3), mpz(101), exponent_bits=8)

    with pytest.raises(OverflowError):
        table.power(mpz(exponent))


def test_table_is_built_once_per_key() -> None:
    key = whole_key().public_key
    again = PublicKey.from_dict(key.to_dict())

    assert paillier.blinding_table(again) is paillier.blinding_table(key)


@pytest.mark.slow
@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_production_key_works_with_phe_and_a_committee(key_bits: int) -> None:
    key, holders = dealt(5, 4, key_bits)
    public, _ = phe_keys(key_bits)
    digest = bytes([key_bits % 251] * 32)
    plaintexts = edges(key.n)
    mine = encrypt(plaintexts, key)
    theirs = [mpz(public.raw_encrypt(int(-m % key.n))) for m in plaintexts]
    partials = {
        holder.index: holder.partials([*mine[-2:], *theirs[-2:]], digest)
        for holder in holders[1:]
        if isinstance(holder, KeyShare)
    }

    opened = combine([*mine[-2:], *theirs[-2:]], partials, key, digest)

    assert key.key_bits == key_bits
    assert [phe_decrypts(c, key_bits) for c in mine] == plaintexts
    assert [whole_key(key_bits).decrypt(c) for c in theirs] == [-m for m in plaintexts]
    assert opened == [*plaintexts[-2:], *(-m for m in plaintexts[-2:])]
