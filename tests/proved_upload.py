"""A client's ciphertexts with everything that it knows, says and proves about them."""

import secrets
from dataclasses import dataclass, replace
from functools import cache

import pytest
from gmpy2 import mpz

from crypto import paillier
from crypto.errors import InvalidProofError
from crypto.knowledge import Statement, prove, verify
from crypto.randomness import RandomStream
from crypto.wire import pack_ciphertexts
from tests.crypto_group import whole_key

KEY = whole_key().public_key
CONTEXT, NO_BULK = bytes(range(32)), bytes(32)
SIZE = KEY.n_bytes


@dataclass(frozen=True)
class Proved:
    """What a client knows, says and proves."""

    plaintexts: list[mpz]
    alphas: list[mpz]
    ciphertexts: list[mpz]
    proof: bytes = b""
    client_id: int = 3
    context: bytes = CONTEXT
    bulk_digest: bytes = NO_BULK

    @property
    def statement(self) -> Statement:
        packed = pack_ciphertexts(self.ciphertexts, KEY)
        return Statement(self.context, self.client_id, self.bulk_digest, packed)

    def again(self, stream_key: bytes | None = None) -> "Proved":
        """Prove what it says now."""
        stream = RandomStream(stream_key or secrets.token_bytes(32))
        proof = prove(self.statement, self.plaintexts, self.alphas, KEY, stream)
        return replace(self, proof=proof)

    def verify(self) -> None:
        verify(self.statement, self.ciphertexts, self.proof, KEY)

    def is_refused(self) -> bool:
        with pytest.raises(InvalidProofError) as caught:
            self.verify()
        return str(caught.value) == (
            f"client {self.client_id} does not prove what it encrypted"
        )


def unproved(count: int, *, alpha_bits: int = 128) -> Proved:
    """Encrypt plaintexts of every size and sign, as client 3."""
    limit = int(KEY.n // 3)
    plaintexts = [mpz(secrets.randbelow(2 * limit) - limit) for _ in range(count)]
    alphas = [mpz(secrets.randbits(alpha_bits)) for _ in range(count)]
    return Proved(plaintexts, alphas, paillier.encrypt(plaintexts, alphas, KEY))


@cache
def proved(count: int = 3) -> Proved:
    return unproved(count).again()


def with_part(one: Proved, name: str, value: int) -> Proved:
    """Write another number into a part of the proof."""
    sizes = {"B": 2 * SIZE, "z": SIZE, "zb": len(one.proof) - 3 * SIZE}
    starts = {"B": 0, "z": 2 * SIZE, "zb": 3 * SIZE}
    at, size = starts[name], sizes[name]
    octets = value.to_bytes(size, "big", signed=value < 0)
    return replace(one, proof=one.proof[:at] + octets + one.proof[at + size :])


def part(one: Proved, name: str) -> int:
    slices = {
        "B": slice(0, 2 * SIZE),
        "z": slice(2 * SIZE, 3 * SIZE),
        "zb": slice(3 * SIZE, None),
    }
    return int.from_bytes(one.proof[slices[name]], "big")
