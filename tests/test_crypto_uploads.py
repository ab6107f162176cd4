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
    InvalidSignatureError,
    MalformedMessageError,
    NonFiniteError,
    SumRangeError,
)
from crypto.identity import Identity
from crypto.randomness import RandomStream
from crypto.sealing import pack_plain
from crypto.wire import (
    Upload,
    bulk_digest,
    pack_ciphertexts,
    upload_signed_bytes,
)
from tests.crypto_group import (
    Round,
    added,
    identities,
    make_contribution,
    make_facts,
    make_round,
    safe_primes,
)


def _signed(one: Round, identity: Identity, ciphertexts: bytes, **kept: Any) -> Upload:
    """Sign any ciphertexts as a client that does not follow the protocol."""
    context = one.sum.context
    signed = upload_signed_bytes(context, identity.client_id, bytes(32), ciphertexts)
    values: dict[str, Any] = {
        "client_id": identity.client_id,
        "context": context,
        "bulk": b"",
        "ciphertexts": ciphertexts,
        "signature": identity.sign(signed),
    }
    return Upload(**(values | kept))


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
    rest = one.upload(5).ciphertexts[2 * key.n_bytes :]
    return _signed(one, identities(6)[4], pack_ciphertexts([value], key) + rest)


def _with_a_ciphertext_more(one: Round) -> Upload:
    ciphertexts = one.upload(5).ciphertexts
    return _signed(one, identities(6)[4], ciphertexts + ciphertexts[:64])


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
    ("empty", lambda one: _signed(one, identities(6)[4], b""), MalformedMessageError),
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
    signed = upload_signed_bytes(total.context, 5, bulk_digest(bulk), b"")
    signature = identities(6)[4].sign(signed)

    with pytest.raises(error):
        total.add(Upload(5, total.context, bulk, b"", signature))

    assert total.total({}).tolist() == before
    assert total.contributors == [1, 2, 3, 4]


def test_plain_upload_without_bulk_is_refused() -> None:
    total = make_round(mode="plain").sum
    signed = upload_signed_bytes(total.context, 5, bytes(32), b"")
    upload = Upload(5, total.context, b"", b"", identities(6)[4].sign(signed))

    with pytest.raises(MalformedMessageError):
        total.add(upload)


def test_client_that_leaves_its_slots_is_found_in_the_sum() -> None:
    one = make_round()
    total = added(one, 4)
    key = one.manifest.keys.public_key
    huge = [key.n // 3 - 1] * total.num_ciphertexts
    stream = RandomStream(bytes(32))
    ciphertexts = pack_ciphertexts(paillier.encrypt(huge, key, stream), key)
    total.add(_signed(one, identities(6)[4], ciphertexts))

    with pytest.raises(SumRangeError):
        one.opened(total)


def test_client_that_exceeds_its_value_is_found_in_the_mean() -> None:
    one = make_round()
    total = added(one, 4)
    params, key = one.manifest.params, one.manifest.keys.public_key
    values = np.zeros(total.layout.num_values, dtype=np.int64)
    values[0] = 3_300_000  # fits the slot of 23 bits, but no five clients reach it
    packed = packing.pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
    stream = RandomStream(bytes(32))
    ciphertexts = pack_ciphertexts(paillier.encrypt(packed, key, stream), key)
    total.add(_signed(one, identities(6)[4], ciphertexts))
    opened = one.opened(total)

    with pytest.raises(SumRangeError, match="larger than its contributors"):
        total.mean(opened)
