"""Encrypt and add under the public key; nothing here can decrypt.

Implements PROTOCOL.md section 5.2. Encryption is that of Damgard, Jurik and Nielsen
(IJIS 2010): ``c = (1 + n*M) * (h**n)**alpha mod n**2`` with alpha of half the length
of n, over a table of powers of the fixed base. An ordinary Paillier ciphertext comes
out, with r = h**alpha.
"""

from collections.abc import Sequence
from functools import lru_cache

from gmpy2 import mpz

from crypto.errors import PlaintextOverflowError
from crypto.public_key import PublicKey
from crypto.randomness import RandomStream

_WINDOW = 256  # one row per byte of the exponent
# A proof of plaintext knowledge has exponents longer than alpha by its challenge, its
# mask and the number of ciphertexts, here up to 2**24 (`crypto.knowledge`).
_PROOF_BITS = 128 + 128 + 24 + 1


class FixedBase:
    """Powers ``base**(d * 256**i)`` for every byte d at every place i.

    An exponentiation is then one multiplication per byte: 13 times faster than
    `phe.raw_encrypt`. The lookups are indexed by a secret, so not constant time.

    Attributes:
        modulus: The modulus of the powers.
    """

    def __init__(self, base: mpz, modulus: mpz, *, exponent_bits: int) -> None:
        self.modulus = modulus
        self._rows: list[list[mpz]] = []
        for _ in range(-(-exponent_bits // 8)):
            row = [mpz(1)]
            for _ in range(_WINDOW - 1):
                row.append(row[-1] * base % modulus)
            self._rows.append(row)
            base = row[-1] * base % modulus

    def power(self, exponent: mpz) -> mpz:
        """Return ``base**exponent`` for ``0 <= exponent < 2**exponent_bits``."""
        digits = int(exponent).to_bytes(len(self._rows), "little")
        result = mpz(1)
        for row, digit in zip(self._rows, digits, strict=True):
            if digit:
                result = result * row[digit] % self.modulus
        return result


@lru_cache(maxsize=4)
def blinding_table(public_key: PublicKey) -> FixedBase:
    """Build the table of the blinding base, about a second at 3072 bits; cached."""
    bits = alpha_bits(public_key) + _PROOF_BITS
    return FixedBase(public_key.h_n, public_key.n_squared, exponent_bits=bits)


def alpha_bits(public_key: PublicKey) -> int:
    """Length of the blinding exponent: half of n, no shorter (PROTOCOL.md 5.2)."""
    return -(-public_key.key_bits // 2)


def draw_alphas(count: int, public_key: PublicKey, stream: RandomStream) -> list[mpz]:
    """Draw fresh blinding exponents from the stream."""
    bits = alpha_bits(public_key)
    return [stream.integer(bits) for _ in range(count)]


def encrypt(
    plaintexts: Sequence[mpz], alphas: Sequence[mpz], public_key: PublicKey
) -> list[mpz]:
    """Encrypt signed integers, each with its own fresh blinding exponent.

    Raises:
        PlaintextOverflowError: If one does not satisfy ``|M| < n/3``.
        ValueError: If there are more or fewer exponents than plaintexts.
    """
    pairs = zip(plaintexts, alphas, strict=True)
    return [_encrypt_one(m, alpha, public_key) for m, alpha in pairs]


def _encrypt_one(plaintext: mpz, alpha: mpz, public_key: PublicKey) -> mpz:
    n = public_key.n
    if 3 * abs(plaintext) >= n:
        raise PlaintextOverflowError("a plaintext does not fit a third of the key")
    blinding = blinding_table(public_key).power(alpha)
    return (1 + n * (plaintext % n)) * blinding % public_key.n_squared


def add(left: Sequence[mpz], right: Sequence[mpz], public_key: PublicKey) -> list[mpz]:
    """Add two encrypted vectors: the product of their ciphertexts mod n**2.

    Raises:
        ValueError: If they differ in length.
    """
    modulus = public_key.n_squared
    return [a * b % modulus for a, b in zip(left, right, strict=True)]
