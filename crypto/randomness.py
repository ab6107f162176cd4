"""Randomness of an upload or a proof: one seam, hedged against a repeated generator.

A cloned machine, a fork or a broken system generator repeats its output. Mixed with
the round's context, the client and the message, the streams still differ wherever
repeating one would hurt. Implements PROTOCOL.md section 6.
"""

import secrets
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.encoding import u32


class RandomStream:
    """AES-256 in counter mode under a key that is used for one purpose of one upload.

    Made inside the call that seals an upload and dropped with it: it never outlives
    that call, so it is never carried over a fork.
    """

    def __init__(self, key: bytes) -> None:
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        return self._stream.update(bytes(size))

    def integer(self, bits: int) -> mpz:
        """Return a uniform integer in ``[0, 2**bits)``."""
        size = -(-bits // 8)
        return mpz(int.from_bytes(self.take(size), "big")) >> (8 * size - bits)


def upload_info(context: bytes, client_id: int, values: NDArray[np.int64]) -> bytes:
    """Return what the streams of one upload are bound to.

    Args:
        context: The 32-byte digest of the round's context.
        client_id: Who uploads.
        values: Everything that is about to be sealed.
    """
    message = sha256(np.ascontiguousarray(values, dtype="<i8").data).digest()
    return context + u32(client_id) + message


def hedged_stream(info: bytes, label: str) -> RandomStream:
    """Make a stream that differs for other information even if entropy repeats.

    Args:
        info: Hash-like bytes over all that the stream's output is used with.
        label: What the stream is for; no two streams of one upload share it.
    """
    return _stream_from(secrets.token_bytes(32), info + label.encode())


def _stream_from(entropy: bytes, info: bytes) -> RandomStream:
    """Derive the stream from given entropy: the seam for vectors and fault tests."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=b"SA/v1/prg", info=info)
    return RandomStream(kdf.derive(entropy))
