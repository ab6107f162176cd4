"""Who takes part: every client's verification key, and the committee among them.

Implements PROTOCOL.md section 7.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from crypto.encoding import u8, u32
from crypto.errors import InvalidSignatureError, KeyMismatchError
from crypto.identity import Identity, verify_signature

_KEY_BYTES = 32
_IDS = 1 << 32


@dataclass(frozen=True)
class Roster:
    """The enrolled clients and key holders, pinned by everybody.

    Attributes:
        clients: Client id to its 32-byte Ed25519 key.
        holders: ``(client id, 32-byte X25519 key)`` of holder i at place i - 1.
    """

    clients: Mapping[int, bytes]
    holders: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, identities: Sequence[Identity], num_holders: int) -> "Roster":
        """Enrol these clients; the first `num_holders` of them form the committee."""
        return cls(
            {one.client_id: one.signing_public for one in identities},
            tuple(
                (one.client_id, one.sealing_public) for one in identities[:num_holders]
            ),
        )

    @cached_property
    def holder_ids(self) -> tuple[int, ...]:
        """Client ids of the key holders, in committee order."""
        return tuple(client_id for client_id, _ in self.holders)

    def holder_index(self, client_id: int) -> int:
        """Return the committee place, from 1, of a client.

        Raises:
            KeyMismatchError: If it is not a key holder.
        """
        if client_id not in self.holder_ids:
            raise KeyMismatchError(f"client {client_id} is not a key holder")
        return self.holder_ids.index(client_id) + 1

    def verify(self, client_id: int, signature: bytes, message: bytes) -> None:
        """Check that an enrolled client signed a message.

        Raises:
            InvalidSignatureError: If it is not enrolled or did not sign this.
        """
        if client_id not in self.clients:
            raise InvalidSignatureError(f"client {client_id} is not on the roster")
        verify_signature(self.clients[client_id], signature, message)

    def digest(self) -> bytes:
        """Hash the roster with its committee: 32 bytes."""
        clients = b"".join(u32(i) + key for i, key in sorted(self.clients.items()))
        holders = b"".join(u32(i) + self.clients[i] + x for i, x in self.holders)
        head = b"SA/v1/roster" + u32(len(self.clients))
        return sha256(head + clients + u8(len(self.holders)) + holders).digest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "clients": {str(i): key.hex() for i, key in sorted(self.clients.items())},
            "holders": [[i, key.hex()] for i, key in self.holders],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Roster":
        """Rebuild a roster from `to_dict`.

        Raises:
            KeyMismatchError: If it is damaged.
        """
        try:
            clients = {int(i): bytes.fromhex(k) for i, k in values["clients"].items()}
            holders = tuple((int(i), bytes.fromhex(k)) for i, k in values["holders"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise KeyMismatchError("not a roster of this protocol") from None
        roster = cls(clients, holders)
        roster._check()
        return roster

    def _check(self) -> None:
        """Check what `digest` relies on: ids of 32 bits and keys of 32 bytes."""
        keys = [*self.clients.values(), *(key for _, key in self.holders)]
        if any(len(key) != _KEY_BYTES for key in keys):
            raise KeyMismatchError(f"a key on the roster is not {_KEY_BYTES} bytes")
        if any(not 0 < client_id < _IDS for client_id in self.clients):
            raise KeyMismatchError("a client id on the roster is out of range")
        if any(client_id not in self.clients for client_id in self.holder_ids):
            raise KeyMismatchError("a key holder is not on the roster")
        if len(set(self.clients.values())) != len(self.clients):
            raise KeyMismatchError("two clients on the roster have the same key")
        if len(set(self.holder_ids)) != len(self.holder_ids):
            raise KeyMismatchError("a client is a key holder twice")
