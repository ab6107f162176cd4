"""The committee's public key: modulus, bases made by hash, verification values.

Anyone holds it: server, clients, key holders. Implements PROTOCOL.md sections 5.1
and 5.3. Sources: Paillier (EUROCRYPT 1999); Damgard, Jurik, Nielsen (IJIS 2010) for
the base h; Shoup, "Practical Threshold Signatures" (EUROCRYPT 2000) for v and v_i.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256, shake_256
from math import factorial
from typing import Any

import gmpy2
from gmpy2 import mpz

from crypto.encoding import lp, u8, u32
from crypto.errors import KeyMismatchError

_SMALL_FACTOR = 1 << 20
_SEED_BYTES = 32
_MAX_HOLDERS = 255  # one byte in the digest


@dataclass(frozen=True)
class PublicKey:
    """A Paillier key whose secret is shared among key holders.

    Attributes:
        n: Modulus, a product of two safe primes; an odd number of `key_bits` bits.
        num_holders: Key holders (nc).
        threshold: Partial decryptions that open a sum (t).
        y_seed: 32 public bytes from which the bases are hashed.
        v: Generator of the squares mod n, hashed: the dealer cannot choose it.
        verification: ``v_i = v**s_i mod n`` for holder i = 1..nc.
    """

    n: mpz
    num_holders: int
    threshold: int
    y_seed: bytes
    v: mpz
    verification: tuple[mpz, ...]

    @cached_property
    def key_bits(self) -> int:
        """Bits of n."""
        return int(self.n.bit_length())

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of an integer below n; a ciphertext takes twice as many."""
        return -(-self.key_bits // 8)

    @cached_property
    def n_squared(self) -> mpz:
        """Ciphertexts live below this."""
        return self.n * self.n

    @cached_property
    def delta(self) -> int:
        """``nc!``, which clears the denominators of Lagrange coefficients."""
        return factorial(self.num_holders)

    @cached_property
    def h_n(self) -> mpz:
        """Base of the blinding factor, ``(-y**2)**n mod n**2`` (DJN 2010)."""
        y = hash_to_integer(b"SA/v1/y", self.y_seed, self.n)
        return gmpy2.powmod(-y * y % self.n, self.n, self.n_squared)

    def digest(self) -> bytes:
        """Hash the key: ``pk_fp`` of PROTOCOL.md section 5.8, 32 bytes."""
        head = u32(self.key_bits) + self.to_bytes(self.n)
        counts = u8(self.num_holders) + u8(self.threshold)
        values = b"".join(self.to_bytes(x) for x in (self.v, *self.verification))
        return sha256(b"SA/v1/pk" + head + counts + lp(self.y_seed) + values).digest()

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the digest, for people."""
        return self.digest().hex()[:16]

    def to_bytes(self, value: mpz) -> bytes:
        """Write an integer below n as `n_bytes` bytes."""
        return int(value).to_bytes(self.n_bytes, "big")

    def verify(self) -> None:
        """Check everything about the key that can be checked without its secret.

        That n is a product of two safe primes, and that the dealer erased them,
        cannot be checked: trust in the dealer remains.

        Raises:
            KeyMismatchError: If n has a form it must not have, a base is not the
                hash of the seed, or the verification values do not belong together.
        """
        _check_modulus(self.n)
        if len(self.y_seed) != _SEED_BYTES:
            raise KeyMismatchError(f"the seed of y and v is not {_SEED_BYTES} bytes")
        if self.v != derive_v(self.y_seed, self.n) or gmpy2.gcd(self.v, self.n) != 1:
            raise KeyMismatchError("the public value v is not the hash of its seed")
        y = hash_to_integer(b"SA/v1/y", self.y_seed, self.n)
        if gmpy2.gcd(y, self.n) != 1:
            raise KeyMismatchError("the public value y is not invertible")
        self._check_verification()

    def _check_verification(self) -> None:
        """Check that the ``v_i`` interpolate to ``v**(1/n)``, in the exponent."""
        if not 1 <= self.threshold <= self.num_holders <= _MAX_HOLDERS:
            raise KeyMismatchError(
                f"a threshold of {self.threshold} of {self.num_holders} is impossible"
            )
        if len(self.verification) != self.num_holders:
            raise KeyMismatchError("one verification value for every holder is needed")
        product = mpz(1)
        for value in self.verification:
            if not 0 < value < self.n:
                raise KeyMismatchError("a verification value is out of range")
            product = product * value % self.n
        if gmpy2.gcd(product, self.n) != 1:
            raise KeyMismatchError("a verification value is not invertible")
        first = range(1, self.threshold + 1)
        root = self._interpolate(first, at=0)
        on_curve = gmpy2.powmod(root, self.n, self.n) == gmpy2.powmod(
            self.v, self.delta, self.n
        )
        rest = range(self.threshold + 1, self.num_holders + 1)
        if not on_curve or any(
            self._interpolate(first, at=i)
            != gmpy2.powmod(self.verification[i - 1], self.delta, self.n)
            for i in rest
        ):
            raise KeyMismatchError("the verification values do not belong together")

    def _interpolate(self, indices: range, *, at: int) -> mpz:
        """Return ``v**(delta * f(at))`` from the ``v_i`` of these holders."""
        result = mpz(1)
        for i in indices:
            exponent = lagrange(self.delta, indices, i, at=at)
            power = gmpy2.powmod(self.verification[i - 1], exponent, self.n)
            result = result * power % self.n
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "n": f"{self.n:x}",
            "num_holders": self.num_holders,
            "threshold": self.threshold,
            "y_seed": self.y_seed.hex(),
            "v": f"{self.v:x}",
            "verification": [f"{value:x}" for value in self.verification],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PublicKey":
        """Rebuild a key from `to_dict`; call `verify` before use.

        Raises:
            KeyMismatchError: If fields are missing or have the wrong type.
        """
        try:
            return cls(
                n=mpz(values["n"], 16),
                num_holders=int(values["num_holders"]),
                threshold=int(values["threshold"]),
                y_seed=bytes.fromhex(values["y_seed"]),
                v=mpz(values["v"], 16),
                verification=tuple(mpz(v, 16) for v in values["verification"]),
            )
        except (KeyError, TypeError, ValueError):
            raise KeyMismatchError("not a public key of this protocol") from None


def hash_to_integer(label: bytes, seed: bytes, n: mpz) -> mpz:
    """Hash bytes to an integer below n, with 128 bits to spare against bias."""
    size = -(-int(n.bit_length()) // 8)
    data = label + seed + int(n).to_bytes(size, "big")
    return mpz(int.from_bytes(shake_256(data).digest(size + 16), "big")) % n


def derive_v(y_seed: bytes, n: mpz) -> mpz:
    """Hash the seed to a square mod n, a generator of the squares almost surely."""
    root = hash_to_integer(b"SA/v1/v", y_seed, n)
    return root * root % n


def lagrange(delta: int, indices: range | list[int], i: int, *, at: int = 0) -> int:
    """Return ``delta`` times the Lagrange coefficient of point i, an integer.

    ``delta * prod_{j in indices, j != i} (at - j) / (i - j)``, as in Shoup 2000;
    ``delta = nc!`` clears every denominator.
    """
    numerator, denominator = delta, 1
    for j in indices:
        if j != i:
            numerator *= at - j
            denominator *= i - j
    return numerator // denominator


@cache
def _primorial() -> mpz:
    return gmpy2.primorial(_SMALL_FACTOR)


def _check_modulus(n: mpz) -> None:
    if n < 3 or not n.is_odd() or gmpy2.is_prime(n) or gmpy2.is_power(n):  # noqa: PLR2004
        raise KeyMismatchError("n is even, a prime or a power, not a Paillier modulus")
    if gmpy2.gcd(n, _primorial()) != 1:
        raise KeyMismatchError("n has a small factor, it is not a Paillier modulus")
