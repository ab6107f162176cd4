"""Clients of mode hybrid whose keys, bulk parts or models do not belong together."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from crypto import rlwe
from crypto.errors import (
    ContextMismatchError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedMessageError,
    NoiseError,
    SumRangeError,
)
from crypto.params import NOISE_BOUND
from crypto.vector import IntVector
from crypto.wire import Upload, bulk_digest, upload_signed_bytes
from tests.crypto_group import (
    Round,
    added,
    identities,
    make_contribution,
    make_facts,
    make_round,
)

CHEAT = 3

Mask = tuple[bytes, IntVector]


def _hybrid(**changes: Any) -> Round:
    return make_round(mode="hybrid", **changes)


@contextmanager
def _cheating(change: Callable[[bytes, IntVector], Mask]) -> Iterator[None]:
    """Have the one client that cheats change what it masked, before it signs."""
    real = rlwe.mask

    def mask(values: IntVector, *, info: bytes, **options: Any) -> Mask:
        masked = real(values, info=info, **options)
        client_id = int.from_bytes(info[32:36], "big")
        return change(*masked) if client_id == CHEAT else masked

    with mock.patch.object(rlwe, "mask", mask):
        yield


def _off_by_one(bulk: bytes, key: IntVector) -> Mask:
    key = key.copy()
    key[7] += 1 if key[7] < NOISE_BOUND else -1
    return bulk, key


WRONG_KEYS: dict[str, Callable[[bytes, IntVector], Mask]] = {
    "one coefficient is off by one": _off_by_one,
    "another sign": lambda bulk, key: (bulk, -key),
    "zero": lambda bulk, key: (bulk, 0 * key),
    "rotated": lambda bulk, key: (bulk, np.roll(key, 1)),
    "at the bound": lambda bulk, key: (bulk, 0 * key + NOISE_BOUND),
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_key_that_does_not_match_its_bulk_part_garbles_the_round(name: str) -> None:
    one = _hybrid()
    with _cheating(WRONG_KEYS[name]):
        total = added(one, 4)

    with pytest.raises(NoiseError, match="more noise than its contributors give"):
        one.opened(total)


def test_garbled_bulk_part_garbles_the_round() -> None:
    one = _hybrid()
    with _cheating(lambda bulk, key: (secrets.token_bytes(len(bulk)), key)):
        total = added(one, 4)

    with pytest.raises(NoiseError):
        one.opened(total)


@pytest.mark.parametrize("sign", [1, -1])
def test_key_larger_than_a_client_has_is_refused(sign: int) -> None:
    one = _hybrid()
    with _cheating(lambda bulk, key: (bulk, 0 * key + sign * 400)):
        total = added(one, 4)

    with pytest.raises(SumRangeError, match="the sum of the keys is larger") as caught:
        one.opened(total)
    assert caught.type is SumRangeError


def test_key_beyond_its_slot_is_refused() -> None:
    one, reach = _hybrid(), 511  # of a slot of 10 bits
    with _cheating(lambda bulk, key: (bulk, 0 * key + reach)):
        total = added(one, 4)

    with pytest.raises(SumRangeError):
        one.opened(total)


def test_client_on_another_model_is_refused_by_its_context() -> None:
    one = _hybrid()
    other = replace(one, facts=make_facts(model=bytes([9] * 32)))
    upload = other.upload(CHEAT)
    total = one.sum

    with pytest.raises(ContextMismatchError):
        total.add(upload)
    with pytest.raises(InvalidSignatureError):  # it says it is of this round
        total.add(replace(upload, context=total.context))
    assert total.contributors == []


def test_key_holders_refuse_a_client_on_another_model() -> None:
    one = _hybrid()
    other = replace(one, facts=make_facts(model=bytes([9] * 32)))
    request = added(one, 4).open_request()
    entries = [*request.entries[:2], other.upload(3).entry().to_bytes()]
    mixed = replace(request, entries=[*entries, request.entries[3]])

    with pytest.raises(InvalidSignatureError):
        one.opener(1).answer(mixed, None)


def test_sum_with_a_client_on_another_model_is_noise() -> None:
    # Nobody looks at the context: the public polynomials still differ.
    one, other = _hybrid(), bytes([9] * 32)
    real = rlwe.mask

    def mask(values: IntVector, *, context: bytes, info: bytes, **options: Any) -> Mask:
        client_id = int.from_bytes(info[32:36], "big")
        context = other if client_id == CHEAT else context
        return real(values, context=context, info=info, **options)

    with mock.patch.object(rlwe, "mask", mask):
        total = added(one, 4)

    with pytest.raises(NoiseError):
        one.opened(total)


def _resigned(one: Round, client_id: int, bulk: bytes) -> Upload:
    """Replace an upload's bulk part and sign it, as the client itself."""
    upload = one.upload(client_id)
    signed = upload_signed_bytes(
        upload.context, client_id, bulk_digest(bulk), upload.ciphertexts, upload.proof
    )
    signature = identities(6)[client_id - 1].sign(signed)
    return replace(upload, bulk=bulk, signature=signature)


def test_bulk_part_is_bound_by_signature_and_proof() -> None:
    one = _hybrid()
    total, bulk = one.sum, one.upload(2).bulk

    with pytest.raises(InvalidSignatureError):
        total.add(replace(one.upload(1), bulk=bulk))
    with pytest.raises(InvalidProofError):
        total.add(_resigned(one, 1, bulk))
    assert total.contributors == []


@pytest.mark.parametrize("change", [-1, 1, -1000, 1000])
def test_bulk_part_of_another_size_is_malformed_and_adds_nothing(change: int) -> None:
    one = _hybrid()
    total = one.sum
    with _cheating(lambda bulk, key: ((bulk + bytes(1000))[: len(bulk) + change], key)):
        upload = one.upload(CHEAT)

    with pytest.raises(MalformedMessageError):
        total.add(upload)

    for client_id in (1, 2, 4, 5):
        total.add(one.upload(client_id))
    honest = [make_contribution(i) for i in (1, 2, 4, 5)]
    assert (one.opened(total) == one.encoded_sum(honest)).all()


def test_bulk_part_belongs_to_hybrid_only() -> None:
    hybrid, direct = _hybrid(), make_round()
    with pytest.raises(MalformedMessageError):
        direct.sum.add(_resigned(direct, 1, b"bulk"))
    with pytest.raises(MalformedMessageError):
        hybrid.sum.add(_resigned(hybrid, 1, b""))
