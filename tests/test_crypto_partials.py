"""A key holder's answer counts only for its own place, set and round."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.aggregation import RoundSum
from crypto.entries import set_digest
from crypto.errors import (
    BadPartialError,
    InvalidSignatureError,
    KeyMismatchError,
    MalformedMessageError,
    NotEnoughSharesError,
)
from crypto.wire import (
    PartialReply,
    partial_signed_bytes,
)
from tests.crypto_group import (
    Round,
    added,
    identities,
    make_facts,
    make_round,
)


def _answered() -> tuple[Round, RoundSum, PartialReply]:
    one = make_round()
    total = added(one, 4)
    return one, total, one.opener(2).answer(total.open_request(), total.context)


def _resigned(total: RoundSum, client_id: int, **values: Any) -> PartialReply:
    """Sign a partial as a key holder that does not follow the protocol."""
    reply = PartialReply(**values, signature=b"")
    signed = partial_signed_bytes(
        total.context, reply.set_digest, reply.holder, reply.partials
    )
    return replace(reply, signature=identities(6)[client_id - 1].sign(signed))


def test_partial_of_its_own_holder_is_accepted() -> None:
    _, total, reply = _answered()

    partials = total.check_partial(PartialReply.from_bytes(reply.to_bytes()), 2)

    assert len(partials) == total.num_ciphertexts


def test_partial_under_another_client_is_refused() -> None:
    _, total, reply = _answered()

    with pytest.raises(InvalidSignatureError):
        total.check_partial(reply, 3)


def test_partial_for_the_place_of_another_holder_is_refused() -> None:
    _, total, reply = _answered()
    moved = _resigned(
        total, 2, holder=3, set_digest=reply.set_digest, partials=reply.partials
    )

    with pytest.raises(BadPartialError, match="client 2 is not holder 3"):
        total.check_partial(moved, 2)


def test_partial_of_a_client_that_is_no_key_holder_is_refused() -> None:
    _, total, reply = _answered()
    moved = _resigned(
        total, 6, holder=2, set_digest=reply.set_digest, partials=reply.partials
    )

    with pytest.raises(KeyMismatchError, match="client 6 is not a key holder"):
        total.check_partial(moved, 6)


def test_partial_for_another_set_is_refused() -> None:
    _, total, reply = _answered()
    moved = _resigned(total, 2, holder=2, set_digest=bytes(32), partials=reply.partials)

    with pytest.raises(BadPartialError, match="holder 2 answered for another set"):
        total.check_partial(moved, 2)


def test_partial_with_numbers_missing_is_refused() -> None:
    _, total, reply = _answered()
    shorter = _resigned(
        total, 2, holder=2, set_digest=reply.set_digest, partials=reply.partials[:-32]
    )

    with pytest.raises(MalformedMessageError):
        total.check_partial(shorter, 2)


def test_partial_of_another_round_is_refused() -> None:
    one, _, reply = _answered()
    later = added(replace(one, facts=make_facts(round=2)), 4)

    with pytest.raises(InvalidSignatureError):
        later.check_partial(reply, 2)


@pytest.mark.parametrize(
    "change", ["context", "client", "ciphertexts", "order", "less"]
)
def test_digest_of_a_set_depends_on_everything(change: str) -> None:
    one = make_round()
    entries = [one.upload(i).entry() for i in (1, 2)]
    changed = {
        "client": [entries[0], replace(entries[1], client_id=3)],
        "ciphertexts": [entries[0], replace(entries[1], ciphertexts=b"")],
        "order": entries[::-1],
        "less": entries[:1],
    }

    other = set_digest(bytes(32 * (change == "context")), changed.get(change, entries))

    assert other != set_digest(b"", entries)


def test_sum_does_not_open_below_the_threshold() -> None:
    one = make_round()
    total = added(one, 4)
    request = total.open_request()
    partials = {
        i: total.check_partial(one.opener(i).answer(request, total.context), i)
        for i in (1, 2, 3)
    }

    with pytest.raises(NotEnoughSharesError):
        total.total(partials)
