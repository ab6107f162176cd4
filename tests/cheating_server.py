"""A server that does not follow the protocol, for the attack tests.

It has what every server has: the public key, the clients' messages, the combiner. It
checks nothing that would spoil an attack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gmpy2 import mpz

from crypto import packing
from crypto.binding import binding_powers
from crypto.entries import set_digest
from crypto.identity import Identity
from crypto.opening import Opener
from crypto.threshold import combine
from crypto.vector import IntVector
from crypto.wire import (
    Entry,
    OpenRequest,
    PartialReply,
    pack_integers,
    unpack_integers,
)
from tests.crypto_group import Round, make_contribution

Answer = Callable[[OpenRequest], PartialReply]


@dataclass(frozen=True)
class CheatingServer:
    """Asks for sums that no honest server asks for, and combines the answers."""

    one: Round

    def request(self, entries: Sequence[Entry]) -> OpenRequest:
        """Ask for the sum of any contributions; all the rest is right."""
        facts, key = self.one.facts, self.one.manifest.keys.public_key
        digest = set_digest(self.one.sum.context, entries)
        powers = binding_powers(key, digest, self.one.sum.num_ciphertexts)
        return OpenRequest(
            run_id=facts.run_id,
            round=facts.round,
            phase=facts.phase,
            model=facts.model,
            dim=facts.dim,
            metrics=list(facts.metrics),
            run_config=facts.run_config,
            records=facts.records,
            entries=[entry.to_bytes() for entry in entries],
            powers=pack_integers(powers, key),
        )

    def open(self, entries: Sequence[Entry], holders: Sequence[Opener]) -> IntVector:
        """Have these holders open the sum of any contributions."""
        answers = [partial(holder.answer, own_context=None) for holder in holders]
        return self.opened(entries, answers)

    def opened(self, entries: Sequence[Entry], holders: Sequence[Answer]) -> IntVector:
        """Ask whoever answers requests, and combine the answers."""
        request, count = self.request(entries), self.one.sum.num_ciphertexts
        key = self.one.manifest.keys.public_key
        partials = {}
        for answer in holders:
            reply = answer(request)
            partials[reply.holder] = unpack_integers(reply.partials, count, key)
        digest = set_digest(self.one.sum.context, entries)
        return self.unpacked(combine(self.total(entries), partials, key, digest))

    def total(self, entries: Sequence[Entry]) -> list[mpz]:
        """Add the ciphertexts of any contributions."""
        n_squared = self.one.manifest.keys.public_key.n_squared
        total = [mpz(1)] * self.one.sum.num_ciphertexts
        for entry in entries:
            read = self.ciphertexts(entry)
            for place, c in zip(range(len(total)), read, strict=False):
                total[place] = total[place] * c % n_squared
        return total

    def ciphertexts(self, entry: Entry) -> list[mpz]:
        """Read ciphertexts without a check."""
        size = 2 * self.one.manifest.keys.public_key.n_bytes
        data = entry.ciphertexts
        return [
            mpz(int.from_bytes(data[at : at + size], "big"))
            for at in range(0, len(data), size)
        ]

    def unpacked(self, plaintexts: list[mpz]) -> IntVector:
        """Split opened plaintexts into their integers."""
        params = self.one.manifest.params
        return packing.unpack(
            plaintexts,
            count=self.one.sum.layout.num_values,
            slot_bits=params.slot_bits,
            slots_per_plaintext=params.slots_per_plaintext,
        )


def uploads(one: Round, *client_ids: int) -> list[Entry]:
    """Return what these clients sent in a round."""
    return [one.upload(client_id).entry() for client_id in client_ids]


def quorum(one: Round, *client_ids: int) -> list[Opener]:
    """Return key holders with an empty memory: clients 1 to 4 unless given."""
    return [one.opener(client_id) for client_id in client_ids or (1, 2, 3, 4)]


def signed(entry: Entry, signer: Identity, context: bytes, **changes: Any) -> Entry:
    """Change a contribution and sign it, as a client that colludes."""
    changed = replace(entry, client_id=signer.client_id, **changes)
    return replace(changed, signature=signer.sign(changed.signed_bytes(context)))


def integers(one: Round, *client_ids: int) -> IntVector:
    """Return the sum of clients' own encoded updates: what an attack wants."""
    dim = one.facts.dim
    return one.encoded_sum([make_contribution(i, dim) for i in client_ids])
