"""The worked example of crypto/PROTOCOL.md, computed by the code.

A toy key of 64 bits, fixed identities and fixed randomness: three clients are enrolled,
two contribute, holders 1 and 3 open the sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import gmpy2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz

from crypto import packing, paillier
from crypto.aggregation import RoundSum
from crypto.context import RoundFacts, model_digest, records_digest
from crypto.dealer import _deal_with
from crypto.encoding import canon, lp
from crypto.identity import Identity
from crypto.key_holder import KeyHolder
from crypto.layout import TRAIN
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.opening import Opener
from crypto.params import AggregationParams
from crypto.public_key import PublicKey, hash_to_integer
from crypto.randomness import _stream_from
from crypto.roster import Roster
from crypto.threshold import _root, binding, bound_root, combine
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import Upload, pack_ciphertexts, upload_signed_bytes

P, Q = mpz(4294967087), mpz(4294965887)
COEFFICIENT = mpz(1234567)
Y_SEED = bytes(range(32))
RUN_ID = bytes(range(16))
CONTRIBUTIONS = {
    1: Contribution(np.array([0.5, -1.0], np.float32), 50, {"loss": 0.75}),
    2: Contribution(np.array([0.25, 2.0], np.float32), 100, {"loss": 0.5}),
}
OPENED_BY = (1, 3)


def make_identity(client_id: int) -> Identity:
    """Return an identity whose secret keys repeat one byte."""
    return Identity(
        client_id,
        Ed25519PrivateKey.from_private_bytes(bytes([client_id]) * 32),
        X25519PrivateKey.from_private_bytes(bytes([16 + client_id]) * 32),
    )


class _Empty:
    """The memory of a key holder that has opened nothing."""

    def served(self, *_: object) -> None:
        """Know nothing."""

    def high_water(self, *_: object) -> int:
        """Know nothing."""
        return 0

    def record(self, *_: object, **__: object) -> None:
        """Forget everything."""


@dataclass(frozen=True)
class Example:
    """The example's keys and one round of it."""

    @cached_property
    def params(self) -> AggregationParams:
        """Parameters of the run."""
        return AggregationParams(
            mode="paillier",
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

    def plaintexts(self, client_id: int) -> list[mpz]:
        """Return a client's packed integers."""
        return packing.pack(
            self.vector(client_id),
            slot_bits=self.params.slot_bits,
            slots_per_plaintext=self.params.slots_per_plaintext,
        )

    def alphas(self, client_id: int) -> list[mpz]:
        """Return blinding exponents from entropy that repeats the client's id."""
        stream = _stream_from(
            bytes([client_id]) * 32,
            self.context,
            client_id,
            self.vector(client_id),
            "alpha",
        )
        return [stream.integer(32) for _ in self.plaintexts(client_id)]

    def ciphertexts(self, client_id: int) -> list[mpz]:
        """Return a client's ciphertexts."""
        pairs = zip(self.plaintexts(client_id), self.alphas(client_id), strict=True)
        return [paillier._encrypt_with(m, self.dealt[0], alpha) for m, alpha in pairs]

    def upload(self, client_id: int) -> Upload:
        """Return a client's sealed contribution."""
        blob = pack_ciphertexts(self.ciphertexts(client_id), self.dealt[0])
        signed = upload_signed_bytes(self.context, client_id, bytes(32), blob)
        signature = self.identities[client_id - 1].sign(signed)
        return Upload(client_id, self.context, b"", blob, signature)

    @cached_property
    def round_sum(self) -> RoundSum:
        """The server's sum of both contributions."""
        result = RoundSum(self.manifest, self.facts)
        for client_id in CONTRIBUTIONS:
            result.add(self.upload(client_id))
        return result


def lines() -> Iterator[tuple[str, str]]:
    """Yield every name and value of the example, as the document writes them."""
    example = Example()
    yield from _encoding_lines()
    yield from _key_lines(example)
    yield from _digest_lines(example)
    yield from _client_lines(example)
    yield from _opening_lines(example)


def _encoding_lines() -> Iterator[tuple[str, str]]:
    yield "lp(0102)", lp(b"\1\2").hex()
    for text, value in (
        ("none", None),
        ("true", True),
        ("1", 1),
        ("-1", -1),
        ("1.0", 1.0),
        ('"a"', "a"),
        ("bytes 0102", b"\1\2"),
        ("[1, 1.0]", [1, 1.0]),
        ('{"b": 1, "a": none}', {"b": 1, "a": None}),
    ):
        yield f"canon({text})", canon(value).hex()


def _key_lines(example: Example) -> Iterator[tuple[str, str]]:
    key, holders = example.dealt
    y = hash_to_integer(b"SA/v1/y", Y_SEED, key.n)
    yield "p, q", f"{P}, {Q}"
    yield "n", str(key.n)
    yield "y_seed", Y_SEED.hex()
    yield "y", str(y)
    yield "h", str(-y * y % key.n)
    yield "hn", str(key.h_n)
    yield "v", str(key.v)
    yield "d = 1/n mod p'q'", str(gmpy2.invert(key.n, (P // 2) * (Q // 2)))
    yield "a_1", str(COEFFICIENT)
    yield "s_1, s_2, s_3", _list(holder.to_dict()["share"] for holder in holders)
    yield "v_1, v_2, v_3", ", ".join(map(str, key.verification))


def _list(hexadecimals: Iterator[str]) -> str:
    return ", ".join(str(int(value, 16)) for value in hexadecimals)


def _digest_lines(example: Example) -> Iterator[tuple[str, str]]:
    manifest, facts = example.manifest, example.facts
    yield "pk_fp", manifest.keys.public_key.digest().hex()
    yield "params", example.params.digest().hex()
    yield "ed25519 of client 1", example.identities[0].signing_public.hex()
    yield "x25519 of client 1", example.identities[0].sealing_public.hex()
    yield "roster", manifest.keys.roster.digest().hex()
    yield "key set", manifest.keys.fingerprint
    yield "model", facts.model.hex()
    yield "run_config", facts.run_config.hex()
    yield "records", facts.records.hex()
    yield "layout", facts.layout(manifest).to_bytes().hex()
    yield "run_id", RUN_ID.hex()
    yield "ctx", example.context.hex()


def _client_lines(example: Example) -> Iterator[tuple[str, str]]:
    for client_id in CONTRIBUTIONS:
        upload = example.upload(client_id)
        name = f"client {client_id}"
        yield f"x of {name}", str(example.vector(client_id).tolist())
        yield f"M of {name}", _row(example.plaintexts(client_id))
        yield f"alpha of {name}", _row(example.alphas(client_id))
        yield f"c of {name}", _row(example.ciphertexts(client_id))
        yield f"D_p of {name}", sha256(upload.ciphertexts).hexdigest()
        yield f"signature of {name}", upload.signature.hex()
        yield f"bytes of the upload of {name}", str(len(upload.to_bytes()))
        yield f"SHA-256 of the upload of {name}", _hash(upload.to_bytes())


def _opening_lines(example: Example) -> Iterator[tuple[str, str]]:
    key, round_sum = example.dealt[0], example.round_sum
    pairs = zip(example.ciphertexts(1), example.ciphertexts(2), strict=True)
    total = [a * b % key.n_squared for a, b in pairs]
    digest = round_sum._set_digest()
    yield "sum of c", _row(total)
    yield "SHA-256 of the opening request", _hash(round_sum.open_request().to_bytes())
    yield "SD", digest.hex()
    factors = [binding(key, digest, j) for j in range(len(total))]
    bound = [bound_root(key, c, u) for c, u in zip(total, factors, strict=True)]
    yield "u", _row(factors)
    yield "x'", _row(bound)
    partials = {}
    for holder in OPENED_BY:
        identity, share = example.identities[holder - 1], example.dealt[1][holder - 1]
        opener = Opener(example.manifest, identity, share, _Empty())
        reply = opener.answer(round_sum.open_request(), None)
        partials[holder] = round_sum.check_partial(reply, holder)
        yield f"partials of holder {holder}", _row(partials[holder])
        yield f"reply of holder {holder}", reply.to_bytes().hex()
    roots = [
        _root(key, bound[j], {i: partials[i][j] for i in OPENED_BY}, factors[j])
        for j in range(len(total))
    ]
    yield "r", _row(roots)
    yield "opened M", _row(combine(total, partials, key, digest))
    yield from _sum_lines(round_sum, round_sum.total(partials))


def _sum_lines(round_sum: RoundSum, total: IntVector) -> Iterator[tuple[str, str]]:
    aggregate = round_sum.mean(total)
    yield "sum of x", str(total.tolist())
    yield "mean update", str(aggregate.mean_update.tolist())
    yield "num-examples", str(aggregate.num_examples)
    for name, value in aggregate.metrics.items():
        yield name, repr(value)


def _row(values: list[mpz]) -> str:
    return str([int(value) for value in values])


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
