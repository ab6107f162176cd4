"""The private side of opening: one share of the decryption key, or the whole key.

Only a client that is a key holder imports this; the server never does.
Implements PROTOCOL.md section 5.4 for a committee and 5.5 for a single holder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gmpy2
from gmpy2 import mpz

from crypto.binding import binding_powers, check_binding_powers
from crypto.errors import KeyMismatchError
from crypto.parallel import parallel_map
from crypto.partial_proof import PartialStatement
from crypto.powers import secret_power
from crypto.public_key import PublicKey
from crypto.randomness import hedged_stream


@dataclass(frozen=True)
class KeyShare:
    """A committee member's share ``s_i`` of ``n**-1 mod p'q'``.

    Attributes:
        public_key: The key it belongs to.
        index: Place of the holder in the committee, from 1.
        secret: The share; never printed.
    """

    public_key: PublicKey
    index: int
    secret: mpz = field(repr=False)

    def verify(self) -> None:
        """Check the share against the public verification value.

        Raises:
            KeyMismatchError: If it belongs to another key or place.
        """
        key = self.public_key
        possible = 1 <= self.index <= key.num_holders and self.secret > 0
        if not possible or (
            secret_power(key.v, self.secret, key.n) != key.verification[self.index - 1]
        ):
            raise KeyMismatchError(
                f"share {self.index} does not belong to key {key.fingerprint}"
            )

    def partials(
        self,
        ciphertexts: Sequence[mpz],
        set_digest: bytes,
        powers: Sequence[mpz] | None = None,
    ) -> list[mpz]:
        """Return the partial decryptions ``x'**(2*delta*s_i) mod n``.

        Call this only for sums that `crypto.opening` has checked.

        Args:
            ciphertexts: The summed ciphertexts.
            set_digest: The set they are the sum of.
            powers: Its binding powers as somebody else computed them; None to compute
                them here.

        Raises:
            DecryptionRefusedError: If the powers are not those of the set.
        """
        key = self.public_key
        if powers is None:
            powers = binding_powers(key, set_digest, len(ciphertexts))
        else:
            check_binding_powers(key, set_digest, powers)
        exponent = 2 * key.delta * self.secret

        def partial(pair: tuple[mpz, mpz]) -> mpz:
            ciphertext, power = pair
            return secret_power(ciphertext * power % key.n, exponent, key.n)

        return parallel_map(partial, zip(ciphertexts, powers, strict=True))

    def prove(self, statement: PartialStatement) -> tuple[bytes, bytes]:
        """Prove that the statement's partials were made with this share.

        Returns:
            Challenge and response of Shoup's proof (PROTOCOL.md section 5.7).
        """
        key = self.public_key
        base, power = key.to_bytes(statement.base), key.to_bytes(statement.power)
        stream = hedged_stream(statement.head + base + power, "dleq")
        mask = stream.integer(statement.mask_bits)
        a1 = secret_power(key.v, mask, key.n)
        a2 = secret_power(statement.base, mask, key.n)
        challenge = statement.challenge(a1, a2)
        response = mask + int.from_bytes(challenge, "big") * self.secret
        return challenge, int(response).to_bytes(statement.response_bytes, "big")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, secret included."""
        return {"index": self.index, "share": f"{self.secret:x}"}


@dataclass(frozen=True)
class WholeKey:
    """The single holder's key (1 of 1): the factors of n.

    Attributes:
        public_key: The key it belongs to.
        p: First prime factor; never printed.
        q: Second prime factor; never printed.
    """

    public_key: PublicKey
    p: mpz = field(repr=False)
    q: mpz = field(repr=False)
    index: int = 1

    def verify(self) -> None:
        """Check that the factors give n.

        Raises:
            KeyMismatchError: If they do not.
        """
        n = self.public_key.n
        if not 1 < self.p < n or self.p * self.q != n:
            fingerprint = self.public_key.fingerprint
            raise KeyMismatchError(f"the key does not belong to key {fingerprint}")

    def partials(
        self,
        ciphertexts: Sequence[mpz],
        set_digest: bytes,
        powers: Sequence[mpz] | None = None,
    ) -> list[mpz]:
        """Return the n-th roots of the ciphertexts mod n, by CRT.

        The root opens the ciphertext and lets everybody check that it does. One holder
        can answer for one set only, so nothing is bound in.
        """
        del set_digest, powers
        return parallel_map(self._root, ciphertexts)

    def decrypt(self, ciphertext: mpz) -> mpz:
        """Decrypt one ciphertext by CRT, centred to ``(-n/2, n/2)`` (Paillier 1999)."""
        n = self.public_key.n
        m_p = self._decrypt_mod(ciphertext, self.p, self.q)
        m_q = self._decrypt_mod(ciphertext, self.q, self.p)
        value = self._crt(m_p, m_q)
        return value - n if 2 * value > n else value

    def _root(self, ciphertext: mpz) -> mpz:
        n = self.public_key.n
        roots = [
            secret_power(ciphertext % f, gmpy2.invert(n, f - 1), f)
            for f in (self.p, self.q)
        ]
        return self._crt(*roots)

    def _decrypt_mod(self, ciphertext: mpz, p: mpz, q: mpz) -> mpz:
        """``L_p(c**(p-1)) * h_p mod p`` with ``h_p = L_p((1+n)**(p-1))**-1``."""
        power = secret_power(ciphertext % (p * p), p - 1, p * p)
        h = gmpy2.invert(-q % p, p)  # (1+n)**(p-1) = 1 - n mod p**2
        return (power - 1) // p * h % p

    def _crt(self, mod_p: mpz, mod_q: mpz) -> mpz:
        lift = (mod_p - mod_q) * gmpy2.invert(self.q, self.p) % self.p
        return mod_q + lift * self.q

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, secret included."""
        return {"index": 1, "p": f"{self.p:x}", "q": f"{self.q:x}"}


KeyHolder = KeyShare | WholeKey


def holder_from_dict(values: Mapping[str, Any], public_key: PublicKey) -> KeyHolder:
    """Rebuild a holder's secret from `to_dict` and check it.

    Raises:
        KeyMismatchError: If it is damaged or belongs to another key.
    """
    holder: KeyHolder
    try:
        if "p" in values:
            holder = WholeKey(public_key, mpz(values["p"], 16), mpz(values["q"], 16))
        else:
            secret = mpz(values["share"], 16)
            holder = KeyShare(public_key, int(values["index"]), secret)
    except (KeyError, TypeError, ValueError):
        raise KeyMismatchError("not a key share of this protocol") from None
    holder.verify()
    return holder
