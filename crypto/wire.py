"""Messages between parties, as bytes.

Every message is the canonical encoding (`crypto.encoding`) of one map with a `kind`.
Whatever is wrong with bytes from outside gives one bare `MalformedMessageError`.
Implements PROTOCOL.md section 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any, Final, Self

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.context import NamedArray, RoundFacts, model_digest, records_digest
from crypto.encoding import Canonical, canon, decode, u8, u32
from crypto.errors import MalformedMessageError
from crypto.layout import TRAIN
from crypto.public_key import PublicKey

DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_DTYPES: Final = ("<f2", "<f4", "<f8")

# What the fixed widths of signed and hashed bytes hold.
_IDS: Final = 1 << 32
_ROUNDS: Final = 1 << 63
_SMALL: Final = 1 << 8


@dataclass(frozen=True)
class _Message:
    """A message whose fields are its wire fields."""

    def to_bytes(self) -> bytes:
        """Encode the message."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return canon({"kind": type(self).__name__, **values})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode untrusted bytes.

        Raises:
            MalformedMessageError: If they are not exactly such a message.
        """
        values = decode(data)
        names = {item.name for item in fields(cls)} | {"kind"}
        if not isinstance(values, dict) or set(values) != names:
            raise MalformedMessageError
        if values.pop("kind") != cls.__name__:
            raise MalformedMessageError
        message = cls(**values)
        try:
            message._check()
        except (TypeError, ValueError, KeyError, AttributeError):
            raise MalformedMessageError from None
        return message

    def _check(self) -> None:
        """Raise if a field has the wrong type or size."""


@dataclass(frozen=True)
class Hello(_Message):
    """A client's answer to "who is there?": which protocol, code, keys and run."""

    client_id: int
    protocol: str
    code: str
    keys: str
    params: bytes
    run_id: bytes

    def _check(self) -> None:
        _below(_IDS, self.client_id)
        _texts(self.protocol, self.code, self.keys)
        _sized(self.params, DIGEST_BYTES)
        _sized(self.run_id, 16)


@dataclass(frozen=True)
class Broadcast(_Message):
    """What the server sends for a round: the model and every record the app reads."""

    run_id: bytes
    round: int
    phase: int
    metrics: list[str]
    arrays_key: str
    arrays: list[list[Any]]
    records: dict[str, dict[str, Canonical]]

    def _check(self) -> None:
        _sized(self.run_id, 16)
        _below(_ROUNDS, self.round)
        _below(_SMALL, self.phase)
        _texts(self.arrays_key, *_list(self.metrics))
        for record in _map(self.records).values():
            _map(record)
        self.named_arrays()

    def named_arrays(self) -> list[NamedArray]:
        """Return the model's arrays, writable copies, in the order sent."""
        return [_array(*item) for item in _list(self.arrays)]

    def facts(self, run_config: Mapping[str, Canonical]) -> RoundFacts:
        """Return the round's facts for whoever reads this broadcast.

        Args:
            run_config: The run configuration as the reader's own app sees it.
        """
        arrays = self.named_arrays()
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
        little = array.astype(array.dtype.newbyteorder("<"))
        packed.append([name, little.dtype.str, list(array.shape), little.tobytes()])
    return packed


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> NamedArray:
    _texts(name)
    _below(_ROUNDS, *_list(shape))
    if dtype not in _DTYPES:
        raise MalformedMessageError
    flat: NDArray[np.generic] = np.frombuffer(data, dtype=dtype).copy()
    return name, flat.reshape(shape)


@dataclass(frozen=True)
class Upload(_Message):
    """A client's sealed contribution to one round.

    Attributes:
        client_id: Who sends it.
        context: The context it was made for, 32 bytes.
        bulk: Vector in the clear in mode plain; empty in mode paillier.
        ciphertexts: The vector's ciphertexts, each 2|n|/8 bytes; empty in plain.
        signature: Of the client, over context, id and both digests.
    """

    client_id: int
    context: bytes
    bulk: bytes
    ciphertexts: bytes
    signature: bytes

    def _check(self) -> None:
        _below(_IDS, self.client_id)
        _bytes(self.bulk, self.ciphertexts)
        _sized(self.context, DIGEST_BYTES)
        _sized(self.signature, SIGNATURE_BYTES)

    def entry(self) -> "Entry":
        """Return the part that key holders get: everything but the bulk."""
        return Entry(
            self.client_id, bulk_digest(self.bulk), self.ciphertexts, self.signature
        )


