"""The opened sum is the sum of what the clients encoded, bit for bit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from crypto.errors import (
    DecryptionRefusedError,
    MalformedMessageError,
    SumRangeError,
)
from crypto.layout import EVALUATE
from crypto.sealing import pack_plain, unpack_plain
from crypto.vector import Contribution
from crypto.wire import (
    Upload,
)
from tests.crypto_group import (
    Round,
    added,
    make_contribution,
    make_facts,
    make_round,
)


def _constant(value: float, number: int, dim: int, metric: float) -> Contribution:
    update = np.full(dim, value, dtype=np.float32)
    return Contribution(update, number, {"loss": metric, "accuracy": metric})


def _weighted(dim: int) -> list[Contribution]:
    return [make_contribution(i, dim) for i in range(1, 6)]


SCENARIOS: dict[str, Callable[[int], list[Contribution]]] = {
    "weighted clients": _weighted,
    "one client dropped out": lambda dim: _weighted(dim)[1:],
    "all negative": lambda dim: [_constant(-0.7, 9, dim, -0.5) for _ in range(5)],
    "all at the upper limit": lambda dim: [_constant(9, 1024, dim, 2e9)] * 5,
    "all at the lower limit": lambda dim: [_constant(-9, 1024, dim, -2e9)] * 5,
    "sum of zero": lambda dim: [_constant(x, 7, dim, x) for x in (1, -1, 2, -2)],
}


def _opened(one: Round, contributions: list[Contribution]) -> list[int]:
    """Seal by the last clients, add in any order, open; the summed integers."""
    total = one.sum
    for client_id, contribution in reversed(list(enumerate(contributions, start=1))):
        data = one.upload(client_id, contribution).to_bytes()
        total.add(Upload.from_bytes(data))
    return [int(value) for value in one.opened(total)]


# 11 slots, and 11 limbs after the coordinates: only 11 fill the last ciphertext.
@pytest.mark.parametrize("dim", [1, 2, 10, 11, 12])
@pytest.mark.parametrize("name", SCENARIOS)
def test_opened_sum_equals_the_encoded_integers(name: str, dim: int) -> None:
    one = make_round(facts=make_facts(dim=dim))
    contributions = SCENARIOS[name](dim)

    expected = one.encoded_sum(contributions).tolist()

    assert _opened(one, contributions) == expected


def test_one_of_the_tested_lengths_fills_the_last_ciphertext() -> None:
    one = make_round(facts=make_facts(dim=11))
    values = one.sum.layout.num_values

    assert values % one.manifest.params.slots_per_plaintext == 0


@pytest.mark.parametrize("bits", [4, 12, 24])
def test_sum_is_exact_for_every_width(bits: int) -> None:
    one = make_round(value_bits=bits)
    contributions = _weighted(10)

    expected = one.encoded_sum(contributions).tolist()

    assert _opened(one, contributions) == expected


@pytest.mark.parametrize("name", SCENARIOS)
def test_plain_sum_equals_the_encrypted_one(name: str) -> None:
    plain = make_round(mode="plain", facts=make_facts(dim=10))
    contributions = SCENARIOS[name](10)
    total = plain.sum
    for client_id, contribution in enumerate(contributions, start=1):
        total.add(plain.upload(client_id, contribution))

    assert total.total({}).tolist() == _opened(make_round(), contributions)


def test_evaluation_carries_only_counts_and_metrics() -> None:
    facts = make_facts(phase=EVALUATE, dim=0)
    one = make_round(facts=facts)
    contributions = [
        replace(make_contribution(i), update=np.zeros(0, dtype=np.float32))
        for i in range(1, 5)
    ]

    assert _opened(one, contributions) == one.encoded_sum(contributions).tolist()


def test_mean_is_that_of_the_contributors() -> None:
    one = make_round()
    total = added(one, 4)

    mean = total.mean(one.opened(total))

    assert mean.num_examples == 100 + 200 + 300 + 400
    assert mean.metrics["loss"] == pytest.approx(1.0, abs=1e-4)


def test_contributors_are_sorted() -> None:
    one = make_round()
    total = one.sum
    for client_id in (4, 1, 3):
        total.add(one.upload(client_id))

    assert total.contributors == [1, 3, 4]


def test_same_clients_in_another_order_make_the_same_request() -> None:
    one = make_round()
    uploads = [one.upload(i) for i in range(1, 5)]
    forwards, backwards = one.sum, one.sum
    for upload in uploads:
        forwards.add(upload)
    for upload in reversed(uploads):
        backwards.add(upload)

    assert forwards.open_request() == backwards.open_request()


def test_plain_sum_needs_no_opening() -> None:
    total = make_round(mode="plain").sum

    assert (total.needs_opening, total.num_ciphertexts) == (False, 0)


def test_plain_contribution_survives_the_trip() -> None:
    layout = make_round(mode="plain").sum.layout
    sent = make_contribution(3)

    arrived = unpack_plain(pack_plain(sent, layout), layout)

    assert arrived.update.tolist() == sent.update.tolist()
    assert arrived.num_examples == sent.num_examples
    assert arrived.metrics == sent.metrics


@pytest.mark.parametrize("change", [-64, -41, -40, -4, -1, 1, 4])
def test_plain_contribution_of_another_size_is_malformed(change: int) -> None:
    layout = make_round(mode="plain").sum.layout
    bulk = pack_plain(make_contribution(3), layout)

    with pytest.raises(MalformedMessageError):
        unpack_plain((bulk + bytes(4))[: len(bulk) + change], layout)


@pytest.mark.parametrize("name", ["total", "opens", "partial_statement"])
def test_encrypted_round_without_uploads_opens_nothing(name: str) -> None:
    total = make_round().sum
    attempt: dict[str, Callable[[], object]] = {
        "total": lambda: total.total({}),
        "opens": lambda: total.opens(0, {}),
        "partial_statement": lambda: total.partial_statement(1, []),
    }

    with pytest.raises(DecryptionRefusedError, match="the sum has no contributors"):
        attempt[name]()


def test_empty_round_cannot_be_averaged() -> None:
    total = make_round(mode="plain").sum

    with pytest.raises(SumRangeError, match="add up to nothing"):
        total.mean(total.total({}))
