"""Every file of tests/vectors/: made without our code, read by our code."""

import json
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from gmpy2 import mpz

from crypto import dealer, errors, knowledge, packing, paillier
from crypto.binding import binding_powers
from crypto.context import RoundFacts
from crypto.encoding import canon, decode
from crypto.entries import set_digest
from crypto.identity import Identity
from crypto.key_holder import KeyHolder, KeyShare, WholeKey
from crypto.layout import make_layout
from crypto.manifest import Manifest
from crypto.params import AggregationParams
from crypto.partial_proof import PartialStatement
from crypto.public_key import PublicKey, derive_v
from crypto.randomness import RandomStream, hedged_stream, upload_info
from crypto.threshold import combine
from crypto.vector import Contribution, encode
from crypto.wire import (
    Broadcast,
    Entry,
    Hello,
    bulk_digest,
    pack_ciphertexts,
    pack_integers,
    partial_signed_bytes,
    upload_signed_bytes,
)
from tests import make_vectors, ring_operations
from tests.crypto_group import VECTORS, make_params

FILES = sorted(set(VECTORS.glob("*.json")) - {VECTORS / "safe_primes.json"})


def _public_key(given: dict[str, Any]) -> PublicKey:
    n, y_seed = mpz(given["n"], 16), bytes.fromhex(given["y_seed"])
    return PublicKey(n, 1, 1, y_seed, derive_v(y_seed, n), ())


def bases(given: dict[str, Any]) -> Any:
    key = _public_key(given)
    return {"h_n": f"{key.h_n:x}", "v": f"{key.v:x}"}


def encrypt(given: dict[str, Any]) -> Any:
    plaintext, alpha = mpz(given["plaintext"], 16), mpz(given["alpha"], 16)
    return f"{paillier.encrypt([plaintext], [alpha], _public_key(given))[0]:x}"


def pack(given: dict[str, Any]) -> Any:
    packed = packing.pack(
        np.array(given["values"], dtype=np.int64),
        slot_bits=given["slot_bits"],
        slots_per_plaintext=given["slots"],
    )
    values = packing.unpack(
        packed,
        count=len(given["values"]),
        slot_bits=given["slot_bits"],
        slots_per_plaintext=given["slots"],
    )
    assert values.tolist() == given["values"]
    return [f"{plaintext:x}" for plaintext in packed]


def unpack(given: dict[str, Any]) -> Any:
    return packing.unpack(
        [mpz(plaintext, 16) for plaintext in given["plaintexts"]],
        count=given["count"],
        slot_bits=given["slot_bits"],
        slots_per_plaintext=given["slots"],
    ).tolist()


def sum_of_uploads(given: dict[str, Any]) -> Any:
    p, q = mpz(given["p"], 16), mpz(given["q"], 16)
    key, (holder,) = dealer.deal(p, q, num_holders=1, threshold=1)
    assert isinstance(holder, WholeKey)
    one, two = [[mpz(c, 16) for c in upload] for upload in given["ciphertexts"]]
    return [f"{holder.decrypt(c):x}" for c in paillier.add(one, two, key)]


def _dealt(given: dict[str, Any]) -> tuple[PublicKey, list[KeyHolder]]:
    return dealer._deal_with(
        mpz(given["p"], 16),
        mpz(given["q"], 16),
        given["holders"],
        coefficients=[mpz(a, 16) for a in given["coefficients"]],
        y_seed=bytes.fromhex(given["y_seed"]),
    )


def open_sum(given: dict[str, Any]) -> Any:
    key, holders = _dealt(given)
    digest = bytes.fromhex(given["set_digest"])
    partials = {int(i): [mpz(x, 16)] for i, x in given["partials"].items()}
    ciphertexts = [mpz(given["ciphertext"], 16)]
    (opened,) = combine(ciphertexts, partials, key, digest)
    for holder in holders:
        assert isinstance(holder, KeyShare)
        own = holder.partials(ciphertexts, digest)
        assert partials.get(holder.index, own) == own
    return f"{opened:x}"


def decode_bytes(given: str) -> Any:
    return canon(decode(bytes.fromhex(given))).hex()


def context(given: dict[str, Any]) -> Any:
    manifest, facts = Manifest.from_dict(given["manifest"]), given["facts"]
    broadcast = Broadcast(
        run_id=bytes.fromhex(facts["run_id"]),
        round=facts["round"],
        phase=facts["phase"],
        metrics=facts["metrics"],
        arrays_key=facts["arrays_key"],
        arrays=[[*head, bytes.fromhex(data)] for *head, data in facts["arrays"]],
        records=facts["message_records"],
    )
    own: RoundFacts = broadcast.facts(facts["run_config"])
    assert own.layout(manifest).to_bytes().hex() == facts["layout"]
    digests = {
        "public_key": manifest.keys.public_key.digest(),
        "params": manifest.params.digest(),
        "roster": manifest.keys.roster.digest(),
        "model": own.model,
        "context": own.context(manifest),
    }
    return {name: digest.hex() for name, digest in digests.items()}


def stream(given: dict[str, Any]) -> Any:
    values = np.array(given["values"], dtype=np.int64)
    with _entropy(given):
        context, client_id = bytes.fromhex(given["context"]), given["client_id"]
        info = upload_info(context, client_id, values)
        made = hedged_stream(info, given["label"])
    return made.take(80).hex()


def _entropy(given: dict[str, Any]) -> AbstractContextManager[Any]:
    """Have the system's generator return the scenario's bytes."""
    octets = bytes.fromhex(given["entropy"])
    return mock.patch.object(secrets, "token_bytes", return_value=octets)


