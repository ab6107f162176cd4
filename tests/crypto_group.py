"""A group with small keys for tests of crypto/: dealt once, shared by every test.

The safe primes are those of tests/vectors/safe_primes.json: 256-bit keys open in a
millisecond and protect nothing.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import phe
from gmpy2 import mpz
from hypothesis import settings

from crypto.aggregation import RoundSum
from crypto.context import RoundFacts
from crypto.dealer import deal
from crypto.errors import SecondSetError
from crypto.identity import Identity
from crypto.key_holder import KeyHolder, KeyShare, WholeKey
from crypto.layout import TRAIN
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.opening import Opener, ServedSets
from crypto.params import AggregationParams
from crypto.public_key import PublicKey
from crypto.roster import Roster
from crypto.sealing import seal
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import Upload

# A busy machine must not fail a property: time is bounded where it is the point.
settings.register_profile("crypto", deadline=None)
settings.load_profile("crypto")

VECTORS = Path(__file__).parent / "vectors"
KEY_BITS = 256
COMMITTEES = [(3, 2), (4, 3), (5, 4), (7, 5), (9, 7)]


@cache
def safe_primes(bits: int) -> list[mpz]:
    """Return the stored safe primes of a size."""
    stored = json.loads((VECTORS / "safe_primes.json").read_text())["primes"]
    return [mpz(p, 16) for p in stored[str(bits)]]


@cache
def dealt(
    num_holders: int, threshold: int, key_bits: int = KEY_BITS
) -> tuple[PublicKey, list[KeyHolder]]:
    """Deal the stored primes to a committee, once."""
    p, q, *_ = safe_primes(key_bits // 2)
    return deal(p, q, num_holders=num_holders, threshold=threshold)


def shares_of(num_holders: int, threshold: int) -> tuple[PublicKey, list[KeyShare]]:
    """Deal to a committee of more than one."""
    public_key, holders = dealt(num_holders, threshold)
    return public_key, [one for one in holders if isinstance(one, KeyShare)]


@cache
def whole_key(key_bits: int = KEY_BITS) -> WholeKey:
    """Return the single holder's key over the stored primes."""
    _, (holder,) = dealt(1, 1, key_bits)
    assert isinstance(holder, WholeKey)
    return holder


def phe_ciphertext(key: PublicKey, plaintext: mpz, *, jacobi: int) -> mpz:
    """Encrypt with stock phe, under a blinding of the given Jacobi symbol."""
    r = next(r for r in range(2, 1000) if gmpy2.jacobi(r, key.n) == jacobi)
    public = phe.PaillierPublicKey(int(key.n))
    return mpz(public.raw_encrypt(int(plaintext % key.n), r_value=r))


@cache
def identities(count: int) -> list[Identity]:
    """Return the identities of clients 1..count."""
    return [Identity.create(i) for i in range(1, count + 1)]


def make_params(**changes: Any) -> AggregationParams:
    """Parameters for five clients, all of them key holders, any four of which open."""
    values: dict[str, Any] = {
        "mode": "paillier",
        "key_bits": KEY_BITS,
        "num_holders": 5,
        "threshold": 4,
        "max_corrupt": 2,
        "min_contributors": 4,
        "max_contributors": 5,
        "value_bits": 20,
        "clip": 2.0,
        "w_max": 1024,
        "metrics": {"loss": 1024.0, "accuracy": 1.0},
    }
    return AggregationParams(**(values | changes))


def make_manifest(params: AggregationParams) -> Manifest:
    """Return a manifest of the shared keys, with five clients and one more."""
    public_key, _ = dealt(params.num_holders, params.threshold)
    roster = Roster.of(identities(6), params.num_holders)
    return Manifest(KeySet(public_key, roster, SIMULATION), params)


def make_facts(**changes: Any) -> RoundFacts:
    """The facts of a training round with ten coordinates and two metrics."""
    facts = RoundFacts(
        run_id=bytes(16),
        round=1,
        phase=TRAIN,
        model=bytes([1] * 32),
        dim=10,
        metrics=("loss", "accuracy"),
        run_config=bytes([2] * 32),
        records=bytes([3] * 32),
    )
    return replace(facts, **changes)


