"""Every line of the worked example of crypto/PROTOCOL.md, as the document writes it."""

from collections.abc import Iterator
from hashlib import sha256

import gmpy2
from gmpy2 import mpz

from crypto.aggregation import RoundSum
from crypto.binding import binding, binding_powers
from crypto.encoding import canon, lp
from crypto.public_key import hash_to_integer
from crypto.threshold import _root, combine
from crypto.vector import IntVector
from crypto.wire import Challenge, PartialReply
from tests.protocol_example import (
    COEFFICIENT,
    CONTRIBUTIONS,
    NONCE,
    OPENED_BY,
    RUN_ID,
    Y_SEED,
    Example,
    P,
    Q,
    entropy,
)
from tests.protocol_hybrid_lines import hybrid_lines


def lines() -> Iterator[tuple[str, str]]:
    """Yield every name and value of the example, as the document writes them."""
    example = Example()
    yield from _encoding_lines()
    yield from _key_lines(example)
    yield from _digest_lines(example)
    yield from _client_lines(example)
    yield from _opening_lines(example)
    yield from hybrid_lines(Example("hybrid"))


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
    yield "challenge", Challenge(NONCE).to_bytes().hex()
    hello = example.hello(1)
    yield "signature of the hello of client 1", hello.signature.hex()
    yield "hello of client 1", hello.to_bytes().hex()


def _client_lines(example: Example) -> Iterator[tuple[str, str]]:
    for client_id in CONTRIBUTIONS:
        upload = example.upload(client_id)
        name = f"client {client_id}"
        yield f"x of {name}", str(example.vector(client_id).tolist())
        yield f"M of {name}", _row(example.plaintexts(client_id))
        yield f"alpha of {name}", _row(example.alphas(client_id))
        yield f"c of {name}", _row(example.ciphertexts(client_id))
        yield f"D_p of {name}", sha256(upload.ciphertexts).hexdigest()
        yield f"x, beta of {name}", ", ".join(map(str, example.masks(client_id)))
        statement = upload.entry().statement(example.context)
        challenges = statement.challenges(upload.proof[:16], 3)
        yield f"e of {name}", str(challenges)
        yield f"proof of {name}", upload.proof.hex()
        yield f"D_z of {name}", sha256(upload.proof).hexdigest()
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
    powers = binding_powers(key, digest, len(total))
    yield "u", _row(factors)
    yield "U", _row(powers)
    bound = [c * power % key.n for c, power in zip(total, powers, strict=True)]
    yield "x'", _row(bound)
    partials = {}
    for holder in OPENED_BY:
        reply = example.opener(holder).answer(round_sum.open_request(), None)
        partials[holder] = round_sum.check_partial(reply, holder)
        yield f"partials of holder {holder}", _row(partials[holder])
        yield f"reply of holder {holder}", reply.to_bytes().hex()
        yield from _proof_lines(example, holder, reply)
    scale = 4 * key.delta**2
    roots = [
        _root(key, {i: partials[i][j] for i in OPENED_BY}, factors[j], scale)
        for j in range(len(total))
    ]
    yield "w", _row(roots)
    yield "opened M", _row(combine(total, partials, key, digest))
    yield from _sum_lines(round_sum, round_sum.total(partials))


def _proof_lines(
    example: Example, holder: int, reply: PartialReply
) -> Iterator[tuple[str, str]]:
    """Have a holder prove what it answered, from entropy that repeats 100 + i."""
    round_sum, opener = example.round_sum, example.opener(holder)
    partials = round_sum.check_partial(reply, holder)
    with entropy(100 + holder):
        opener.answer(round_sum.open_request(), None)
        proof = opener.prove(round_sum.open_request(), None)
    round_sum.check_partial_proof(proof, holder, partials)
    statement = round_sum.partial_statement(holder, partials)
    yield f"xt of holder {holder}", str(statement.base)
    yield f"Y of holder {holder}", str(statement.power)
    yield f"proof of holder {holder}", proof.to_bytes().hex()


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
