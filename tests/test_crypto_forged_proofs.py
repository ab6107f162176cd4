"""A proof that is malformed, or was made for something else, is refused."""

from dataclasses import replace
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import InvalidProofError
from crypto.knowledge import verify
from tests.crypto_group import safe_primes
from tests.proved_upload import (
    KEY,
    SIZE,
    Proved,
    part,
    proved,
    unproved,
    with_part,
)


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": 4},
        {"client_id": 0},
        {"context": bytes(32)},
        {"bulk_digest": bytes([1] * 32)},
        {"ciphertexts": proved().ciphertexts[:2]},
        {"ciphertexts": [*proved().ciphertexts, mpz(1)]},
        {"ciphertexts": [proved().ciphertexts[i] for i in (1, 0, 2)]},
        {"ciphertexts": [*proved().ciphertexts[:2], mpz(1)]},
        {"proof": proved().again().proof[: 2 * SIZE] + proved().proof[2 * SIZE :]},
    ],
    ids=[
        "client",
        "client zero",
        "round",
        "bulk",
        "ciphertext less",
        "ciphertext more",
        "swapped",
        "other ciphertext",
        "commitment of another proof",
    ],
)
def test_proof_holds_for_nothing_else(change: dict[str, Any]) -> None:
    assert replace(proved(), **change).is_refused()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("factor", ["1 + n", "hn", "2"])
def test_changed_ciphertext_is_refused(place: int, factor: str) -> None:
    one = proved()
    factors = {"1 + n": 1 + KEY.n, "hn": KEY.h_n, "2": mpz(2)}
    ciphertexts = list(one.ciphertexts)
    ciphertexts[place] = ciphertexts[place] * factors[factor] % KEY.n_squared

    assert replace(one, ciphertexts=ciphertexts).is_refused()


def test_ciphertexts_must_be_those_that_are_hashed() -> None:
    one, other = proved(), unproved(3)

    with pytest.raises(InvalidProofError):
        verify(one.statement, other.ciphertexts, one.proof, KEY)
    with pytest.raises(InvalidProofError):
        verify(other.statement, one.ciphertexts, one.proof, KEY)


@settings(max_examples=200)
@given(st.integers(0, 8 * len(proved().proof) - 1))
def test_flipped_bit_of_a_proof_is_refused(bit: int) -> None:
    proof = bytearray(proved().proof)
    proof[bit // 8] ^= 1 << bit % 8

    assert replace(proved(), proof=bytes(proof)).is_refused()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_proof(proof: bytes) -> None:
    assert replace(proved(), proof=proof).is_refused()


@given(st.binary(min_size=len(proved().proof), max_size=len(proved().proof)))
def test_any_bytes_of_the_right_size_are_refused_as_a_proof(proof: bytes) -> None:
    assert replace(proved(), proof=proof).is_refused()


@pytest.mark.parametrize("change", [-145, -1, 1, 1 << 20])
def test_proof_of_another_length_is_refused(change: int) -> None:
    proof = proved().proof
    longer = proof + bytes(max(change, 0))

    assert replace(proved(), proof=longer[: len(proof) + change]).is_refused()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("B", 0),
        ("B", int(KEY.n)),
        ("B", int(safe_primes(128)[0])),
        ("B", int(KEY.n_squared)),
        ("B", -1),
        ("z", int(KEY.n)),
        ("z", -1),
        ("z", 0),
        ("zb", 1 << (128 + 128 + 2 + 128 + 1)),
        ("zb", -1),
        ("zb", 0),
    ],
)
def test_number_out_of_its_range_is_refused(name: str, value: int) -> None:
    assert with_part(proved(), name, value).is_refused()


def _commitment(beta: int) -> int:
    power = gmpy2.powmod(KEY.h_n, beta, KEY.n_squared)
    return int((1 + 5 * KEY.n) * power % KEY.n_squared)


def _made_by_hand(one: Proved, beta: int, surplus: int) -> Proved:
    """Prove one ciphertext with x = 5 and a commitment that is written too large."""
    made = with_part(one, "B", _commitment(beta) + surplus)
    (e,) = made.statement.challenges(made.proof[: 2 * SIZE], 1)
    made = with_part(made, "z", int((5 + e * one.plaintexts[0]) % KEY.n))
    return with_part(made, "zb", beta + int(e * one.alphas[0]))


def test_commitment_of_n_squared_or_more_is_refused_though_its_equation_holds() -> None:
    one, limit = proved(1), (1 << (16 * SIZE)) - int(KEY.n_squared)
    beta = next(b for b in range(99) if _commitment(b) < limit)

    _made_by_hand(one, beta, 0).verify()
    assert _made_by_hand(one, beta, int(KEY.n_squared)).is_refused()


def test_response_beyond_its_bits_is_refused_though_its_equation_holds() -> None:
    # 385 bits in 49 bytes: seven bits to spare, which a prover must leave alone.
    one = proved(1)

    _made_by_hand(one, (1 << 385) - (1 << 300), 0).verify()
    assert _made_by_hand(one, 1 << 385, 0).is_refused()


def test_response_of_n_or_more_is_refused_though_the_equation_holds() -> None:
    one = unproved(1)
    while part(one := one.again(), "z") + KEY.n >= 1 << (8 * SIZE):
        pass

    assert with_part(one, "z", part(one, "z") + int(KEY.n)).is_refused()


def test_longest_response_fits_the_table_of_powers() -> None:
    one = proved(17)
    largest = (1 << (128 + 128 + 5 + 128 + 1)) - 1

    assert with_part(one, "zb", largest).is_refused()


def test_proof_of_another_client_is_refused() -> None:
    # The server hands client 3's ciphertexts and proof to client 4, who signs them.
    assert replace(proved(), client_id=4).is_refused()


def test_proofs_of_all_clients_together_prove_nothing_about_the_product() -> None:
    # A client that uploads the inverse product of the others has no proof for it, and
    # combining theirs gives none: every challenge is hashed over its own client.
    one, two = unproved(1).again(), replace(unproved(1), client_id=4).again()
    product = one.ciphertexts[0] * two.ciphertexts[0] % KEY.n_squared
    inverse = gmpy2.invert(product, KEY.n_squared)
    commitments = part(one, "B") * part(two, "B")
    forged = replace(one, client_id=5, ciphertexts=[inverse])
    forged = with_part(forged, "B", int(gmpy2.invert(commitments, KEY.n_squared)))
    z = (part(one, "z") + part(two, "z")) % KEY.n
    forged = with_part(forged, "z", int(-z % KEY.n))

    assert with_part(forged, "zb", part(one, "zb") + part(two, "zb")).is_refused()
