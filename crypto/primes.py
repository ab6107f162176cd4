"""Safe primes, by a sieve over p' and 2p'+1 together.

Implements PROTOCOL.md section 5.1. At 1536 bits a prime takes 2 to 20 seconds; both
primes of a key are searched at once, each in its own process.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import cache
from multiprocessing import get_context

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.errors import ParameterError

_SIEVE_LIMIT = 1 << 17
_WINDOW = 1 << 19  # odd candidates per random starting point
_ROUNDS = 40  # Miller-Rabin: error below 2**-80 for any input


def safe_prime(bits: int) -> mpz:
    """Find a random safe prime ``p = 2p' + 1`` with its two highest bits set.

    With both bits set, the product of two such primes has exactly ``2 * bits`` bits.

    Args:
        bits: Size of p, at least 32.

    Raises:
        ParameterError: If the size is too small.
    """
    if bits < 32:  # noqa: PLR2004 - below that the sieve would remove p itself
        raise ParameterError(f"a prime factor needs at least 32 bits, got {bits}")
    while True:
        start = mpz(secrets.randbits(bits - 3)) | (mpz(3) << (bits - 3)) | 1
        found = _search(start, bits)
        if found:
            return found


def safe_primes(bits: int, tick: Callable[[], None] = lambda: None) -> tuple[mpz, mpz]:
    """Find two different safe primes, in two processes.

    Args:
        bits: Size of each prime.
        tick: Called about ten times a second while the search goes on.
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        while True:
            running = {pool.submit(safe_prime, bits) for _ in range(2)}
            done = set()
            while running:
                ready, running = wait(running, 0.1, return_when=FIRST_COMPLETED)
                done |= ready
                tick()
            p, q = (future.result() for future in done)
            if p != q:
                return p, q


def _search(start: mpz, bits: int) -> mpz | None:
    """Test the candidates p' = start, start + 2, ... that survive the sieve."""
    for offset in np.flatnonzero(_sieve(start)).tolist():
        half = start + 2 * offset
        p = 2 * half + 1
        if p.bit_length() != bits:
            return None
        # One cheap Fermat test each removes nearly everything.
        if gmpy2.powmod(2, half - 1, half) != 1 or gmpy2.powmod(2, p - 1, p) != 1:
            continue
        if gmpy2.is_prime(half, _ROUNDS) and gmpy2.is_prime(p, _ROUNDS):
            return p
    return None


def _sieve(start: mpz) -> NDArray[np.bool_]:
    """Mark the offsets i where no small prime divides p' or 2p'+1, p' = start + 2i."""
    alive = np.ones(_WINDOW, dtype=np.bool_)
    for r in _small_primes():
        residue = int(start % r)
        inverse_of_2 = (r + 1) // 2
        inverse_of_4 = inverse_of_2 * inverse_of_2 % r
        alive[-residue * inverse_of_2 % r :: r] = False  # r | start + 2i
        alive[-(2 * residue + 1) * inverse_of_4 % r :: r] = False  # r | 2(start+2i)+1
    return alive


@cache
def _small_primes() -> list[int]:
    """Odd primes below the sieve's limit."""
    flags = np.ones(_SIEVE_LIMIT, dtype=np.bool_)
    flags[:2] = False
    for i in range(2, int(_SIEVE_LIMIT**0.5) + 1):
        if flags[i]:
            flags[i * i :: i] = False
    return [int(r) for r in np.flatnonzero(flags) if r > 2]  # noqa: PLR2004
