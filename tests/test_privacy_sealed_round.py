"""The round that every privacy experiment attacks (`experiments.privacy`)."""

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.privacy.sealed_round import (
    SealedRound,
    make_params,
    quantised_total,
    seal_round,
)

CLIP, BITS = 0.5, 2048
MODES = ["hybrid", "paillier"]


@pytest.fixture(scope="module", params=MODES)
def sealed(request: pytest.FixtureRequest) -> SealedRound:
    return seal_round(updates(3), mode=request.param, clip=CLIP, key_bits=BITS)


def updates(count: int) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(1)
    return [generator.normal(0, 0.2, 300).astype(np.float32) for _ in range(count)]


def clipped(update: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(update, -CLIP, CLIP)


def test_what_is_opened_is_the_plain_sum_to_half_a_step_per_client(
    sealed: SealedRound,
) -> None:
    plain = np.sum([clipped(u).astype(float) for u in sealed.updates], axis=0)
    steps = np.abs(sealed.total - plain).max() / sealed.step
    assert 0 < steps <= 0.5 * 3 + 0.1  # the global model is in float32


def test_a_sweep_may_use_the_quantised_sum(sealed: SealedRound) -> None:
    total = quantised_total(
        sealed.updates, mode=sealed.params.mode, clip=CLIP, key_bits=BITS
    )
    assert np.abs(total - sealed.total).max() < 0.1 * sealed.step


def test_a_colluding_committee_and_server_see_the_plain_update(
    sealed: SealedRound,
) -> None:
    for index, update in enumerate(sealed.updates):
        steps = np.abs(sealed.collude(index) - clipped(update)) / sealed.step
        assert steps.max() <= 0.501


def test_the_server_gets_the_uploads_and_no_update(sealed: SealedRound) -> None:
    assert [upload.client_id for upload in sealed.uploads] == [1, 2, 3]
    received = b"".join(
        bytes(reply.content.config_records["unseen"]["data"])  # type: ignore[arg-type]
        for reply in sealed.received
    )
    assert sealed.uploads[0].ciphertexts in received
    assert all(update.tobytes() not in received for update in sealed.updates)
    assert all(
        clipped(update)[:4].tobytes() not in received for update in sealed.updates
    )


@pytest.mark.parametrize("clients", [2, 3, 4, 5, 50])
def test_a_round_of_any_size_has_a_committee(clients: int) -> None:
    params = make_params(clients)
    assert params.threshold == min(4, clients)
    assert params.max_contributors == clients