@dataclass(frozen=True)
class Entry(_Message):
    """One contributor's signed part of an opening request."""

    client_id: int
    bulk_digest: bytes
    ciphertexts: bytes
    signature: bytes

    def _check(self) -> None:
        _below(_IDS, self.client_id)
        _bytes(self.ciphertexts)
        _sized(self.bulk_digest, DIGEST_BYTES)
        _sized(self.signature, SIGNATURE_BYTES)

    def signed_bytes(self, context: bytes) -> bytes:
        """Return the bytes the client's signature covers."""
        return upload_signed_bytes(
            context, self.client_id, self.bulk_digest, self.ciphertexts
        )


@dataclass(frozen=True)
class OpenRequest(_Message):
    """The server asks a key holder to open the sum of these contributions."""

    run_id: bytes
    round: int
    phase: int
    model: bytes
    dim: int
    metrics: list[str]
    run_config: bytes
    records: bytes
    entries: list[bytes]

    def _check(self) -> None:
        _sized(self.run_id, 16)
        _below(_ROUNDS, self.round, self.dim)
        _below(_SMALL, self.phase)
        _texts(*_list(self.metrics))
        for digest in (self.model, self.run_config, self.records):
            _sized(digest, DIGEST_BYTES)
        _bytes(*_list(self.entries))

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
class PartialReply(_Message):
    """A key holder's partial decryptions, bound to one set and signed."""

    holder: int
    set_digest: bytes
    partials: bytes
    signature: bytes

    def _check(self) -> None:
        _below(_SMALL, self.holder)
        _sized(self.set_digest, DIGEST_BYTES)
        _bytes(self.partials)
        _sized(self.signature, SIGNATURE_BYTES)


def bulk_digest(bulk: bytes) -> bytes:
    """Return D_c: the hash of the bulk part, 32 zero bytes where there is none."""
    return sha256(bulk).digest() if bulk else bytes(DIGEST_BYTES)


def upload_signed_bytes(
    context: bytes, client_id: int, bulk: bytes, ciphertexts: bytes
) -> bytes:
    """Return what a client signs (PROTOCOL.md 7.5); `bulk` is the digest D_c.

    The last digest is that of the proof of plaintext knowledge, empty so far.
    """
    digests = bulk + sha256(ciphertexts).digest() + sha256(b"").digest()
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


def pack_partials(partials: Sequence[mpz], public_key: PublicKey) -> bytes:
    """Write partial decryptions side by side, each |n|/8 bytes."""
    return b"".join(public_key.to_bytes(partial) for partial in partials)


def unpack_partials(data: bytes, count: int, public_key: PublicKey) -> list[mpz]:
    """Read exactly `count` partial decryptions, each in ``(0, n)``.

    Raises:
        MalformedMessageError: If there are more or fewer, or one is out of range.
    """
    partials = _integers_from(data, count, public_key.n_bytes)
    if not all(0 < partial < public_key.n for partial in partials):
        raise MalformedMessageError
    return partials


def _integers_from(data: bytes, count: int, size: int) -> list[mpz]:
    if len(data) != count * size:
        raise MalformedMessageError
    return [
        mpz(int.from_bytes(data[at : at + size], "big"))
        for at in range(0, len(data), size)
    ]


def _below(limit: int, *values: object) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedMessageError
        if not 0 <= value < limit:
            raise MalformedMessageError


def _texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise MalformedMessageError


def _bytes(*values: object) -> None:
    if not all(isinstance(value, bytes) for value in values):
        raise MalformedMessageError


def _sized(value: object, size: int) -> None:
    if not isinstance(value, bytes) or len(value) != size:
        raise MalformedMessageError


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedMessageError
    return value


def _map(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessageError
    return value
