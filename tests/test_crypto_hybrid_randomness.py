"""A broken generator gives no two uploads the same one-time key, errors or blinding."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import gaussian, paillier, rlwe
from tests.crypto_group import (
    Round,
    always,
    make_contribution,
    make_facts,
    make_round,
)


def _hybrid(**changes: Any) -> Round:
    return make_round(mode="hybrid", **changes)


@dataclass
class Drawn:
    """What sealing draws from its streams."""

    small: list[NDArray[np.int8]] = field(default_factory=list)
    alphas: list[Any] = field(default_factory=list)

    def of(self, one: Round, client_id: int, seed: int) -> tuple[bytes, bytes, Any]:
        """Seal a contribution and return its key, its errors and its blinding."""
        one.upload(client_id, make_contribution(seed, one.facts.dim))
        s, e = (values.tobytes() for values in self.small[-2:])
        return s, e, self.alphas[-1]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Break the system's generator and watch what is drawn nevertheless."""
    kept, sample, draw = Drawn(), gaussian.sample, paillier.draw_alphas

    def watched(*args: Any) -> NDArray[np.int8]:
        kept.small.append(sample(*args))
        return kept.small[-1]

    def watched_alphas(*args: Any) -> Any:
        kept.alphas.append(draw(*args))
        return kept.alphas[-1]

    monkeypatch.setattr(rlwe, "sample", watched)
    monkeypatch.setattr(paillier, "draw_alphas", watched_alphas)
    monkeypatch.setattr(secrets, "token_bytes", always(b"\7"))
    return kept


@pytest.mark.parametrize(
    ("server_round", "client_id", "seed"),
    [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    ids=["round", "client", "message"],
)
def test_broken_generator_repeats_no_key_error_or_blinding(
    server_round: int, client_id: int, seed: int, drawn: Drawn
) -> None:
    one, other = _hybrid(), _hybrid(facts=make_facts(round=server_round))
    first, again = (drawn.of(one, 1, 1) for _ in range(2))

    changed = drawn.of(other, client_id, seed)

    assert first == again  # the control: the generator is broken
    assert first[0] != first[1]  # the key and its errors have their own streams
    assert all(x != y for x, y in zip(first, changed, strict=True))


def test_same_update_sealed_twice_gives_another_key() -> None:
    one = _hybrid()

    first, second = one.upload(1), one.upload(1)

    assert first.bulk[:16] != second.bulk[:16]
    assert first.ciphertexts[:32] != second.ciphertexts[:32]


@pytest.mark.usefixtures("drawn")
def test_broken_generator_repeats_the_whole_upload_only() -> None:
    one = _hybrid()

    assert one.upload(1).to_bytes() == one.upload(1).to_bytes()