def digest_of_set(given: dict[str, Any]) -> Any:
    entries = [
        Entry(
            client_id=one["client_id"],
            bulk_digest=bulk_digest(bytes.fromhex(one["bulk"])),
            ciphertexts=bytes.fromhex(one["ciphertexts"]),
            proof=b"",
            signature=bytes(64),
        )
        for one in given["entries"]
    ]
    return set_digest(bytes.fromhex(given["context"]), entries).hex()


def sign_upload(given: dict[str, Any]) -> Any:
    return upload_signed_bytes(
        bytes.fromhex(given["context"]),
        given["client_id"],
        bytes.fromhex(given["bulk"]),
        bytes.fromhex(given["body"]),
        bytes.fromhex(given["proof"]),
    ).hex()


def sign_hello(given: dict[str, Any]) -> Any:
    octets = {name: bytes.fromhex(given[name]) for name in ("params", "run_id")}
    nonce = bytes.fromhex(given["nonce"])
    texts = {key: value for key, value in given.items() if key != "nonce"}
    return Hello(**(texts | octets)).signed_bytes(nonce).hex()


def sign_partial(given: dict[str, Any]) -> Any:
    return partial_signed_bytes(
        bytes.fromhex(given["context"]),
        bytes.fromhex(given["set"]),
        given["holder"],
        bytes.fromhex(given["body"]),
    ).hex()


def unseal(given: dict[str, Any]) -> Any:
    identity = Identity.from_dict(given["identity"])
    return identity.open(bytes.fromhex(given["sealed"])).hex()


def encode_update(given: dict[str, Any]) -> Any:
    params: AggregationParams = make_params(**given["params"])
    update = np.array(given["update"], dtype=np.float32)
    names = sorted(given["metrics"])
    layout = make_layout(params, phase=1, dim=update.size, metrics=names)
    contribution = Contribution(update, given["num_examples"], given["metrics"])
    return encode(contribution, params, layout).tolist()


def powers(given: dict[str, Any]) -> Any:
    key = replace(_public_key(given), num_holders=given["holders"])
    digest = bytes.fromhex(given["set_digest"])
    return pack_integers(binding_powers(key, digest, given["count"]), key).hex()


def _statement(given: dict[str, Any], ciphertexts: list[mpz]) -> knowledge.Statement:
    return knowledge.Statement(
        bytes.fromhex(given["context"]),
        given["client_id"],
        bytes.fromhex(given["bulk_digest"]),
        pack_ciphertexts(ciphertexts, _public_key(given)),
    )


def prove_knowledge(given: dict[str, Any]) -> Any:
    key = _public_key(given)
    plaintexts, alphas = (
        [mpz(number, 16) for number in given[name]] for name in ("plaintexts", "alphas")
    )
    return knowledge.prove(
        _statement(given, paillier.encrypt(plaintexts, alphas, key)),
        plaintexts,
        alphas,
        key,
        RandomStream(bytes.fromhex(given["stream_key"])),
    ).hex()


def check_proof(given: dict[str, Any]) -> Any:
    ciphertexts = [mpz(c, 16) for c in given["ciphertexts"]]
    proof = bytes.fromhex(given["proof"])
    statement = _statement(given, ciphertexts)
    return knowledge.verify(statement, ciphertexts, proof, _public_key(given))


def _partial_statement(given: dict[str, Any]) -> tuple[KeyShare, PartialStatement]:
    key, holders = _dealt(given)
    share = holders[given["holder"] - 1]
    assert isinstance(share, KeyShare)
    return share, PartialStatement(
        key,
        bytes.fromhex(given["context"]),
        bytes.fromhex(given["set_digest"]),
        given["holder"],
        [mpz(c, 16) for c in given["ciphertexts"]],
        [mpz(x, 16) for x in given["partials"]],
    )


def prove_partials(given: dict[str, Any]) -> Any:
    share, statement = _partial_statement(given)
    own = share.partials(statement.ciphertexts, statement.set_digest)
    assert own == statement.partials
    with _entropy(given):
        challenge, response = share.prove(statement)
    return {"challenge": challenge.hex(), "response": response.hex()}


def check_partials(given: dict[str, Any]) -> Any:
    _, statement = _partial_statement(given)
    challenge, response = (
        bytes.fromhex(given[name]) for name in ("challenge", "response")
    )
    return statement.verify(challenge, response)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "bases": bases,
    "encrypt": encrypt,
    "pack": pack,
    "unpack": unpack,
    "sum": sum_of_uploads,
    "open": open_sum,
    "decode": decode_bytes,
    "context": context,
    "stream": stream,
    "set": digest_of_set,
    "sign-upload": sign_upload,
    "sign-partial": sign_partial,
    "sign-hello": sign_hello,
    "powers": powers,
    "prove": prove_knowledge,
    "check-proof": check_proof,
    "prove-partials": prove_partials,
    "check-partials": check_partials,
    "unseal": unseal,
    "encode": encode_update,
    **ring_operations.OPERATIONS,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector_gives_what_it_expects(path: Any) -> None:
    vector = json.loads(path.read_text())
    operation = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert operation(vector["input"]) == vector["output"]
        return
    with pytest.raises(getattr(errors, vector["expect"])):
        operation(vector["input"])


def test_generator_still_writes_these_vectors() -> None:
    stored = {path.stem: json.loads(path.read_text()) for path in FILES}

    assert make_vectors.scenarios() == stored