def make_contribution(client_id: int, dim: int = 10) -> Contribution:
    """A client's own update, weight and metrics, the same every time."""
    generator = np.random.default_rng(client_id)
    update = generator.normal(scale=1.5, size=dim).astype(np.float32)
    metrics = {"loss": client_id / 3, "accuracy": -1 / client_id}
    return Contribution(update, 100 * client_id, metrics)


class MemoryState:
    """What a key holder served, kept in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[bytes, bytes, int, int], tuple[bytes, bytes]] = {}
        self.sets: dict[tuple[bytes, bytes, int], list[frozenset[int]]] = {}

    def served(
        self, key_id: bytes, run_id: bytes, server_round: int, phase: int
    ) -> tuple[bytes, bytes] | None:
        return self.rows.get((key_id, run_id, server_round, phase))

    def high_water(self, key_id: bytes, run_id: bytes, phase: int) -> int:
        own = [k[2] for k in self.rows if (k[0], k[1], k[3]) == (key_id, run_id, phase)]
        return max(own, default=0)

    def contributors(
        self, key_id: bytes, run_id: bytes, phase: int
    ) -> list[frozenset[int]]:
        return self.sets.get((key_id, run_id, phase), [])

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
        key = (key_id, run_id, server_round, phase)
        if self.rows.setdefault(key, (digest, response)) != (digest, response):
            raise SecondSetError("another set was opened")
        earlier = self.sets.setdefault((key_id, run_id, phase), [])
        earlier.append(frozenset(contributors))


@dataclass
class Round:
    """One round of a group: clients seal, the server adds, key holders open."""

    manifest: Manifest
    facts: RoundFacts

    @property
    def sum(self) -> RoundSum:
        """A new, empty sum."""
        return RoundSum(self.manifest, self.facts)

    def upload(
        self,
        client_id: int,
        contribution: Contribution | None = None,
        *,
        signer: Identity | None = None,
    ) -> Upload:
        """Seal a contribution, the client's standard one unless given."""
        if contribution is None:
            contribution = make_contribution(client_id, self.facts.dim)
        return seal(
            contribution,
            manifest=self.manifest,
            layout=self.facts.layout(self.manifest),
            context=self.facts.context(self.manifest),
            identity=signer or identities(6)[client_id - 1],
        )

    def encoded_sum(self, contributions: Sequence[Contribution]) -> IntVector:
        """Add the encodings in the clear: what the opened sum must equal."""
        layout = self.facts.layout(self.manifest)
        params = self.manifest.params
        total = np.zeros(layout.num_values, dtype=np.int64)
        for contribution in contributions:
            total += encode(contribution, params, layout)
        return total

    def opener(self, client_id: int, state: ServedSets | None = None) -> Opener:
        """Return the key-holder side of a client, with an empty state unless given."""
        params = self.manifest.params
        _, holders = dealt(params.num_holders, params.threshold)
        return Opener(
            self.manifest,
            identities(6)[client_id - 1],
            holders[client_id - 1],
            state or MemoryState(),
        )

    def opened(self, total: RoundSum) -> IntVector:
        """Have the first `threshold` key holders open a sum."""
        request = total.open_request()
        partials = {}
        for client_id in range(1, self.manifest.params.threshold + 1):
            reply = self.opener(client_id).answer(request, total.context)
            partials[client_id] = total.check_partial(reply, client_id)
        return total.total(partials)


def make_round(*, facts: RoundFacts | None = None, **changes: Any) -> Round:
    """Return a round of the standard group, with changed parameters."""
    return Round(make_manifest(make_params(**changes)), facts or make_facts())


def added(one: Round, count: int) -> RoundSum:
    """Add the standard uploads of clients 1..count."""
    total = one.sum
    for client_id in range(1, count + 1):
        total.add(one.upload(client_id))
    return total


def subsets(indices: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Return every subset of a size."""
    return itertools.combinations(indices, size)


def always(value: bytes) -> Callable[[int], bytes]:
    """Return a broken generator: the same bytes at every call."""
    return lambda size: (value * size)[:size]
