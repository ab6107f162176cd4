"""Ciphertexts and partials travel as fixed-width integers, checked when they arrive."""

import pytest
from gmpy2 import mpz

from crypto.errors import MalformedMessageError
from crypto.wire import (
    pack_ciphertexts,
    pack_integers,
    unpack_ciphertexts,
    unpack_integers,
)
from tests.crypto_group import dealt, safe_primes


def test_ciphertexts_survive_the_trip() -> None:
    key, _ = dealt(5, 4)
    ciphertexts = [mpz(1), key.n_squared - 1, key.n + 1]

    packed = pack_ciphertexts(ciphertexts, key)

    assert unpack_ciphertexts(packed, 3, key) == ciphertexts


@pytest.mark.parametrize(
    "name", ["zero", "n squared", "largest", "multiple of p", "n", "one among others"]
)
def test_ciphertext_that_is_no_unit_below_n_squared_is_malformed(name: str) -> None:
    key, _ = dealt(5, 4)
    p = safe_primes(128)[0]
    bad = {
        "zero": [mpz(0)],
        "n squared": [key.n_squared],
        "largest": [(mpz(1) << (16 * key.n_bytes)) - 1],
        "multiple of p": [p * 12345],
        "n": [key.n],
        "one among others": [mpz(2), mpz(3), p, mpz(5)],
    }[name]

    with pytest.raises(MalformedMessageError):
        unpack_ciphertexts(pack_ciphertexts(bad, key), len(bad), key)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_wrong_number_of_ciphertexts_is_malformed(count: int) -> None:
    key, _ = dealt(5, 4)
    packed = pack_ciphertexts([mpz(2), mpz(3)], key)

    with pytest.raises(MalformedMessageError):
        unpack_ciphertexts(packed, count, key)


@pytest.mark.parametrize("size", [-1, 1])
def test_ciphertexts_of_another_size_are_malformed(size: int) -> None:
    key, _ = dealt(5, 4)
    packed = pack_ciphertexts([mpz(2)], key)

    with pytest.raises(MalformedMessageError):
        unpack_ciphertexts((packed + b"\0")[: len(packed) + size], 1, key)


def test_partials_survive_the_trip() -> None:
    key, _ = dealt(5, 4)
    partials = [mpz(1), key.n - 1]

    assert unpack_integers(pack_integers(partials, key), 2, key) == partials


@pytest.mark.parametrize("above", [0, 1])
def test_partial_out_of_range_is_malformed(above: int) -> None:
    key, _ = dealt(5, 4)
    packed = pack_integers([above * key.n], key)

    with pytest.raises(MalformedMessageError):
        unpack_integers(packed, 1, key)
