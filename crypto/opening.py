"""A key holder decides whether to open a sum, and opens it.

The holder trusts nothing the server says: it recomputes the round's context from its
own pinned facts, checks every contributor, adds the ciphertexts itself and records
the set before its answer leaves. Implements PROTOCOL.md section 8.3.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from gmpy2 import mpz

from crypto import paillier
from crypto.entries import check_entries, set_digest
from crypto.errors import (
    ContextMismatchError,
    DecryptionRefusedError,
    RoundClosedError,
    SecondSetError,
)
from crypto.identity import Identity
from crypto.key_holder import KeyHolder, KeyShare
from crypto.manifest import Manifest
from crypto.partial_proof import PartialStatement
from crypto.wire import (
    Entry,
    OpenRequest,
    PartialProof,
    PartialReply,
    pack_integers,
    partial_signed_bytes,
    unpack_integers,
)


class ServedSets(Protocol):
    """The durable memory of what a key share was used for."""

    def served(
        self, key_id: bytes, run_id: bytes, server_round: int, phase: int
    ) -> tuple[bytes, bytes] | None:
        """Return set digest and response recorded for a round, if any."""

    def high_water(self, key_id: bytes, run_id: bytes, phase: int) -> int:
        """Return the highest round recorded, 0 if none."""

    def contributors(
        self, key_id: bytes, run_id: bytes, phase: int
    ) -> list[frozenset[int]]:
        """Return whose updates were in each sum recorded for a phase of a run."""

    def record(
        self,
        key_id: bytes,
        run_id: bytes,
        server_round: int,
        phase: int,
        *,
        digest: bytes,
        contributors: Collection[int],
        response: bytes,
    ) -> None:
        """Commit a set durably; raise `SecondSetError` if the round has another."""


@dataclass(frozen=True)
class _Request:
    """An opening request of which everything but the state was checked."""

    key: tuple[bytes, bytes, int, int]  # key id, run id, round, phase
    context: bytes
    digest: bytes
    contributors: frozenset[int]
    ciphertexts: list[list[mpz]]
    powers: bytes  # binding powers as the server claims them


@dataclass(frozen=True)
class Opener:
    """A key holder with everything it needs to decide.

    Attributes:
        manifest: The run's pinned facts.
        identity: Signs the answer.
        holder: The share of the key.
        state: What was opened before.
        min_set_change: The holder's own rule against differencing: a set must differ
            from every earlier one of its run and phase in nobody, or in this many
            clients, on either side. 0 leaves it out.
    """

    manifest: Manifest
    identity: Identity
    holder: KeyHolder
    state: ServedSets
    min_set_change: int = 0

    def answer(self, request: OpenRequest, own_context: bytes | None) -> PartialReply:
        """Check a request and answer it with partial decryptions.

        Args:
            request: What the server asks.
            own_context: The context this party computed as a client of the same
                round and phase; None if it took no part.

        Raises:
            ContextMismatchError: If the request is not for this client's context.
            DecryptionRefusedError: If the set is too small, too large, not sorted, or
                too close to an earlier one.
            SecondSetError: If another set was opened in this round and phase.
            RoundClosedError: If a later round was opened already.
            InvalidSignatureError: If a contribution is not signed by its client.
            InvalidProofError: If a client does not prove what it encrypted.
            MalformedMessageError: If a contribution is malformed.
        """
        checked = self._check(request, own_context)
        stored = self._stored(checked)
        if stored is not None:
            return stored
        self._check_change(checked)
        reply = self._open(checked)
        self.state.record(
            *checked.key,
            digest=checked.digest,
            contributors=sorted(checked.contributors),
            response=reply.to_bytes(),
        )
        return reply

    def prove(self, request: OpenRequest, own_context: bytes | None) -> PartialProof:
        """Prove that the answer given to a request was right.

        Args:
            request: The request as it was answered.
            own_context: As for `answer`.

        Raises:
            DecryptionRefusedError: If this holder did not open that set, or it is the
                only one and proves by answering.
            CryptoError: As for `answer`.
        """
        checked = self._check(request, own_context)
        stored = self._stored(checked)
        if stored is None or not isinstance(self.holder, KeyShare):
            raise DecryptionRefusedError("there is no answer to prove")
        total, key = self._sum(checked), self.manifest.keys.public_key
        statement = PartialStatement(
            key,
            checked.context,
            checked.digest,
            self.holder.index,
            total,
            unpack_integers(stored.partials, len(total), key),
        )
        return PartialProof(
            self.holder.index, checked.digest, *self.holder.prove(statement)
        )

    def _check(self, request: OpenRequest, own_context: bytes | None) -> _Request:
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
        key_id = self.manifest.keys.public_key.digest()
        return _Request(
            key=(key_id, request.run_id, request.round, request.phase),
            context=context,
            digest=set_digest(context, entries),
            contributors=frozenset(entry.client_id for entry in entries),
            ciphertexts=check_entries(entries, context, self.manifest, layout),
            powers=request.powers,
        )

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

    def _stored(self, checked: _Request) -> PartialReply | None:
        key_id, run_id, server_round, phase = checked.key
        known = self.state.served(*checked.key)
        if known is not None:
            if known[0] != checked.digest:
                raise SecondSetError(  # both digests, as evidence for people
                    f"round {server_round} phase {phase}: set {known[0].hex()} was "
                    f"opened, now set {checked.digest.hex()} is asked for"
                )
            return PartialReply.from_bytes(known[1])
        newest = self.state.high_water(key_id, run_id, phase)
        # The newest round itself was recorded meanwhile: `record` decides about it.
        if server_round < newest:
            raise RoundClosedError(
                f"round {server_round} is over, round {newest} was opened"
            )
        return None

    def _check_change(self, checked: _Request) -> None:
        """Slow differencing down: two almost equal sets tell about one client."""
        if not self.min_set_change:
            return
        key_id, run_id, _, phase = checked.key
        for earlier in self.state.contributors(key_id, run_id, phase):
            sides = (checked.contributors - earlier, earlier - checked.contributors)
            if any(0 < len(side) < self.min_set_change for side in sides):
                raise DecryptionRefusedError(
                    f"min-set-change: the set differs from an earlier one in fewer "
                    f"than {self.min_set_change} clients"
                )

    def _sum(self, checked: _Request) -> list[mpz]:
        key = self.manifest.keys.public_key
        total = checked.ciphertexts[0]
        for ciphertexts in checked.ciphertexts[1:]:
            total = paillier.add(total, ciphertexts, key)
        return total

    def _open(self, checked: _Request) -> PartialReply:
        key, digest = self.manifest.keys.public_key, checked.digest
        total = self._sum(checked)
        powers = unpack_integers(checked.powers, len(total), key)
        partials = self.holder.partials(total, digest, powers)
        packed, index = pack_integers(partials, key), self.holder.index
        signed = partial_signed_bytes(checked.context, digest, index, packed)
        return PartialReply(index, digest, packed, self.identity.sign(signed))
