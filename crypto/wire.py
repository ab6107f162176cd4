"""Messages between parties, as bytes.

Every message is the canonical encoding of one map with a `kind` (`crypto.message`).
Whatever is wrong with bytes from outside gives one bare `MalformedMessageError`.
Implements PROTOCOL.md section 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.context import (
    RUN_ID_BYTES,
    NamedArray,
    RoundFacts,
    model_digest,
    records_digest,
)
from crypto.encoding import Canonical, u8, u32
from crypto.errors import MalformedMessageError
from crypto.knowledge import Statement
from crypto.layout import TRAIN
from crypto.message import (
    IDS,
    ROUNDS,
    SMALL,
    Message,
    a_list,
    a_map,
    below,
    byte_strings,
    sized,
    texts,
)
from crypto.public_key import PublicKey

DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
NONCE_BYTES: Final = 32
CHALLENGE_BYTES: Final = 16
_DTYPES: Final = ("<f2", "<f4", "<f8")


@dataclass(frozen=True)
class Challenge(Message):
    """The server asks "who is there?" with a nonce that nobody saw before."""

    nonce: bytes

    def check(self) -> None:
        """Check every field."""
        sized(self.nonce, NONCE_BYTES)


@dataclass(frozen=True)
class Hello(Message):
    """A client's answer: which protocol, code, keys and run.

    The signature covers the nonce, so that no other node can take its place.
    """

    client_id: int
    protocol: str
    code: str
    keys: str
    params: bytes
    run_id: bytes
    signature: bytes = bytes(SIGNATURE_BYTES)

    def check(self) -> None:
        """Check every field."""
        below(IDS, self.client_id)
        texts(self.protocol, self.code, self.keys)
        sized(self.params, DIGEST_BYTES)
        sized(self.run_id, RUN_ID_BYTES)
        sized(self.signature, SIGNATURE_BYTES)

    def signed_bytes(self, nonce: bytes) -> bytes:
        """Return the bytes the client's signature covers."""
        unsigned = replace(self, signature=bytes(SIGNATURE_BYTES))
        return b"SA/v1/hello" + nonce + unsigned.to_bytes()


@dataclass(frozen=True)
class Broadcast(Message):
    """What the server sends for a round: the model and every record the app reads."""

    run_id: bytes
    round: int
    phase: int
    metrics: list[str]
    arrays_key: str
    arrays: list[list[Any]]
    records: dict[str, dict[str, Canonical]]

    def check(self) -> None:
        """Check every field."""
        sized(self.run_id, RUN_ID_BYTES)
        below(ROUNDS, self.round)
        below(SMALL, self.phase)
        texts(self.arrays_key, *a_list(self.metrics))
        for record in a_map(self.records).values():
            a_map(record)
        self.array_views()

    def named_arrays(self) -> list[NamedArray]:
        """Return the model's arrays, writable copies, in the order sent."""
        return [(name, array.copy()) for name, array in self.array_views()]

    def array_views(self) -> list[NamedArray]:
        """Return the model's arrays as they lie in the message, to be read only."""
        return [_array(*item) for item in a_list(self.arrays)]

    def facts(self, run_config: Mapping[str, Canonical]) -> RoundFacts:
        """Return the round's facts for whoever reads this broadcast.

        Args:
            run_config: The run configuration as the reader's own app sees it.
        """
        arrays = self.array_views()
        dim = sum(array.size for _, array in arrays) if self.phase == TRAIN else 0
        readable: Mapping[str, Canonical] = {
            "arrays": self.arrays_key,
            "records": self.records,
        }
        return RoundFacts(
            run_id=self.run_id,
            round=self.round,
            phase=self.phase,
            model=model_digest(arrays),
            dim=dim,
            metrics=tuple(self.metrics),
            run_config=records_digest(run_config),
            records=records_digest(readable),
        )


def pack_arrays(arrays: Sequence[NamedArray]) -> list[list[Any]]:
    """Encode a model's arrays for a `Broadcast`: name, type, shape, bytes."""
    packed = []
    for name, array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        packed.append([name, little.dtype.str, list(array.shape), little.tobytes()])
    return packed


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> NamedArray:
    texts(name)
    below(ROUNDS, *a_list(shape))
    if dtype not in _DTYPES:
        raise MalformedMessageError
    flat: NDArray[np.generic] = np.frombuffer(data, dtype=dtype)
    return name, flat.reshape(shape)


@dataclass(frozen=True)
class Upload(Message):
    """A client's sealed contribution to one round.

    Attributes:
        client_id: Who sends it.
        context: The context it was made for, 32 bytes.
        bulk: Vector in the clear in mode plain; empty in mode paillier.
        ciphertexts: The vector's ciphertexts, each 2|n|/8 bytes; empty in plain.
        proof: That the client knows what it encrypted; empty in plain.
        signature: Of the client, over context, id and three digests.
    """

    client_id: int
    context: bytes
    bulk: bytes
    ciphertexts: bytes
    proof: bytes
    signature: bytes

    def check(self) -> None:
        """Check every field."""
        below(IDS, self.client_id)
        byte_strings(self.bulk, self.ciphertexts, self.proof)
        sized(self.context, DIGEST_BYTES)
        sized(self.signature, SIGNATURE_BYTES)

    def entry(self) -> "Entry":
        """Return the part that key holders get: everything but the bulk."""
        return Entry(
            self.client_id,
            bulk_digest(self.bulk),
            self.ciphertexts,
            self.proof,
            self.signature,
        )


