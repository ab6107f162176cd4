"""An upload's proof shows that its client knows what it encrypted, and nothing more."""

import secrets
from dataclasses import replace
from hashlib import sha256
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz

from crypto import paillier
from crypto.errors import InvalidProofError
from crypto.knowledge import proof_size, prove
from crypto.public_key import PublicKey, derive_v
from crypto.randomness import RandomStream
from tests import proof_reference
from tests.crypto_group import phe_ciphertext, safe_primes, whole_key
from tests.proved_upload import KEY, SIZE, Proved, part, proved, unproved


@pytest.mark.parametrize("count", [*range(1, 51), 64, 65, 200])
def test_proof_of_any_number_of_ciphertexts_holds_and_has_its_size(count: int) -> None:
    one = unproved(count).again()

    one.verify()
    assert len(one.proof) == proof_size(KEY, count)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_proof_holds_for_the_reference(count: int) -> None:
    one = proved(count)
    digests = one.bulk_digest + sha256(one.statement.ciphertexts).digest()
    statement = one.context + one.client_id.to_bytes(4, "big") + digests

    assert proof_reference.knows(
        int(KEY.n),
        KEY.y_seed,
        [int(c) for c in one.ciphertexts],
        statement=statement,
        proof=one.proof,
    )


@pytest.mark.parametrize(
    ("key_bits", "count", "size"),
    [
        (256, 1, 96 + 49),  # 128 + 0 + 257 bits
        (256, 2, 96 + 49),
        (256, 128, 96 + 49),
        (256, 256, 96 + 50),  # 128 + 8 + 257 bits: a byte more
        (2048, 18, 768 + 161),  # 1024 + 5 + 257 bits
        (3072, 45, 1152 + 225),  # 1536 + 6 + 257 bits
    ],
)
def test_size_of_a_proof_follows_from_public_numbers(
    key_bits: int, count: int, size: int
) -> None:
    p, q, *_ = safe_primes(key_bits // 2)
    key = PublicKey(p * q, 1, 1, bytes(32), derive_v(bytes(32), p * q), ())

    assert proof_size(key, count) == size


@pytest.mark.parametrize("edge", [0, 1, -1, "largest", "smallest"])
@pytest.mark.parametrize("alpha", [0, 1, (1 << 128) - 1])
def test_proof_of_plaintexts_at_their_limits_holds(edge: Any, alpha: int) -> None:
    limits = {"largest": KEY.n // 3, "smallest": -(KEY.n // 3)}
    plaintexts, alphas = [mpz(limits.get(edge, edge))], [mpz(alpha)]
    ciphertexts = paillier.encrypt(plaintexts, alphas, KEY)

    Proved(plaintexts, alphas, ciphertexts).again().verify()


def test_two_proofs_of_one_upload_differ_and_hold() -> None:
    one, two = proved(), proved().again()

    two.verify()
    assert one.proof[: 2 * SIZE] != two.proof[: 2 * SIZE]


def test_plaintext_without_its_blinding_exponent_proves_nothing() -> None:
    # A ciphertext of stock phe: its maker knows M and r, but no alpha.
    plaintext = mpz(12345)
    ciphertext = phe_ciphertext(KEY, plaintext, jacobi=1)

    for alpha in (0, 1, 2):
        guess = Proved([plaintext], [mpz(alpha)], [ciphertext])
        assert guess.again().is_refused()


def test_blinding_exponent_without_the_plaintext_proves_nothing() -> None:
    one = unproved(3)
    others = [one.plaintexts[0] + 1, *one.plaintexts[1:]]

    assert replace(one, plaintexts=others).again().is_refused()


@pytest.mark.parametrize("alpha_bits", [129, 192])
def test_longer_blinding_exponent_passes_and_does_no_harm(alpha_bits: int) -> None:
    # The proof bounds alpha only loosely; a longer one blinds its owner no less.
    one = unproved(3, alpha_bits=alpha_bits)

    one.again().verify()
    assert [whole_key().decrypt(c) for c in one.ciphertexts] == one.plaintexts


def test_sign_of_a_ciphertext_may_pass_and_changes_no_plaintext() -> None:
    # -1 has order 2: the equation holds whenever its challenge is even.
    one = unproved(1)
    negated = replace(one, ciphertexts=[KEY.n_squared - one.ciphertexts[0]])
    outcomes = [_holds(negated.again()) for _ in range(64)]  # 2**-63 to be all alike

    assert set(outcomes) == {True, False}
    assert whole_key().decrypt(negated.ciphertexts[0]) == one.plaintexts[0]


def _holds(one: Proved) -> bool:
    try:
        one.verify()
    except InvalidProofError:
        return False
    return True


def test_two_answers_to_one_commitment_give_everything_away() -> None:
    # What makes the proof one of knowledge, and why its randomness serves once.
    stream_key = secrets.token_bytes(32)
    one = unproved(1).again(stream_key)
    two = replace(one, context=bytes(32)).again(stream_key)
    head = one.proof[: 2 * SIZE]
    assert two.proof[: 2 * SIZE] == head

    (e,), (f,) = (each.statement.challenges(head, 1) for each in (one, two))
    z = part(one, "z") - part(two, "z")
    plaintext = z * gmpy2.invert(e - f, KEY.n) % KEY.n
    alpha, rest = divmod(part(one, "zb") - part(two, "zb"), e - f)

    assert plaintext == one.plaintexts[0] % KEY.n
    assert (alpha, rest) == (one.alphas[0], 0)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_every_ciphertext_has_its_own_challenge(count: int) -> None:
    challenges = proved().statement.challenges(b"commitment", count)

    assert len(set(challenges)) == count
    assert all(0 <= e < 1 << 128 for e in challenges)


class _SpyStream(RandomStream):
    """Remembers how many bits were drawn."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.drawn: list[int] = []

    def integer(self, bits: int) -> mpz:
        self.drawn.append(bits)
        return super().integer(bits)


@pytest.mark.parametrize(("count", "more"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_masks_are_longer_by_128_bits_than_what_they_hide(
    count: int, more: int
) -> None:
    # Hidden are a number mod n, and a sum of products of a challenge and an alpha.
    one, stream = unproved(count), _SpyStream()
    prove(one.statement, one.plaintexts, one.alphas, KEY, stream)

    assert stream.drawn == [256 + 128, 128 + 128 + more + 128]


def test_proof_of_more_plaintexts_than_exponents_is_a_mistake() -> None:
    one = proved()

    with pytest.raises(ValueError, match="zip"):
        replace(one, alphas=one.alphas[:2]).again()
