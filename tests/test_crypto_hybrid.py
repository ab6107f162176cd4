"""Rounds in mode hybrid: the sum that paillier opens, from one-time keys only."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crypto import rlwe, sealing
from crypto.errors import DecryptionRefusedError
from crypto.layout import EVALUATE
from crypto.params import RING_DEGREE
from crypto.vector import Contribution
from crypto.wire import Upload
from tests.crypto_group import (
    Round,
    added,
    make_contribution,
    make_facts,
    make_round,
)

EXTRAS = 11  # limbs of the standard layout at 20 value bits


def _hybrid(**changes: Any) -> Round:
    return make_round(mode="hybrid", **changes)


def _constant(value: float, dim: int) -> Contribution:
    update = np.full(dim, value, dtype=np.float32)
    return Contribution(update, 1024, {"loss": value, "accuracy": value})


def _signs(dim: int) -> Contribution:
    update = np.resize(np.array([9, -9, 0.5], dtype=np.float32), dim)
    return Contribution(update, 1024, {"loss": -2e9, "accuracy": 2e9})


SCENARIOS: dict[str, Callable[[int], list[Contribution]]] = {
    "weighted clients": lambda dim: [make_contribution(i, dim) for i in range(1, 6)],
    "one client dropped out": lambda dim: [
        make_contribution(i, dim) for i in range(2, 6)
    ],
    "all negative": lambda dim: [_constant(-0.7, dim)] * 5,
    "all at the upper limit": lambda dim: [_constant(9, dim)] * 5,
    "all at the lower limit": lambda dim: [_constant(-9, dim)] * 5,
    "signs in turn": lambda dim: [_signs(dim)] * 5,
    "sum of zero": lambda dim: [_constant(x, dim) for x in (1, -1, 2, -2)],
}


def _opened(one: Round, contributions: list[Contribution]) -> list[int]:
    total = one.sum
    for client_id, contribution in reversed(list(enumerate(contributions, start=1))):
        data = one.upload(client_id, contribution).to_bytes()
        total.add(Upload.from_bytes(data))
    return [int(value) for value in one.opened(total)]


@pytest.mark.parametrize("dim", [1, 100, RING_DEGREE - EXTRAS, RING_DEGREE, 5000])
@pytest.mark.parametrize("name", SCENARIOS)
def test_opened_sum_equals_the_encoded_integers(name: str, dim: int) -> None:
    one, contributions = _hybrid(facts=make_facts(dim=dim)), SCENARIOS[name](dim)

    expected = one.encoded_sum(contributions).tolist()

    assert _opened(one, contributions) == expected


@pytest.mark.parametrize("dim", [1, 100, 2500])
@pytest.mark.parametrize("name", SCENARIOS)
def test_paillier_opens_the_same_integers(name: str, dim: int) -> None:
    contributions, facts = SCENARIOS[name](dim), make_facts(dim=dim)

    hybrid, direct = (
        _opened(make_round(mode=mode, facts=facts), contributions)
        for mode in ("hybrid", "paillier")
    )

    assert hybrid == direct


# Values in a coefficient: 1, 1, 2, 3 and 6.
@pytest.mark.parametrize(("bits", "rho"), [(24, 1), (20, 1), (16, 2), (10, 3), (4, 6)])
def test_sum_is_exact_around_the_end_of_a_block(bits: int, rho: int) -> None:
    params = _hybrid(value_bits=bits).manifest.params
    extras = _hybrid(value_bits=bits).sum.layout.num_values - 10
    assert params.values_per_coefficient == rho
    for values in (RING_DEGREE * rho - 1, RING_DEGREE * rho, RING_DEGREE * rho + 1):
        one = _hybrid(value_bits=bits, facts=make_facts(dim=values - extras))
        contributions = SCENARIOS["weighted clients"](one.facts.dim)
        expected = one.encoded_sum(contributions).tolist()

        assert len(expected) == values
        assert _opened(one, contributions) == expected


def test_evaluation_carries_only_counts_and_metrics() -> None:
    one = _hybrid(facts=make_facts(phase=EVALUATE, dim=0))
    contributions = [
        replace(make_contribution(i), update=np.zeros(0, dtype=np.float32))
        for i in range(1, 5)
    ]

    assert _opened(one, contributions) == one.encoded_sum(contributions).tolist()


def test_mean_is_that_of_paillier() -> None:
    means = [
        total.mean(one.opened(total))
        for one in (_hybrid(), make_round())
        for total in [added(one, 4)]
    ]

    assert means[0].mean_update.tolist() == means[1].mean_update.tolist()
    assert means[0].metrics == means[1].metrics
    assert means[0].num_examples == means[1].num_examples == 1000


@pytest.mark.parametrize("dim", [1, 2000, 100_000])
def test_number_of_ciphertexts_does_not_depend_on_the_model(dim: int) -> None:
    one = _hybrid(facts=make_facts(dim=dim))
    upload, key = one.upload(1), one.manifest.keys.public_key

    assert one.manifest.params.slot_bits == 10
    assert one.sum.num_ciphertexts == math.ceil(RING_DEGREE / ((256 - 3) // 10))
    assert len(upload.ciphertexts) == one.sum.num_ciphertexts * 2 * key.n_bytes
    assert len(upload.bulk) == sealing.bulk_size(one.manifest.params, one.sum.layout)


@pytest.mark.parametrize("mode", ["plain", "paillier", "hybrid"])
def test_size_of_the_bulk_part_is_known_before(mode: str) -> None:
    one = make_round(mode=mode)

    size = sealing.bulk_size(one.manifest.params, one.sum.layout)

    assert len(one.upload(1).bulk) == size
    assert (size == 0) == (mode == "paillier")


def test_noise_of_honest_clients_is_far_from_a_warning() -> None:
    one = _hybrid(facts=make_facts(dim=10_000))
    total = added(one, 4)
    assert total.noise == 0
    one.opened(total)

    assert 0.2 < total.noise < 0.6  # 3 to 6 of 12 deviations


def test_hybrid_round_without_uploads_opens_nothing() -> None:
    with pytest.raises(DecryptionRefusedError, match="the sum has no contributors"):
        _hybrid().sum.total({})


def test_sum_prepared_before_the_keys_came_needs_nothing_more_of_the_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = _hybrid(facts=make_facts(dim=5000))
    total = added(one, 4)
    expected = one.opened(total).tolist()

    total.prepare()
    assert total._prepared is not None
    total._prepared.result()
    total.prepare()  # once is enough
    with monkeypatch.context() as patch:
        patch.setattr(rlwe, "public_words", None)
        assert one.opened(total).tolist() == expected

    assert one.opened(total).tolist() == expected  # what was prepared is used up


@pytest.mark.parametrize("mode", ["plain", "paillier"])
def test_other_modes_have_nothing_to_prepare(mode: str) -> None:
    total = make_round(mode=mode).sum

    total.prepare()

    assert total._prepared is None


def test_opened_sum_can_be_read_again() -> None:
    one = _hybrid()
    total = added(one, 4)

    assert one.opened(total).tolist() == one.opened(total).tolist()


def test_server_keeps_no_bulk_part() -> None:
    one = _hybrid(facts=make_facts(dim=20_000))
    total = one.sum
    for client_id in range(1, 6):
        total.add(one.upload(client_id))

    kept = sum(len(entry.to_bytes()) for entry in total._entries.values())
    assert kept < 5 * 7000 < len(one.upload(1).bulk)
    assert len(total.open_request().to_bytes()) < 5 * 7000


def test_few_ciphertexts_carry_what_would_take_many() -> None:
    counts = [
        make_round(mode=mode, facts=make_facts(dim=5000)).sum.num_ciphertexts
        for mode in ("hybrid", "paillier")
    ]

    assert counts == [82, 456]
