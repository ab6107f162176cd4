"""The key ceremony: make a key, share it out, forget it.

Runs offline for seconds (`unseen keys create`); knows everything while it runs and
erases the factors when it returns. Implements PROTOCOL.md section 5.3.
"""

import secrets
from collections.abc import Callable, Sequence

import gmpy2
from gmpy2 import mpz

from crypto.errors import ParameterError
from crypto.key_holder import KeyHolder, KeyShare, WholeKey
from crypto.powers import secret_power
from crypto.primes import safe_primes
from crypto.public_key import PublicKey, derive_v


def create_keys(
    *,
    key_bits: int,
    num_holders: int,
    threshold: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[PublicKey, list[KeyHolder]]:
    """Make a Paillier key and deal its secret to the holders.

    Args:
        key_bits: Size of n; 3072 gives about 128 bits of security.
        num_holders: Members of the committee; 1 gives one whole key.
        threshold: How many of them open a sum.
        tick: Called while primes are searched.

    Returns:
        The public key and the holders' secrets, in committee order.

    Raises:
        ParameterError: If the threshold or the size is impossible.
    """
    if not 1 <= threshold <= num_holders:
        raise ParameterError(f"threshold {threshold} of {num_holders} is impossible")
    p, q = safe_primes(key_bits // 2, tick)
    return deal(p, q, num_holders=num_holders, threshold=threshold)


def deal(
    p: mpz, q: mpz, *, num_holders: int, threshold: int
) -> tuple[PublicKey, list[KeyHolder]]:
    """Share the secret of a key with given factors, with fresh randomness."""
    order = (p // 2) * (q // 2)  # p'q', the order of the squares mod n
    coefficients = [mpz(secrets.randbelow(int(order))) for _ in range(threshold - 1)]
    return _deal_with(
        p, q, num_holders, coefficients=coefficients, y_seed=secrets.token_bytes(32)
    )


def _deal_with(
    p: mpz, q: mpz, num_holders: int, *, coefficients: Sequence[mpz], y_seed: bytes
) -> tuple[PublicKey, list[KeyHolder]]:
    """Deal with given randomness: the seam for vectors.

    ``s_i = f(i) mod p'q'`` with ``f(0) = n**-1 mod p'q'`` (Shoup 2000, with public
    exponent n).
    """
    n, order = p * q, (p // 2) * (q // 2)
    if gmpy2.gcd(n, (p - 1) * (q - 1)) != 1:
        raise ParameterError("these primes do not make a Paillier key")
    polynomial = [gmpy2.invert(n, order), *coefficients]
    shares = [_evaluate(polynomial, i, order) for i in range(1, num_holders + 1)]
    v = derive_v(y_seed, n)
    public_key = PublicKey(
        n=n,
        num_holders=num_holders,
        threshold=len(polynomial),
        y_seed=y_seed,
        v=v,
        verification=tuple(secret_power(v, share, n) for share in shares),
    )
    public_key.verify()
    if num_holders == 1:
        return public_key, [WholeKey(public_key, p, q)]
    holders = [KeyShare(public_key, i, s) for i, s in enumerate(shares, start=1)]
    return public_key, list(holders)


def _evaluate(polynomial: Sequence[mpz], x: int, modulus: mpz) -> mpz:
    """Evaluate a polynomial, lowest coefficient first, by Horner's rule."""
    result = mpz(0)
    for coefficient in reversed(polynomial):
        result = (result * x + coefficient) % modulus
    return result
