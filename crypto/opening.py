"""A key holder decides whether to open a sum, and opens it.

The holder trusts nothing the server says: it recomputes the round's context from its
own pinned facts, checks every contributor, adds the ciphertexts itself and records
the set before its answer leaves. Implements PROTOCOL.md section 8.3.
"""

from dataclasses import dataclass
from typing import Protocol

from gmpy2 import mpz

from crypto import paillier
from crypto.aggregation import check_entry, set_digest
from crypto.errors import (
    ContextMismatchError,
    DecryptionRefusedError,
    RoundClosedError,
    SecondSetError,
)
from crypto.identity import Identity
from crypto.key_holder import KeyHolder
from crypto.manifest import Manifest
from crypto.wire import (
    Entry,
    OpenRequest,
    PartialReply,
    pack_partials,
    partial_signed_bytes,
)


class ServedSets(Protocol):
    """The durable memory of what a key share was used for."""

    def served(
        self, key_id: bytes, run_id: bytes, server_round: int, phase: int
    ) -> tuple[bytes, bytes] | None:
        """Return set digest and response recorded for a round, if any."""

    def high_water(self, key_id: bytes, run_id: bytes, phase: int) -> int:
        """Return the highest round recorded, 0 if none."""

    def record(
        self,
        key_id: bytes,
        run_id: bytes,
        server_round: int,
        phase: int,
        *,
        digest: bytes,
        response: bytes,
    ) -> None:
        """Commit a set durably; raise `SecondSetError` if the round has another."""


@dataclass(frozen=True)
class Opener:
    """A key holder with everything it needs to decide.

    Attributes:
        manifest: The run's pinned facts.
        identity: Signs the answer.
        holder: The share of the key.
        state: What was opened before.
    """

    manifest: Manifest
    identity: Identity
    holder: KeyHolder
    state: ServedSets

    def answer(self, request: OpenRequest, own_context: bytes | None) -> PartialReply:
        """Check a request and answer it with partial decryptions.

        Args:
            request: What the server asks.
            own_context: The context this party computed as a client of the same
                round and phase; None if it took no part.

        Raises:
            ContextMismatchError: If the request is not for this client's context.
            DecryptionRefusedError: If the set is too small, too large or not sorted.
            SecondSetError: If another set was opened in this round and phase.
            RoundClosedError: If a later round was opened already.
            InvalidSignatureError: If a contribution is not signed by its client.
            MalformedMessageError: If a contribution is malformed.
        """
        if self.manifest.params.mode == "plain":
            raise DecryptionRefusedError("nothing is encrypted in mode plain")
        facts = request.facts()
        context = facts.context(self.manifest)
        if own_context is not None and own_context != context:
            raise ContextMismatchError(
                "the sum is of another context than this client's"
            )
        layout = facts.layout(self.manifest)
        entries = [Entry.from_bytes(data) for data in request.entries]
        self._check_set(entries)
        contributions = [
            check_entry(entry, context, self.manifest, layout) for entry in entries
        ]
        digest = set_digest(context, entries)
        stored = self._stored(request, digest)
        if stored is not None:
            return PartialReply.from_bytes(stored)
        reply = self._open(contributions, context, digest)
        self._record(request, digest, reply)
        return reply

    def _check_set(self, entries: list[Entry]) -> None:
        params = self.manifest.params
        ids = [entry.client_id for entry in entries]
        if ids != sorted(set(ids)):
            raise DecryptionRefusedError("contributors are not sorted and distinct")
        if not params.min_contributors <= len(ids) <= params.max_contributors:
            raise DecryptionRefusedError(
                f"the key holder opens sums of {params.min_contributors} to "
                f"{params.max_contributors} updates, got {len(ids)}"
            )

    def _stored(self, request: OpenRequest, digest: bytes) -> bytes | None:
        key_id = self.manifest.keys.public_key.digest()
        known = self.state.served(key_id, request.run_id, request.round, request.phase)
        if known is not None:
            if known[0] != digest:
                raise SecondSetError(
                    f"round {request.round} phase {request.phase}: "
                    f"another set was opened already"
                )
            return known[1]
        newest = self.state.high_water(key_id, request.run_id, request.phase)
        # The newest round itself was recorded meanwhile: `record` decides about it.
        if request.round < newest:
            raise RoundClosedError(
                f"round {request.round} is over, round {newest} was opened"
            )
        return None

    def _open(
        self, contributions: list[list[mpz]], context: bytes, digest: bytes
    ) -> PartialReply:
        key = self.manifest.keys.public_key
        total = contributions[0]
        for ciphertexts in contributions[1:]:
            total = paillier.add(total, ciphertexts, key)
        partials = pack_partials(self.holder.partials(total, digest), key)
        index = self.holder.index
        signed = partial_signed_bytes(context, digest, index, partials)
        return PartialReply(index, digest, partials, self.identity.sign(signed))

    def _record(self, request: OpenRequest, digest: bytes, reply: PartialReply) -> None:
        self.state.record(
            self.manifest.keys.public_key.digest(),
            request.run_id,
            request.round,
            request.phase,
            digest=digest,
            response=reply.to_bytes(),
        )
