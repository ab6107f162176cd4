"""Every file of tests/vectors/: made without our code, read by our code."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from crypto import dealer, errors, packing, paillier
from crypto.aggregation import set_digest
from crypto.context import RoundFacts
from crypto.encoding import canon, decode
from crypto.identity import Identity
from crypto.key_holder import KeyShare, WholeKey
from crypto.layout import make_layout
from crypto.manifest import Manifest
from crypto.params import AggregationParams
from crypto.public_key import PublicKey, derive_v
from crypto.randomness import _stream_from
from crypto.threshold import combine
from crypto.vector import Contribution, encode
from crypto.wire import (
    Broadcast,
    Entry,
    bulk_digest,
    partial_signed_bytes,
    upload_signed_bytes,
)
from tests import make_vectors
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
    return f"{paillier._encrypt_with(plaintext, _public_key(given), alpha):x}"


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


def open_sum(given: dict[str, Any]) -> Any:
    key, holders = dealer._deal_with(
        mpz(given["p"], 16),
        mpz(given["q"], 16),
        given["holders"],
        coefficients=[mpz(a, 16) for a in given["coefficients"]],
        y_seed=bytes.fromhex(given["y_seed"]),
    )
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
    return (
        _stream_from(
            bytes.fromhex(given["entropy"]),
            bytes.fromhex(given["context"]),
            given["client_id"],
            np.array(given["values"], dtype=np.int64),
            given["label"],
        )
        .take(80)
        .hex()
    )


def digest_of_set(given: dict[str, Any]) -> Any:
    entries = [
        Entry(
            client_id=one["client_id"],
            bulk_digest=bulk_digest(bytes.fromhex(one["bulk"])),
            ciphertexts=bytes.fromhex(one["ciphertexts"]),
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
    ).hex()


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
    "unseal": unseal,
    "encode": encode_update,
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
