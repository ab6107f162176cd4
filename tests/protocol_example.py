"""The worked example of crypto/PROTOCOL.md, computed by the code.

A toy key of 64 bits, fixed identities and fixed randomness: three clients are enrolled,
two contribute, holders 1 and 3 open the sum and prove their partials.
"""

import secrets
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz

from crypto import packing, paillier, rlwe
from crypto.aggregation import RoundSum
from crypto.context import RoundFacts, model_digest, records_digest
from crypto.dealer import _deal_with
from crypto.identity import Identity
from crypto.key_holder import KeyHolder
from crypto.layout import TRAIN
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.opening import Opener
from crypto.params import AggregationParams
from crypto.provenance import PROTOCOL
from crypto.public_key import PublicKey
from crypto.randomness import RandomStream, hedged_stream, upload_info
from crypto.roster import Roster
from crypto.sealing import seal
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import Hello, Upload, unpack_ciphertexts

P, Q = mpz(4294967087), mpz(4294965887)
COEFFICIENT = mpz(1234567)
Y_SEED = bytes(range(32))
RUN_ID = bytes(range(16))
CONTRIBUTIONS = {
    1: Contribution(np.array([0.5, -1.0], np.float32), 50, {"loss": 0.75}),
    2: Contribution(np.array([0.25, 2.0], np.float32), 100, {"loss": 0.5}),
}
OPENED_BY = (1, 3)
NONCE = bytes(range(32, 64))


def entropy(party: int) -> AbstractContextManager[Any]:
    """Have the system's generator return one byte, repeated."""
    octets = bytes([party]) * 32
    return mock.patch.object(secrets, "token_bytes", return_value=octets)


def make_identity(client_id: int) -> Identity:
    """Return an identity whose secret keys repeat one byte."""
    return Identity(
        client_id,
        Ed25519PrivateKey.from_private_bytes(bytes([client_id]) * 32),
        X25519PrivateKey.from_private_bytes(bytes([16 + client_id]) * 32),
    )


class _OneRound:
    """The memory of a key holder that opens one set of one round."""

    def __init__(self) -> None:
        self._served: tuple[bytes, bytes] | None = None

    def served(self, *_: object) -> tuple[bytes, bytes] | None:
        """Return what was recorded."""
        return self._served

    def high_water(self, *_: object) -> int:
        """Know no round."""
        return 0

    def contributors(self, *_: object) -> list[frozenset[int]]:
        """Know no set."""
        return []

    def record(
        self,
        *_: object,
        digest: bytes,
        contributors: Collection[int],
        response: bytes,
    ) -> None:
        """Keep the answer."""
        del contributors
        self._served = (digest, response)


@dataclass(frozen=True)
class Example:
    """The example's keys and one round of it.

    Attributes:
        mode: ``paillier``, or ``hybrid`` with the same clients and contributions.
    """

    mode: str = "paillier"

    @cached_property
    def params(self) -> AggregationParams:
        """Parameters of the run."""
        return AggregationParams(
            mode=self.mode,
            key_bits=64,
            num_holders=3,
            threshold=2,
            max_corrupt=0,
            min_contributors=2,
            max_contributors=3,
            value_bits=8,
            clip=1.0,
            w_max=100,
            metrics={"loss": 4.0},
        )

    @cached_property
    def dealt(self) -> tuple[PublicKey, list[KeyHolder]]:
        """The public key and the shares."""
        return _deal_with(P, Q, 3, coefficients=[COEFFICIENT], y_seed=Y_SEED)

    @cached_property
    def identities(self) -> list[Identity]:
        """The three clients, all of them key holders."""
        return [make_identity(i) for i in (1, 2, 3)]

    @cached_property
    def manifest(self) -> Manifest:
        """What everybody pins."""
        keys = KeySet(self.dealt[0], Roster.of(self.identities, 3), SIMULATION)
        return Manifest(keys, self.params)

    @cached_property
    def facts(self) -> RoundFacts:
        """Round 1, training, a model of two parameters."""
        model = [("w", np.array([1.0, 2.0], np.float32))]
        return RoundFacts(
            run_id=RUN_ID,
            round=1,
            phase=TRAIN,
            model=model_digest(model),
            dim=2,
            metrics=("loss",),
            run_config=records_digest({"learning-rate": 0.5, "task": "example"}),
            records=records_digest(
                {"arrays": "arrays", "records": {"config": {"server-round": 1}}}
            ),
        )

    @cached_property
    def context(self) -> bytes:
        """The digest of the round."""
        return self.facts.context(self.manifest)

    def vector(self, client_id: int) -> IntVector:
        """Return a client's encoded integers."""
        layout = self.facts.layout(self.manifest)
        return encode(CONTRIBUTIONS[client_id], self.params, layout)

    def one_time_key(self, client_id: int) -> IntVector:
        """Return the key that a client of mode hybrid sends under Paillier."""
        vector = self.vector(client_id)
        with entropy(client_id):
            _, key = rlwe.mask(
                vector,
                context=self.context,
                params=self.params,
                info=upload_info(self.context, client_id, vector),
            )
        return key

    def plaintexts(self, client_id: int) -> list[mpz]:
        """Return a client's packed integers, or its packed one-time key."""
        hybrid = self.mode == "hybrid"
        return packing.pack(
            self.one_time_key(client_id) if hybrid else self.vector(client_id),
            slot_bits=self.params.slot_bits,
            slots_per_plaintext=self.params.slots_per_plaintext,
        )

    def stream(self, client_id: int, label: str) -> RandomStream:
        """Return a client's stream from entropy that repeats its id."""
        with entropy(client_id):
            return hedged_stream(
                upload_info(self.context, client_id, self.vector(client_id)), label
            )

    def alphas(self, client_id: int) -> list[mpz]:
        """Return a client's blinding exponents."""
        count = len(self.plaintexts(client_id))
        stream = self.stream(client_id, "alpha")
        return paillier.draw_alphas(count, self.dealt[0], stream)

    def masks(self, client_id: int) -> tuple[mpz, mpz]:
        """Return x and beta of a client's proof."""
        stream = self.stream(client_id, "popk")
        return stream.integer(64 + 128) % self.dealt[0].n, stream.integer(290)

    def upload(self, client_id: int) -> Upload:
        """Return a client's sealed contribution."""
        with entropy(client_id):
            return seal(
                CONTRIBUTIONS[client_id],
                manifest=self.manifest,
                layout=self.facts.layout(self.manifest),
                context=self.context,
                identity=self.identities[client_id - 1],
            )

    def ciphertexts(self, client_id: int) -> list[mpz]:
        """Return a client's ciphertexts."""
        return unpack_ciphertexts(self.upload(client_id).ciphertexts, 3, self.dealt[0])

    def opener(self, holder: int) -> Opener:
        """Return a key holder that has opened nothing."""
        identity, share = self.identities[holder - 1], self.dealt[1][holder - 1]
        return Opener(self.manifest, identity, share, _OneRound())

    def hello(self, client_id: int) -> Hello:
        """Return a client's signed hello; its code digest is made up."""
        hello = Hello(
            client_id=client_id,
            protocol=PROTOCOL,
            code="0123456789abcdef",
            keys=self.manifest.keys.fingerprint,
            params=self.params.digest(),
            run_id=RUN_ID,
        )
        signature = self.identities[client_id - 1].sign(hello.signed_bytes(NONCE))
        return replace(hello, signature=signature)

    @cached_property
    def round_sum(self) -> RoundSum:
        """The server's sum of both contributions."""
        result = RoundSum(self.manifest, self.facts)
        for client_id in CONTRIBUTIONS:
            result.add(self.upload(client_id))
        return result
