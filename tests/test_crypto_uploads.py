"""An upload that breaks a rule is refused and changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from crypto import packing, paillier
from crypto.errors import (
    ContextMismatchError,
    CryptoError,
    DecryptionRefusedError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedMessageError,
    NonFiniteError,
    SumRangeError,
)
from crypto.identity import Identity
from crypto.knowledge import Statement, prove
from crypto.randomness import RandomStream
from crypto.sealing import pack_plain
from crypto.wire import Upload, pack_ciphertexts
from tests.crypto_group import (
    Round,
    added,
    identities,
    make_contribution,
    make_facts,
    make_round,
    safe_primes,
)


def _signed(upload: Upload, **changes: Any) -> Upload:
    """Change an upload of client 5 and sign it again."""
    changed = replace(upload, **changes)
    signed = changed.entry().signed_bytes(changed.context)
    return replace(changed, signature=identities(6)[4].sign(signed))


def _of_plaintexts(one: Round, plaintexts: list[mpz]) -> Upload:
    """Encrypt and prove any plaintexts, as client 5 that does not follow the rules."""
    key, stream = one.manifest.keys.public_key, RandomStream(bytes(32))
    alphas = paillier.draw_alphas(len(plaintexts), key, stream)
    blob = pack_ciphertexts(paillier.encrypt(plaintexts, alphas, key), key)
    statement = Statement(one.sum.context, 5, bytes(32), blob)
    proof = prove(statement, plaintexts, alphas, key, stream)
    return _signed(one.upload(5), ciphertexts=blob, proof=proof)


def _foreign(one: Round) -> Upload:
    stranger = Identity.create(7)
    return one.upload(7, make_contribution(7), signer=stranger)


def _signed_by_nobody_enrolled(one: Round) -> Upload:
    return one.upload(5, make_contribution(5), signer=Identity.create(5))


def _of_another_context(one: Round) -> Upload:
    return replace(one, facts=make_facts(round=2)).upload(5)


def _relabelled_context(one: Round) -> Upload:
    return replace(_of_another_context(one), context=one.sum.context)


def _with_a_changed_byte(one: Round) -> Upload:
    upload = one.upload(5)
    return replace(upload, ciphertexts=b"\0" + upload.ciphertexts[1:])


def _with_first_ciphertext(one: Round, value: mpz) -> Upload:
    key = one.manifest.keys.public_key
    upload = one.upload(5)
    rest = upload.ciphertexts[2 * key.n_bytes :]
    return _signed(upload, ciphertexts=pack_ciphertexts([value], key) + rest)


def _with_a_ciphertext_more(one: Round) -> Upload:
    upload = one.upload(5)
    return _signed(upload, ciphertexts=upload.ciphertexts + upload.ciphertexts[:64])


def _without_a_proof(one: Round) -> Upload:
    return _signed(one.upload(5), proof=b"")


def _with_the_proof_of_another_upload(one: Round) -> Upload:
    return _signed(one.upload(5), proof=one.upload(5).proof)


def _with_another_proof(one: Round) -> Upload:
    return replace(one.upload(5), proof=one.upload(5).proof)


def _with_bulk(one: Round) -> Upload:
    return replace(one.upload(5), bulk=b"in the clear")


def _n_squared(one: Round) -> mpz:
    return one.manifest.keys.public_key.n_squared


REFUSED: list[tuple[str, Callable[[Round], Upload], type[CryptoError]]] = [
    ("twice", lambda one: one.upload(1), DecryptionRefusedError),
    ("foreign client", _foreign, InvalidSignatureError),
    ("foreign key", _signed_by_nobody_enrolled, InvalidSignatureError),
    (
        "swapped id",
        lambda one: replace(one.upload(6), client_id=5),
        InvalidSignatureError,
    ),
    ("other context", _of_another_context, ContextMismatchError),
    ("relabelled context", _relabelled_context, InvalidSignatureError),
    ("changed ciphertext", _with_a_changed_byte, InvalidSignatureError),
    ("changed proof", _with_another_proof, InvalidSignatureError),
    ("no proof", _without_a_proof, InvalidProofError),
    ("proof of another", _with_the_proof_of_another_upload, InvalidProofError),
    (
        "empty",
        lambda one: _signed(one.upload(5), ciphertexts=b""),
        MalformedMessageError,
    ),
    ("one more", _with_a_ciphertext_more, MalformedMessageError),
    ("bulk", _with_bulk, MalformedMessageError),
    ("zero", lambda one: _with_first_ciphertext(one, mpz(0)), MalformedMessageError),
    (
        "n squared",
        lambda one: _with_first_ciphertext(one, _n_squared(one)),
        MalformedMessageError,
    ),
    (
        "not coprime",
        lambda one: _with_first_ciphertext(one, safe_primes(128)[0]),
        MalformedMessageError,
    ),
]


@pytest.mark.parametrize(
    ("make", "error"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_upload_that_breaks_a_rule_is_refused_and_changes_nothing(
    make: Callable[[Round], Upload], error: type[CryptoError]
) -> None:
    one = make_round()
    total = added(one, 4)
    request, opened = total.open_request(), one.opened(total).tolist()

    with pytest.raises(error):
        total.add(make(one))

    assert total.open_request() == request
    assert one.opened(total).tolist() == opened


def test_full_round_refuses_another_contributor() -> None:
    one = make_round()
    total = added(one, 5)

    with pytest.raises(DecryptionRefusedError, match="all the contributors it holds"):
        total.add(one.upload(6))


def test_client_id_beyond_32_bits_is_refused_and_not_a_crash() -> None:
    upload = replace(make_round().upload(1), client_id=1 << 32)

    with pytest.raises(MalformedMessageError):
        Upload.from_bytes(upload.to_bytes())


PLAIN_REFUSED: list[tuple[str, dict[str, Any], type[CryptoError]]] = [
    ("nan", {"update": np.full(10, np.nan, dtype=np.float32)}, NonFiniteError),
    ("no examples", {"num_examples": 0}, MalformedMessageError),
    ("nan metric", {"metrics": {"accuracy": 1.0}}, NonFiniteError),
    ("short", {"update": np.zeros(9, dtype=np.float32)}, MalformedMessageError),
]


@pytest.mark.parametrize(
    ("change", "error"),
    [case[1:] for case in PLAIN_REFUSED],
    ids=[case[0] for case in PLAIN_REFUSED],
)
def test_plain_upload_that_breaks_a_rule_is_refused_and_changes_nothing(
    change: dict[str, Any], error: type[CryptoError]
) -> None:
    one = make_round(mode="plain")
    total = added(one, 4)
    before = total.total({}).tolist()
    bulk = pack_plain(replace(make_contribution(5), **change), total.layout)
    upload = _signed(one.upload(5), bulk=bulk)

    with pytest.raises(error):
        total.add(upload)

    assert total.total({}).tolist() == before
    assert total.contributors == [1, 2, 3, 4]


def test_plain_upload_without_bulk_is_refused() -> None:
    one = make_round(mode="plain")

    with pytest.raises(MalformedMessageError):
        one.sum.add(_signed(one.upload(5), bulk=b""))


@pytest.mark.parametrize("part", ["ciphertexts", "proof"])
def test_plain_upload_with_an_encrypted_part_is_refused(part: str) -> None:
    one = make_round(mode="plain")

    with pytest.raises(MalformedMessageError):
        one.sum.add(_signed(one.upload(5), **{part: b"more"}))


def test_client_that_leaves_its_slots_is_found_in_the_sum() -> None:
    one = make_round()
    total = added(one, 4)
    key = one.manifest.keys.public_key
    total.add(_of_plaintexts(one, [key.n // 3 - 1] * total.num_ciphertexts))

    with pytest.raises(SumRangeError):
        one.opened(total)


def test_client_that_exceeds_its_value_is_found_in_the_mean() -> None:
    one = make_round()
    total = added(one, 4)
    params = one.manifest.params
    values = np.zeros(total.layout.num_values, dtype=np.int64)
    values[0] = 3_300_000  # fits the slot of 23 bits, but no five clients reach it
    packed = packing.pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
    total.add(_of_plaintexts(one, packed))
    opened = one.opened(total)

    with pytest.raises(SumRangeError, match="larger than its contributors"):
        total.mean(opened)
