"""Safe primes have the form and the size that a Paillier key needs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from crypto import primes
from crypto.errors import ParameterError
from crypto.primes import safe_prime, safe_primes


@pytest.mark.parametrize("bits", [32, 33, 40, 64, 128])
def test_safe_prime_is_twice_a_prime_plus_one(bits: int) -> None:
    p = safe_prime(bits)

    assert gmpy2.is_prime(p)
    assert gmpy2.is_prime((p - 1) // 2)


@pytest.mark.parametrize("bits", [32, 33, 40, 64, 128])
def test_two_highest_bits_of_a_safe_prime_are_set(bits: int) -> None:
    assert safe_prime(bits) >> (bits - 2) == 3


@pytest.mark.parametrize("bits", [31, 0, -1])
def test_size_too_small_for_the_sieve_is_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match=f"at least 32 bits, got {bits}"):
        safe_prime(bits)


def test_search_in_two_processes_gives_a_modulus_of_the_exact_size() -> None:
    ticks: list[int] = []

    p, q = safe_primes(48, lambda: ticks.append(1))

    assert p != q
    assert (p * q).bit_length() == 96
    assert ticks


def test_equal_primes_are_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Iterator[mpz] = iter([mpz(23), mpz(23), mpz(23), mpz(47)])

    def threads(count: int, **_: Any) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(primes, "ProcessPoolExecutor", threads)
    monkeypatch.setattr(primes, "safe_prime", lambda _: next(found))

    assert set(safe_primes(6)) == {23, 47}


def test_search_without_a_result_starts_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: Iterator[mpz | None] = iter([None, None, mpz(23)])
    starts: list[mpz] = []

    def search(start: mpz, _: int) -> mpz | None:
        starts.append(start)
        return next(answers)

    monkeypatch.setattr(primes, "_search", search)

    assert safe_prime(64) == 23
    assert len(set(starts)) == 3


def test_search_never_leaves_the_size() -> None:
    # The last candidate below 2**39: from there on every p has 41 bits.
    assert primes._search((mpz(1) << 39) - 1, 40) is None


def test_pseudoprime_is_no_prime(monkeypatch: pytest.MonkeyPatch) -> None:
    # 341 = 11 * 31 passes Fermat's test to base 2, and 2 * 341 + 1 is prime.
    monkeypatch.setattr(primes, "_sieve", lambda _: np.array([True]))

    assert primes._search(mpz(341), 10) is None


def test_sieve_keeps_every_safe_prime() -> None:
    start = mpz(3) << 29 | 1

    alive = primes._sieve(start)[:20_000]

    kept = {
        i
        for i in range(20_000)
        if gmpy2.is_prime(start + 2 * i) and gmpy2.is_prime(2 * (start + 2 * i) + 1)
    }
    assert kept <= set(np.flatnonzero(alive).tolist())
    assert kept


def test_sieve_removes_what_a_small_prime_divides() -> None:
    start = mpz(3) << 60 | 1

    for i in np.flatnonzero(primes._sieve(start))[:500].tolist():
        half = start + 2 * i
        assert gmpy2.gcd(half * (2 * half + 1), gmpy2.primorial(1 << 17)) == 1
