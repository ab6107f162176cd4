"""A round in mode hybrid, played once and kept open: every step can be timed.

The sum is checked before anything is timed. Widths are made for `MAX_CLIENTS`; no step
but the checks of the uploads, given for each one, depends on how many are in the sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from gmpy2 import mpz

from crypto import memo, packing, paillier, rlwe
from crypto.binding import binding_powers
from crypto.bitpack import BitSum
from crypto.context import RoundFacts
from crypto.entries import check_entry, set_digest
from crypto.identity import Identity
from crypto.key_holder import KeyHolder
from crypto.layout import TRAIN
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.params import AggregationParams
from crypto.roster import Roster
from crypto.sealing import seal
from crypto.threshold import combine
from crypto.vector import Contribution, IntVector, decode, encode
from crypto.wire import Entry, Upload
from experiments.bench.scene import (
    HOLDERS,
    BenchError,
    deal_fixed_primes,
    default_params,
)
from experiments.settings import default
from experiments.timing import Measurement

MAX_CLIENTS: Final = 100
SENDERS: Final = 4  # a sum of fewer is never opened
_EXAMPLES: Final = 600

SEAL: Final = "client: seal"
ADD: Final = "server: add an upload"
DECODE: Final = "server: decode"
POWERS: Final = "  server: binding powers"
PARTIALS: Final = "  a member: partials"
COMBINE: Final = "  server: combine"
CHECK: Final = "server: check an upload"
MEMBER_CHECK: Final = "member: check an upload"


class HybridScene:
    """A round whose steps can be made again and again.

    Args:
        manifest: Keys and parameters of the run.
        holders: The committee.
        facts: Of the round.
        contribution: What every client brings.

    Attributes:
        layout: The round's layout.
        contribution: What every client brings.
        upload: What the first client sent.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        holders: Sequence[KeyHolder],
        facts: RoundFacts,
        contribution: Contribution,
    ) -> None:
        self._manifest = manifest
        self._holders = holders
        self._context = facts.context(manifest)
        self.layout = facts.layout(manifest)
        self.contribution = contribution

    @property
    def params(self) -> AggregationParams:
        """The run's parameters."""
        return self._manifest.params

    def play(self, identities: Sequence[Identity]) -> None:
        """Have these clients send, the server add, the committee open."""
        key = self._manifest.keys.public_key
        self._identity = identities[0]
        uploads = [self._seal(identity) for identity in identities]
        self.upload = uploads[0]
        entries = [upload.entry() for upload in uploads]
        self._total = self._empty_sum()
        for upload in uploads:
            self._total.add(upload.bulk)
        first, *others = (self._check(entry) for entry in entries)
        for ciphertexts in others:
            first = paillier.add(first, ciphertexts, key)
        self._product = first
        self._digest = set_digest(self._context, entries)
        self._powers = binding_powers(key, self._digest, len(first))
        self._partials = {
            holder.index: self._answer(holder)
            for holder in self._holders[: self.params.threshold]
        }
        self._key_sum = packing.unpack(
            self._combine(),
            count=self.params.num_sealed(self.layout.num_values),
            slot_bits=self.params.slot_bits,
            slots_per_plaintext=self.params.slots_per_plaintext,
        )

    def measurements(self) -> list[Measurement]:
        """Return the steps in their order."""
        key, spare, entry = (
            self._manifest.keys.public_key,
            self._empty_sum(),
            self.upload.entry(),
        )
        ciphertexts = self._check(entry)

        def add() -> None:
            spare.add(self.upload.bulk)
            paillier.add(self._product, ciphertexts, key)

        calls: dict[str, Callable[[], object]] = {
            SEAL: lambda: self._seal(self._identity),
            ADD: add,
            POWERS: lambda: binding_powers(key, self._digest, len(self._product)),
            PARTIALS: lambda: self._answer(self._holders[0]),
            COMBINE: self._combine,
            DECODE: self.decode,
            CHECK: lambda: self._check(self.upload.entry()),
            MEMBER_CHECK: lambda: self._check(entry),
        }
        return [Measurement(name, call) for name, call in calls.items()]

    def decode(self) -> IntVector:
        """Decrypt the sum with the opened keys and turn it into means."""
        values, _ = rlwe.unmask(
            self._total,
            self._key_sum,
            count=SENDERS,
            num_values=self.layout.num_values,
            context=self._context,
            params=self.params,
        )
        decode(values, SENDERS, self.params, self.layout)
        return values

    def _seal(self, identity: Identity) -> Upload:
        rlwe.shared_polynomials.cache_clear()  # every client for itself
        return seal(
            self.contribution,
            manifest=self._manifest,
            layout=self.layout,
            context=self._context,
            identity=identity,
        )

    def _check(self, entry: Entry) -> list[mpz]:
        memo.forget()  # it was made, and is checked again and again, in one process
        return check_entry(entry, self._context, self._manifest, self.layout)

    def _answer(self, holder: KeyHolder) -> list[mpz]:
        memo.forget()  # every holder is a process of its own
        return holder.partials(self._product, self._digest, self._powers)

    def _combine(self) -> list[mpz]:
        key = self._manifest.keys.public_key
        return combine(self._product, self._partials, key, self._digest)

    def _empty_sum(self) -> BitSum:
        count = rlwe.num_coefficients(self.layout.num_values, self.params)
        return BitSum(count, self.params.modulus_bits)


def hybrid_params(key_bits: int) -> AggregationParams:
    """Return the project's defaults, for many clients and in mode hybrid."""
    return replace(
        default_params(key_bits),
        mode="hybrid",
        max_contributors=MAX_CLIENTS,
        metrics={"train_loss": 1024.0},
    )


def make_hybrid_scene(parameters: int) -> HybridScene:
    """Play a round up to the opened keys.

    Raises:
        BenchError: If the sum is not the sum of what went in.
    """
    params = hybrid_params(default("key-bits"))
    public_key, holders = deal_fixed_primes(params.key_bits)
    identities = [Identity.create(i) for i in range(1, MAX_CLIENTS + 1)]
    keys = KeySet(public_key, Roster.of(identities, HOLDERS), SIMULATION)
    scene = HybridScene(
        manifest=Manifest(keys, params),
        holders=holders,
        facts=_facts(parameters),
        contribution=_contribution(parameters),
    )
    scene.play(identities[:SENDERS])
    expected = SENDERS * encode(scene.contribution, params, scene.layout)
    if not np.array_equal(scene.decode(), expected):
        raise BenchError(f"the sum of {parameters} parameters is wrong")
    return scene


def _facts(parameters: int) -> RoundFacts:
    return RoundFacts(
        run_id=bytes(16),
        round=1,
        phase=TRAIN,
        model=bytes(32),
        dim=parameters,
        metrics=("train_loss",),
        run_config=bytes(32),
        records=bytes(32),
    )


def _contribution(parameters: int) -> Contribution:
    update = np.random.default_rng(0).normal(scale=0.3, size=parameters)
    return Contribution(update.astype(np.float32), _EXAMPLES, {"train_loss": 1.0})
