"""A key holder proves that its partial decryptions are right: the public side.

Asked for only when partials do not open a sum and no other set of holders does either;
a holder that cannot prove is named. Shoup, "Practical Threshold Signatures" (EUROCRYPT
2000): equality of two discrete logarithms, batched over all ciphertexts with 128-bit
weights. Implements PROTOCOL.md section 5.7; the secret side is `KeyShare.prove`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256, shake_256
from typing import Final

import gmpy2
from gmpy2 import mpz

from crypto.binding import binding_powers
from crypto.encoding import u8
from crypto.errors import InvalidProofError
from crypto.multiexp import multi_exponentiation
from crypto.powers import public_power
from crypto.public_key import PublicKey

CHALLENGE_BITS: Final = 128
_WEIGHT_BITS = 128


@dataclass(frozen=True)
class PartialStatement:
    """That one holder's partials of one sum were made with its share.

    Attributes:
        public_key: The committee's key.
        context: The round's context, 32 bytes.
        set_digest: The set the partials are bound to.
        holder: Place in the committee, from 1.
        ciphertexts: The summed ciphertexts.
        partials: The holder's partial of every ciphertext.
    """

    public_key: PublicKey
    context: bytes
    set_digest: bytes
    holder: int
    ciphertexts: Sequence[mpz]
    partials: Sequence[mpz]

    @cached_property
    def head(self) -> bytes:
        """What every hash of the proof starts with."""
        return self.context + self.set_digest + u8(self.holder)

    @cached_property
    def base(self) -> mpz:
        """``xt = (prod x'_j**rho_j)**(4*delta) mod n``."""
        product = self._weighted(self._bases)
        key = self.public_key
        return gmpy2.powmod(product, 4 * key.delta, key.n)

    @cached_property
    def power(self) -> mpz:
        """``prod x_ij**(2*rho_j) mod n``, which must be ``xt**s_i``."""
        product = self._weighted(self.partials)
        return product * product % self.public_key.n

    @cached_property
    def mask_bits(self) -> int:
        """Length of the random exponent that hides the share."""
        return self.public_key.key_bits + 2 * CHALLENGE_BITS

    @property
    def response_bytes(self) -> int:
        """Bytes of a response."""
        return -(-(self.mask_bits + 1) // 8)

    def challenge(self, a1: mpz, a2: mpz) -> bytes:
        """Hash the statement and both commitments to 16 bytes."""
        key = self.public_key
        verification = key.verification[self.holder - 1]
        values = (key.v, self.base, verification, self.power, a1, a2)
        data = self.head + b"".join(key.to_bytes(value) for value in values)
        return sha256(b"SA/v1/dleq" + data).digest()[: CHALLENGE_BITS // 8]

    def verify(self, challenge: bytes, response: bytes) -> None:
        """Check a proof.

        Raises:
            InvalidProofError: If it does not hold.
        """
        key, n = self.public_key, self.public_key.n
        failure = InvalidProofError(f"holder {self.holder} cannot prove its partials")
        z, e = mpz(int.from_bytes(response, "big")), int.from_bytes(challenge, "big")
        # Before any power: its time grows with the response.
        if len(response) != self.response_bytes or z.bit_length() > self.mask_bits + 1:
            raise failure
        verification = key.verification[self.holder - 1]
        try:
            a1 = public_power(key.v, z, n) * gmpy2.powmod(verification, -e, n) % n
            a2 = public_power(self.base, z, n) * gmpy2.powmod(self.power, -e, n) % n
        except (ValueError, ZeroDivisionError):  # a partial without an inverse
            a1 = a2 = mpz(0)
        if self.challenge(a1, a2) != challenge:
            raise failure

    @cached_property
    def _bases(self) -> list[mpz]:
        key, ciphertexts = self.public_key, self.ciphertexts
        powers = binding_powers(key, self.set_digest, len(ciphertexts))
        return [c * u % key.n for c, u in zip(ciphertexts, powers, strict=True)]

    @cached_property
    def _weights(self) -> list[int]:
        """``rho_j``: hashed over everything that they weigh."""
        to_bytes = self.public_key.to_bytes
        values = b"".join(to_bytes(x) for x in (*self._bases, *self.partials))
        size = _WEIGHT_BITS // 8
        stream = shake_256(b"SA/v1/batch" + self.head + values).digest(
            size * len(self.ciphertexts)
        )
        return [
            int.from_bytes(stream[at : at + size], "big")
            for at in range(0, len(stream), size)
        ]

    def _weighted(self, values: Sequence[mpz]) -> mpz:
        return multi_exponentiation(
            values, self._weights, self.public_key.n, exponent_bits=_WEIGHT_BITS
        )
