"""A client proves that it knows what it encrypted: one proof for a whole upload.

Without it a client could submit the inverse product of the others' ciphertexts, and the
"sum" would be one victim's update; or replay somebody else's. A Schnorr proof over the
homomorphism ``(M, alpha) -> (1+n)**M * hn**alpha``, batched with 128-bit challenges and
made non-interactive by a hash over everything that is said (Fiat-Shamir), the client's
id and the round's context among it. Implements PROTOCOL.md section 5.6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_256

from gmpy2 import mpz

from crypto.encoding import u32
from crypto.errors import InvalidProofError
from crypto.multiexp import multi_exponentiation
from crypto.paillier import alpha_bits, blinding_table
from crypto.public_key import PublicKey
from crypto.randomness import RandomStream

_CHALLENGE_BITS = 128
_HIDING_BITS = 128  # the mask is so much longer than what it hides


@dataclass(frozen=True)
class Statement:
    """Who claims to know the plaintexts of which ciphertexts, and for which round.

    Attributes:
        context: The round's context, 32 bytes.
        client_id: The prover.
        bulk_digest: D_c of the same upload.
        ciphertexts: The ciphertexts side by side, as uploaded.
    """

    context: bytes
    client_id: int
    bulk_digest: bytes
    ciphertexts: bytes

    def challenges(self, commitment: bytes, count: int) -> list[int]:
        """Hash the statement and the commitment to one exponent per ciphertext."""
        digests = self.bulk_digest + sha256(self.ciphertexts).digest()
        data = self.context + u32(self.client_id) + digests + commitment
        size = _CHALLENGE_BITS // 8
        stream = shake_256(b"SA/v1/popk" + data).digest(size * count)
        return [
            int.from_bytes(stream[at : at + size], "big")
            for at in range(0, len(stream), size)
        ]


def proof_size(public_key: PublicKey, count: int) -> int:
    """Return the bytes of a proof over this many ciphertexts."""
    return 3 * public_key.n_bytes + _response_bytes(public_key, count)


def prove(
    statement: Statement,
    plaintexts: Sequence[mpz],
    alphas: Sequence[mpz],
    public_key: PublicKey,
    stream: RandomStream,
) -> bytes:
    """Prove knowledge of every plaintext and blinding exponent.

    Args:
        statement: What is proved, ciphertexts included.
        plaintexts: The M of every ciphertext, signed.
        alphas: The blinding exponent of every ciphertext.
        public_key: The committee's key.
        stream: Fresh randomness for this proof only; used twice for two statements, it
            gives the plaintexts away.

    Returns:
        ``B || z || zb``, `proof_size` bytes.
    """
    n, n_bytes, count = public_key.n, public_key.n_bytes, len(plaintexts)
    x = stream.integer(public_key.key_bits + _HIDING_BITS) % n
    beta = stream.integer(_mask_bits(public_key, count))
    power = blinding_table(public_key).power(beta)
    commitment = int((1 + n * x) * power % public_key.n_squared)
    head = commitment.to_bytes(2 * n_bytes, "big")
    e = statement.challenges(head, count)
    z = (x + sum(a * m for a, m in zip(e, plaintexts, strict=True))) % n
    zb = beta + sum(a * alpha for a, alpha in zip(e, alphas, strict=True))
    tail = int(zb).to_bytes(_response_bytes(public_key, count), "big")
    return head + public_key.to_bytes(z) + tail


def verify(
    statement: Statement,
    ciphertexts: Sequence[mpz],
    proof: bytes,
    public_key: PublicKey,
) -> None:
    """Check ``(1+n*z) * hn**zb == B * prod c_j**e_j mod n**2``.

    Args:
        statement: What must have been proved.
        ciphertexts: The statement's ciphertexts as integers, each a unit below n**2.
        proof: Bytes from outside.
        public_key: The committee's key.

    Raises:
        InvalidProofError: If the proof is malformed or does not hold.
    """
    n, n_squared, n_bytes = public_key.n, public_key.n_squared, public_key.n_bytes
    count = len(ciphertexts)
    head, rest = proof[: 2 * n_bytes], proof[2 * n_bytes :]
    commitment, z, zb = (
        mpz(int.from_bytes(part, "big"))
        for part in (head, rest[:n_bytes], rest[n_bytes:])
    )
    well_formed = (
        len(proof) == proof_size(public_key, count)
        and 0 < commitment < n_squared
        and z < n
        and zb.bit_length() <= _response_bits(public_key, count)
    )
    if not well_formed:
        raise InvalidProofError(_message(statement))
    claimed = multi_exponentiation(
        ciphertexts,
        statement.challenges(head, count),
        n_squared,
        exponent_bits=_CHALLENGE_BITS,
    )
    known = (1 + n * z) * blinding_table(public_key).power(zb)
    if known % n_squared != commitment * claimed % n_squared:
        raise InvalidProofError(_message(statement))


def _message(statement: Statement) -> str:
    return f"client {statement.client_id} does not prove what it encrypted"


def _mask_bits(public_key: PublicKey, count: int) -> int:
    sum_bits = _CHALLENGE_BITS + (count - 1).bit_length()
    return alpha_bits(public_key) + sum_bits + _HIDING_BITS


def _response_bits(public_key: PublicKey, count: int) -> int:
    return _mask_bits(public_key, count) + 1


def _response_bytes(public_key: PublicKey, count: int) -> int:
    return -(-_response_bits(public_key, count) // 8)
