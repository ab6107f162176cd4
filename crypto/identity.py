"""Who a client is: an Ed25519 key that signs and an X25519 key that receives a share.

Implements PROTOCOL.md section 7.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.errors import InvalidSignatureError, KeyMismatchError

_KEY_BYTES = 32


@dataclass(frozen=True)
class Identity:
    """A client's own keys.

    Attributes:
        client_id: The client's number on the roster, from 1.
        signing_key: Signs uploads and partial decryptions; never printed.
        sealing_key: Opens what was sealed to this client; never printed.
    """

    client_id: int
    signing_key: Ed25519PrivateKey = field(repr=False)
    sealing_key: X25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, client_id: int) -> "Identity":
        """Make fresh keys with the system's generator."""
        return cls(client_id, Ed25519PrivateKey.generate(), X25519PrivateKey.generate())

    @property
    def signing_public(self) -> bytes:
        """The 32 bytes that verify this client's signatures."""
        return self.signing_key.public_key().public_bytes_raw()

    @property
    def sealing_public(self) -> bytes:
        """The 32 bytes that seal something to this client."""
        return self.sealing_key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign a message that starts with its own label; 64 bytes."""
        return self.signing_key.sign(message)

    def open(self, sealed: bytes) -> bytes:
        """Open what `seal` made for this client.

        Raises:
            KeyMismatchError: If it is damaged or was sealed to somebody else.
        """
        ephemeral, box = sealed[:_KEY_BYTES], sealed[_KEY_BYTES:]
        try:
            shared = self.sealing_key.exchange(
                X25519PublicKey.from_public_bytes(ephemeral)
            )
            key = _sealing_key(shared, ephemeral, self.sealing_public)
            return AESGCM(key).decrypt(bytes(12), box, None)
        except (InvalidTag, ValueError):
            raise KeyMismatchError(
                f"what is sealed here was not sealed to client {self.client_id}"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, secrets included."""
        return {
            "client_id": self.client_id,
            "signing_key": self.signing_key.private_bytes_raw().hex(),
            "sealing_key": self.sealing_key.private_bytes_raw().hex(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Identity":
        """Rebuild an identity from `to_dict`.

        Raises:
            KeyMismatchError: If it is damaged.
        """
        try:
            signing = bytes.fromhex(values["signing_key"])
            sealing = bytes.fromhex(values["sealing_key"])
            return cls(
                int(values["client_id"]),
                Ed25519PrivateKey.from_private_bytes(signing),
                X25519PrivateKey.from_private_bytes(sealing),
            )
        except (KeyError, TypeError, ValueError):
            raise KeyMismatchError("not an identity of this protocol") from None


def verify_signature(signing_public: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature.

    Raises:
        InvalidSignatureError: If it was not made by this key over this message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(signing_public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise InvalidSignatureError("the signature does not verify") from None


def seal(sealing_public: bytes, message: bytes) -> bytes:
    """Encrypt a message to one client: ephemeral X25519, HKDF-SHA256, AES-256-GCM.

    The key serves once, so the nonce is fixed.

    Returns:
        The 32-byte ephemeral public key, then ciphertext and tag.
    """
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(sealing_public))
    key = _sealing_key(shared, public, sealing_public)
    return public + AESGCM(key).encrypt(bytes(12), message, None)


def _sealing_key(shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    info = ephemeral + recipient
    return HKDF(
        algorithm=SHA256(), length=_KEY_BYTES, salt=b"SA/v1/share", info=info
    ).derive(shared)