@dataclass(frozen=True)
class Entry(Message):
    """One contributor's signed part of an opening request."""

    client_id: int
    bulk_digest: bytes
    ciphertexts: bytes
    proof: bytes
    signature: bytes

    def check(self) -> None:
        """Check every field."""
        below(IDS, self.client_id)
        byte_strings(self.ciphertexts, self.proof)
        sized(self.bulk_digest, DIGEST_BYTES)
        sized(self.signature, SIGNATURE_BYTES)

    def signed_bytes(self, context: bytes) -> bytes:
        """Return the bytes the client's signature covers."""
        return upload_signed_bytes(
            context, self.client_id, self.bulk_digest, self.ciphertexts, self.proof
        )

    def statement(self, context: bytes) -> Statement:
        """Return what the proof must be about."""
        return Statement(context, self.client_id, self.bulk_digest, self.ciphertexts)


@dataclass(frozen=True)
class OpenRequest(Message):
    """The server asks a key holder to open the sum of these contributions.

    `powers` saves the holder long powers that are the same for all (`crypto.binding`).
    """

    run_id: bytes
    round: int
    phase: int
    model: bytes
    dim: int
    metrics: list[str]
    run_config: bytes
    records: bytes
    entries: list[bytes]
    powers: bytes

    def check(self) -> None:
        """Check every field."""
        sized(self.run_id, RUN_ID_BYTES)
        below(ROUNDS, self.round, self.dim)
        below(SMALL, self.phase)
        texts(*a_list(self.metrics))
        for digest in (self.model, self.run_config, self.records):
            sized(digest, DIGEST_BYTES)
        byte_strings(self.powers, *a_list(self.entries))

    def facts(self) -> RoundFacts:
        """Return the round's facts as the server states them."""
        return RoundFacts(
            run_id=self.run_id,
            round=self.round,
            phase=self.phase,
            model=self.model,
            dim=self.dim,
            metrics=tuple(self.metrics),
            run_config=self.run_config,
            records=self.records,
        )


@dataclass(frozen=True)
class PartialReply(Message):
    """A key holder's partial decryptions, bound to one set and signed."""

    holder: int
    set_digest: bytes
    partials: bytes
    signature: bytes

    def check(self) -> None:
        """Check every field."""
        below(SMALL, self.holder)
        sized(self.set_digest, DIGEST_BYTES)
        byte_strings(self.partials)
        sized(self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True)
class PartialProof(Message):
    """A key holder proves that the partials it gave are right (`partial_proof`)."""

    holder: int
    set_digest: bytes
    challenge: bytes
    response: bytes

    def check(self) -> None:
        """Check every field."""
        below(SMALL, self.holder)
        sized(self.set_digest, DIGEST_BYTES)
        sized(self.challenge, CHALLENGE_BYTES)
        byte_strings(self.response)


def bulk_digest(bulk: bytes) -> bytes:
    """Return D_c: the hash of the bulk part, 32 zero bytes where there is none."""
    return sha256(bulk).digest() if bulk else bytes(DIGEST_BYTES)


def upload_signed_bytes(
    context: bytes, client_id: int, bulk: bytes, ciphertexts: bytes, proof: bytes
) -> bytes:
    """Return what a client signs (PROTOCOL.md 7.5); `bulk` is the digest D_c."""
    digests = bulk + sha256(ciphertexts).digest() + sha256(proof).digest()
    return b"SA/v1/client" + context + u32(client_id) + digests


def partial_signed_bytes(
    context: bytes, set_digest: bytes, holder: int, partials: bytes
) -> bytes:
    """Return what a key holder signs (PROTOCOL.md 7.5)."""
    digest = sha256(partials).digest()
    return b"SA/v1/partial" + context + set_digest + u8(holder) + digest


def pack_ciphertexts(ciphertexts: Sequence[mpz], public_key: PublicKey) -> bytes:
    """Write ciphertexts side by side, each 2|n|/8 bytes, big-endian."""
    size = 2 * public_key.n_bytes
    return b"".join(int(c).to_bytes(size, "big") for c in ciphertexts)


def unpack_ciphertexts(data: bytes, count: int, public_key: PublicKey) -> list[mpz]:
    """Read exactly `count` ciphertexts and check each: a unit below n**2.

    Raises:
        MalformedMessageError: If there are more or fewer, or one is out of range.
    """
    ciphertexts = _integers_from(data, count, 2 * public_key.n_bytes)
    product = mpz(1)
    for c in ciphertexts:
        if not 0 < c < public_key.n_squared:
            raise MalformedMessageError
        product = product * c % public_key.n
    if gmpy2.gcd(product, public_key.n) != 1:
        raise MalformedMessageError
    return ciphertexts


def pack_integers(values: Sequence[mpz], public_key: PublicKey) -> bytes:
    """Write integers below n side by side, each |n|/8 bytes."""
    return b"".join(public_key.to_bytes(value) for value in values)


def unpack_integers(data: bytes, count: int, public_key: PublicKey) -> list[mpz]:
    """Read exactly `count` integers, each in ``(0, n)``: partials or powers.

    Raises:
        MalformedMessageError: If there are more or fewer, or one is out of range.
    """
    values = _integers_from(data, count, public_key.n_bytes)
    if not all(0 < value < public_key.n for value in values):
        raise MalformedMessageError
    return values


def _integers_from(data: bytes, count: int, size: int) -> list[mpz]:
    if len(data) != count * size:
        raise MalformedMessageError
    return [
        mpz(int.from_bytes(data[at : at + size], "big"))
        for at in range(0, len(data), size)
    ]
