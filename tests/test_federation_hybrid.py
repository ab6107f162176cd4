"""Mode hybrid behind the real mod and the real wrapper."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import gaussian, rlwe
from crypto.aggregation import RoundSum
from crypto.vector import IntVector
from tests.federation import Federation, make_group, make_params

Vector = NDArray[np.float32]
NUM = {1: 1, 2: 17, 3: 300, 4: 1024, 5: 5000}  # the last one is clamped to w_max
CHEAT = 3


def _moves(dim: int) -> dict[int, Vector]:
    generator = np.random.default_rng(7)
    return {i: generator.normal(size=dim).astype(np.float32) for i in range(1, 6)}


def _federation(folder: Path, updates: dict[int, Vector], **changes: Any) -> Federation:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        new = parameters + updates[client_id]
        return new, {"num-examples": NUM[client_id], "loss": 0.1 * client_id}

    return Federation(make_group(folder, make_params(**changes)), train)


def _events(path: Path, *names: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in events if event["event"] in names]


@pytest.mark.parametrize(
    ("dim", "bits"), [(1, 20), (40, 20), (2500, 16)], ids=["one", "few", "blocks"]
)
def test_every_mode_opens_the_same_integers(
    dim: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates, opened = _moves(dim), []
    total = RoundSum.total

    def keep(self: RoundSum, partials: Any) -> IntVector:
        opened.append(total(self, partials))
        return opened[-1]

    monkeypatch.setattr(RoundSum, "total", keep)
    models = []
    for mode in ("plain", "paillier", "hybrid"):
        federation = _federation(tmp_path / mode, updates, mode=mode, value_bits=bits)
        result, _ = federation.run(np.zeros(dim, dtype=np.float32))
        models.append(result.arrays["parameters"].numpy().tolist())

    assert models[0] == models[1] == models[2]
    for training_or_evaluation in (opened[0::2], opened[1::2]):
        plain, paillier, hybrid = training_or_evaluation
        assert hybrid.tolist() == paillier.tolist() == plain.tolist()


@contextmanager
def _cheating_once(change: Callable[[IntVector], None]) -> Iterator[None]:
    """Have one client change its one-time key after masking, in its first upload."""
    real = rlwe.mask
    cheated: set[int] = set()

    def mask(values: IntVector, *, info: bytes, **options: Any) -> Any:
        bulk, key = real(values, info=info, **options)
        client_id = int.from_bytes(info[32:36], "big")
        if client_id == CHEAT and client_id not in cheated:
            cheated.add(client_id)
            change(key)
        return bulk, key

    with mock.patch.object(rlwe, "mask", mask):
        yield


def _off_by_one(key: IntVector) -> None:
    key[0] += 1 if key[0] < 0 else -1


def _too_large(key: IntVector) -> None:
    key[:] = 450


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        pytest.param(_off_by_one, "E_NOISE", "NoiseError", id="another key"),
        pytest.param(_too_large, "E_RANGE", "SumRangeError", id="too large a key"),
    ],
)
def test_garbled_round_publishes_nothing_and_the_next_one_opens(
    change: Callable[[IntVector], None], code: str, error: str, tmp_path: Path
) -> None:
    federation = _federation(tmp_path / "keys", _moves(100), mode="hybrid")
    events = tmp_path / "events.jsonl"
    with _cheating_once(change):
        result, wrapper = federation.run(
            np.zeros(100, dtype=np.float32), rounds=2, events=events
        )

    (failed,) = _events(events, "round_failed")
    assert (failed["round"], failed["phase"]) == (1, "train")
    assert (failed["code"], failed["error"]) == (code, error)
    trained = [e for e in _events(events, "opened") if e["phase"] == "train"]
    assert [e["round"] for e in trained] == [2]
    assert set(result.train_metrics_clientapp) == {2}
    assert wrapper.rounds_opened == 1


def test_noisy_sum_is_opened_with_a_warning(tmp_path: Path) -> None:
    # Errors at their bound: within what five clients may have, and hard to reach.
    federation = _federation(tmp_path / "keys", _moves(10), mode="hybrid")
    events, real = tmp_path / "events.jsonl", gaussian.sample
    factors = itertools.cycle([1, 100])  # a client draws its key first

    def sample(count: int, stream: Any) -> Any:
        drawn = next(factors) * real(count, stream).astype(np.int64)
        return drawn.clip(-63, 63).astype(np.int8)

    with mock.patch.object(rlwe, "sample", sample):
        federation.run(np.zeros(10, dtype=np.float32), events=events)

    warned = [e for e in _events(events, "warning") if "noisier" in e["message"]]
    assert [event["phase"] for event in warned] == ["train", "evaluate"]
    assert _events(events, "round_failed") == []
    assert len(_events(events, "opened")) == 2


def test_server_prepares_the_opening_while_it_waits_for_the_last_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present: list[int] = []
    prepare = RoundSum.prepare

    def spy(self: RoundSum) -> None:
        present.append(len(self.contributors))
        prepare(self)

    monkeypatch.setattr(RoundSum, "prepare", spy)
    federation = _federation(tmp_path / "keys", _moves(40), mode="hybrid")
    result, _ = federation.run(np.zeros(40, dtype=np.float32))

    assert present[:2] == [4, 5]
    assert result.arrays["parameters"].numpy().any()
