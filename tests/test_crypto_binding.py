"""Partials are bound to one set: a mix of sets opens nothing."""

import contextlib
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz

from crypto import memo
from crypto.binding import binding, binding_powers, check_binding_powers
from crypto.errors import DecryptionRefusedError
from crypto.key_holder import KeyShare
from crypto.multiexp import multi_exponentiation
from crypto.public_key import PublicKey, lagrange
from crypto.threshold import _plaintext
from tests.crypto_group import phe_ciphertext, safe_primes, shares_of, whole_key

DIGEST = bytes(range(32))
PLAINTEXT = -(mpz(1) << 100) + 12345


def bound_root(key: PublicKey, ciphertext: mpz, u: mpz) -> mpz:
    """Return x', whose n-th root the holders extract."""
    return ciphertext * gmpy2.powmod(u, key.n, key.n) % key.n


def test_binding_depends_on_set_and_place() -> None:
    key, _ = shares_of(5, 4)
    factors = {
        binding(key, digest, index)
        for digest in (DIGEST, bytes(32))
        for index in (0, 1)
    }

    assert len(factors) == 4


def test_bound_root_hides_the_ciphertext_but_not_its_plaintext() -> None:
    key, _ = shares_of(5, 4)
    ciphertext = phe_ciphertext(key, PLAINTEXT, jacobi=1)
    u = binding(key, DIGEST, 0)

    bound = bound_root(key, ciphertext, u)

    again = ciphertext * gmpy2.powmod(u, key.n, key.n_squared) % key.n_squared
    assert bound == again % key.n
    assert whole_key().decrypt(again) == PLAINTEXT


def _mixed_opening(plaintexts: tuple[int, int], *, bind: bool) -> mpz:
    """Open a mix of two sets under (5, 4) with two corrupt members.

    Three honest members are shown G1+G2, G1 and G2, each a legal set; members 4 and 5
    give their shares to the server. Its partials combine in the exponent to
    3 * sum(G1) + 4 * sum(G2), though nobody opened two sets.
    """
    key, shares = shares_of(5, 4)
    c1, c2 = [phe_ciphertext(key, mpz(m), jacobi=1) for m in plaintexts]
    shown = {1: c1 * c2, 2: c1, 3: c2}
    answers = {i: _answer(key, shares[i - 1], c, bind=bind) for i, c in shown.items()}
    first, second = [1, 2, 4, 5], [1, 3, 4, 5]
    of_g1 = {i: 3 * lagrange(key.delta, first, i) for i in first}
    of_g2 = {i: 4 * lagrange(key.delta, second, i) for i in second}
    assert of_g1[1] == of_g2[1]  # the answer for both groups serves both
    powers = [(answers[1], of_g1[1]), (answers[2], of_g1[2]), (answers[3], of_g2[3])]
    for share in shares[3:]:
        powers.append((_answer(key, share, c1, bind=False), of_g1[share.index]))
        powers.append((_answer(key, share, c2, bind=False), of_g2[share.index]))
    w = mpz(1)
    for base, exponent in powers:
        w = w * gmpy2.powmod(base, 2 * exponent, key.n) % key.n
    mixed = c1**3 * c2**4 % key.n_squared
    return _plaintext(key, mixed, w, 4 * key.delta**2)


def _answer(key: PublicKey, share: KeyShare, ciphertext: mpz, *, bind: bool) -> mpz:
    """Return a partial, bound to a set of the member's own or to none."""
    u = binding(key, bytes([share.index] * 32), 0) if bind else mpz(1)
    base = bound_root(key, ciphertext, u)
    return gmpy2.powmod(base, 2 * key.delta * share.secret, key.n)


def test_mix_of_sets_opens_without_binding() -> None:
    # Not a wish: it shows that the attack which the next test refuses is real.
    assert _mixed_opening((1000, -7), bind=False) == 3 * 1000 - 4 * 7


def test_mix_of_sets_opens_nothing_with_binding() -> None:
    with pytest.raises(ValueError, match=r"^$"):  # the root check of `open_one`
        _mixed_opening((1000, -7), bind=True)


def test_single_holder_needs_no_binding() -> None:
    assert binding(whole_key().public_key, DIGEST, 0) == 1


@pytest.mark.parametrize("count", [1, 2, 17])
def test_powers_of_the_set_are_accepted(count: int) -> None:
    key, _ = shares_of(5, 4)

    check_binding_powers(key, DIGEST, binding_powers(key, DIGEST, count))


def _wrong_powers(key: PublicKey, name: str) -> list[mpz]:
    powers = binding_powers(key, DIGEST, 3)
    one, two, three = powers
    return {
        "another set": binding_powers(key, bytes(32), 3),
        "one of another set": [one, two, binding_powers(key, bytes(32), 3)[2]],
        "swapped": [two, one, three],
        "doubled": [one, two * 2 % key.n, three],
        "moved between places": [one * 2 % key.n, two * gmpy2.invert(2, key.n), three],
        "ones": [mpz(1)] * 3,
        "not invertible": [one, safe_primes(128)[0], three],
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "another set",
        "one of another set",
        "swapped",
        "doubled",
        "moved between places",
        "ones",
        "not invertible",
    ],
)
def test_powers_that_are_not_those_of_the_set_are_refused(name: str) -> None:
    key, shares = shares_of(5, 4)
    ciphertexts = [phe_ciphertext(key, mpz(m), jacobi=1) for m in (1, 2, 3)]

    with pytest.raises(DecryptionRefusedError, match="not those of this set"):
        shares[0].partials(ciphertexts, DIGEST, _wrong_powers(key, name))


def test_negated_powers_change_no_partial() -> None:
    # The check may pass them, half the time each: the even exponent removes the sign.
    key, shares = shares_of(5, 4)
    ciphertexts = [phe_ciphertext(key, mpz(m), jacobi=1) for m in (1, 2)]
    powers = [key.n - power for power in binding_powers(key, DIGEST, 2)]
    answers: list[list[mpz]] = []
    while not answers:
        with contextlib.suppress(DecryptionRefusedError):
            answers.append(shares[0].partials(ciphertexts, DIGEST, powers))

    assert answers == [shares[0].partials(ciphertexts, DIGEST)]


def test_weights_of_the_check_are_new_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With weights that the server knows it could cancel wrong powers against them.
    key, _ = shares_of(5, 4)
    powers = binding_powers(key, DIGEST, 2)
    weights = []

    def spy(bases: Any, exponents: Any, *args: Any, **kwargs: Any) -> mpz:
        weights.append(tuple(exponents))
        return multi_exponentiation(bases, exponents, *args, **kwargs)

    monkeypatch.setattr("crypto.binding.multi_exponentiation", spy)
    for _ in range(2):
        memo.forget()
        check_binding_powers(key, DIGEST, powers)

    assert len({weight for pair in weights for weight in pair}) == 4


def test_powers_are_checked_once_a_process_and_wrong_ones_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, _ = shares_of(5, 4)
    powers = binding_powers(key, DIGEST, 2)
    memo.forget()
    check_binding_powers(key, DIGEST, powers)
    with monkeypatch.context() as patch:
        patch.setattr("crypto.binding.multi_exponentiation", None)
        check_binding_powers(key, DIGEST, powers)

    for wrong in (powers[::-1], [powers[0], powers[1] + 1]):
        for _ in range(2):
            with pytest.raises(DecryptionRefusedError):
                check_binding_powers(key, DIGEST, wrong)
    with pytest.raises(DecryptionRefusedError):
        check_binding_powers(key, bytes(32), powers)
