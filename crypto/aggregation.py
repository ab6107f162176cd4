"""The server's sum of one round: checked, added, opened; no key needed.

Uploads are added as they arrive. In mode paillier each contributor's ciphertexts are
kept until the round is opened: the key holders must see them to add them themselves.
In mode hybrid that is the one-time key; the bulk part is added in place.
Implements PROTOCOL.md section 8.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from math import sqrt

import numpy as np
from gmpy2 import mpz

from crypto import packing, paillier, rlwe
from crypto.binding import binding_powers
from crypto.bitpack import BitSum
from crypto.context import RoundFacts
from crypto.entries import check_entry, set_digest
from crypto.errors import (
    BadPartialError,
    ContextMismatchError,
    DecryptionRefusedError,
    InvalidProofError,
    MalformedMessageError,
    ParameterError,
)
from crypto.layout import Layout
from crypto.manifest import Manifest
from crypto.parallel import in_background
from crypto.params import AggregationParams
from crypto.partial_proof import PartialStatement
from crypto.ring import Polynomials
from crypto.sealing import unpack_plain
from crypto.threshold import combine, open_one
from crypto.vector import Aggregate, IntVector, decode, encode
from crypto.wire import (
    Entry,
    OpenRequest,
    PartialProof,
    PartialReply,
    Upload,
    pack_integers,
    partial_signed_bytes,
    unpack_integers,
)

# Twelve standard deviations of one error: over two million coefficients the honest
# maximum is about 5.3 of them, times the root of the number of clients.
_RARE_NOISE = 12 * 6.5


class RoundSum:
    """One round's contributions and their sum.

    Attributes:
        context: The context every upload must be made for.
        layout: The round's layout.
        noise: Largest noise of an opened sum against what is hard to reach honestly; a
            share above 1 says that some client does not follow the protocol.
    """

    def __init__(self, manifest: Manifest, facts: RoundFacts) -> None:
        self.context = facts.context(manifest)
        self.layout = facts.layout(manifest)
        self._manifest = manifest
        self._facts = facts
        self._entries: dict[int, Entry] = {}
        self._product: list[mpz] | None = None
        self.noise = 0.0
        self._plain_total = np.zeros(self.layout.num_values, dtype=np.int64)
        self._bulk = _empty_bulk(manifest.params, self.layout)
        self._prepared: Future[list[Polynomials]] | None = None

    @property
    def contributors(self) -> list[int]:
        """Client ids in the sum, sorted."""
        return sorted(self._entries)

    @property
    def needs_opening(self) -> bool:
        """Whether the sum is encrypted."""
        return self._manifest.params.mode != "plain"

    @property
    def num_ciphertexts(self) -> int:
        """Ciphertexts in one upload; 0 in mode plain."""
        if not self.needs_opening:
            return 0
        return self._manifest.params.num_ciphertexts(self.layout.num_values)

    def add(self, upload: Upload) -> None:
        """Check an upload and add it to the sum; a refused one changes nothing.

        Raises:
            ContextMismatchError: If it was made for another context.
            InvalidSignatureError: If its client is unknown or did not sign it.
            InvalidProofError: If its client does not prove what it encrypted.
            DecryptionRefusedError: If the client is in the sum already, or it is full.
            MalformedMessageError: If a part is missing, too long or out of range.
            NonFiniteError: If a contribution in the clear has NaN or infinity.
        """
        if upload.context != self.context:
            raise ContextMismatchError(
                f"client {upload.client_id} answered for another context"
            )
        if upload.client_id in self._entries:
            raise DecryptionRefusedError(f"client {upload.client_id} answered twice")
        if len(self._entries) >= self._manifest.params.max_contributors:
            raise DecryptionRefusedError("the round has all the contributors it holds")
        entry = upload.entry()
        ciphertexts = check_entry(entry, self.context, self._manifest, self.layout)
        if self.needs_opening:
            self._add_encrypted(upload.bulk, ciphertexts)
        else:
            self._add_plain(upload)
        self._entries[upload.client_id] = entry

    def _add_encrypted(self, bulk: bytes, ciphertexts: list[mpz]) -> None:
        if self._bulk is not None:
            self._bulk.add(bulk)  # checks the size, before anything is changed
        if self._product is None:
            self._product = ciphertexts
        else:
            key = self._manifest.keys.public_key
            self._product = paillier.add(self._product, ciphertexts, key)

    def _add_plain(self, upload: Upload) -> None:
        contribution = unpack_plain(upload.bulk, self.layout)
        try:
            self._plain_total += encode(
                contribution, self._manifest.params, self.layout
            )
        except ParameterError:
            raise MalformedMessageError from None

    def open_request(self) -> OpenRequest:
        """Ask for the opening of this sum: every contributor's signed part."""
        facts, key = self._facts, self._manifest.keys.public_key
        powers = binding_powers(key, self._set_digest(), self.num_ciphertexts)
        return OpenRequest(
            run_id=facts.run_id,
            round=facts.round,
            phase=facts.phase,
            model=facts.model,
            dim=facts.dim,
            metrics=list(facts.metrics),
            run_config=facts.run_config,
            records=facts.records,
            entries=[self._entries[i].to_bytes() for i in self.contributors],
            powers=pack_integers(powers, key),
        )

    def prepare(self) -> None:
        """Start, on another thread, what opening takes beside the answers."""
        if self._bulk is not None and self._prepared is None:
            size, params = self.layout.num_values, self._manifest.params
            self._prepared = in_background(
                partial(rlwe.prepare, size, self.context, params)
            )

    def check_partial(self, reply: PartialReply, client_id: int) -> list[mpz]:
        """Check a key holder's answer before it is combined.

        Raises:
            InvalidSignatureError: If that holder did not sign it.
            KeyMismatchError: If the client is no key holder.
            BadPartialError: If it answers for another set or place.
            MalformedMessageError: If partials are missing or out of range.
        """
        roster, key = self._manifest.keys.roster, self._manifest.keys.public_key
        signed = partial_signed_bytes(
            self.context, reply.set_digest, reply.holder, reply.partials
        )
        roster.verify(client_id, reply.signature, signed)
        if roster.holder_index(client_id) != reply.holder:
            raise BadPartialError(f"client {client_id} is not holder {reply.holder}")
        if reply.set_digest != self._set_digest():
            raise BadPartialError(f"holder {reply.holder} answered for another set")
        return unpack_integers(reply.partials, self.num_ciphertexts, key)

    def opens(self, index: int, partials: Mapping[int, Sequence[mpz]]) -> bool:
        """Whether exactly these holders' partials open one of the ciphertexts.

        Args:
            index: Place of the ciphertext, from 0.
            partials: Per holder, one partial of every ciphertext; as many holders as
                the threshold.
        """
        key, ciphertext = self._manifest.keys.public_key, self._ciphertexts()[index]
        own = {holder: values[index] for holder, values in partials.items()}
        try:
            open_one(key, ciphertext, index, own, self._set_digest())
        except BadPartialError:
            return False
        return True

    def check_partial_proof(
        self, proof: PartialProof, client_id: int, partials: Sequence[mpz]
    ) -> None:
        """Check a holder's proof that the partials it gave are right.

        Raises:
            InvalidProofError: If it is not; the holder cheats, or is broken.
            KeyMismatchError: If the client is no key holder.
        """
        holder = self._manifest.keys.roster.holder_index(client_id)
        if (proof.holder, proof.set_digest) != (holder, self._set_digest()):
            raise InvalidProofError(f"holder {holder} proves something else")
        self.partial_statement(holder, partials).verify(proof.challenge, proof.response)

    def partial_statement(
        self, holder: int, partials: Sequence[mpz]
    ) -> PartialStatement:
        """Return what a holder must be able to prove about its partials."""
        return PartialStatement(
            self._manifest.keys.public_key,
            self.context,
            self._set_digest(),
            holder,
            self._ciphertexts(),
            partials,
        )

    def total(self, partials: Mapping[int, Sequence[mpz]]) -> IntVector:
        """Open the sum of the integers; the partials are ignored in mode plain.

        Raises:
            DecryptionRefusedError: If nothing was added.
            NotEnoughSharesError: If fewer than `threshold` holders answered.
            BadPartialError: If the partials do not open the sum.
            SumRangeError: If a client put something else than its slots in.
            NoiseError: If a client's one-time key does not open its bulk part.
        """
        if not self.needs_opening:
            return self._plain_total
        params, key = self._manifest.params, self._manifest.keys.public_key
        plaintexts = combine(self._ciphertexts(), partials, key, self._set_digest())
        sealed = packing.unpack(
            plaintexts,
            count=params.num_sealed(self.layout.num_values),
            slot_bits=params.slot_bits,
            slots_per_plaintext=params.slots_per_plaintext,
        )
        return sealed if self._bulk is None else self._unmask(self._bulk, sealed)

    def mean(self, total: IntVector) -> Aggregate:
        """Turn the opened sum into means (`crypto.vector.decode`)."""
        return decode(total, len(self._entries), self._manifest.params, self.layout)

    def _unmask(self, bulk: BitSum, key_sum: IntVector) -> IntVector:
        count = len(self._entries)
        prepared, self._prepared = self._prepared, None  # large: gone after use
        total, peak = rlwe.unmask(
            bulk,
            key_sum,
            count=count,
            num_values=self.layout.num_values,
            context=self.context,
            params=self._manifest.params,
            prepared=() if prepared is None else prepared.result(),
        )
        self.noise = peak / (_RARE_NOISE * sqrt(count))
        return total

    def _ciphertexts(self) -> list[mpz]:
        if self._product is None:
            raise DecryptionRefusedError("the sum has no contributors")
        return self._product

    def _set_digest(self) -> bytes:
        return set_digest(self.context, [self._entries[i] for i in self.contributors])


def _empty_bulk(params: AggregationParams, layout: Layout) -> BitSum | None:
    """Return the sum of the bulk parts before the first one; None without any."""
    if params.mode != "hybrid":
        return None
    count = rlwe.num_coefficients(layout.num_values, params)
    return BitSum(count, params.modulus_bits)
