"""The real mod and the real wrapper: sums are exact, whatever the strategy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from numpy.typing import NDArray

import clients.carriage
import crypto.sealing
import server.carriage
from crypto.aggregation import RoundSum
from crypto.vector import encode
from tests.federation import (
    Federation,
    gone,
    make_group,
    make_params,
    moves,
    read,
    steady,
)

Vector = NDArray[np.float32]


NUM = {1: 1, 2: 17, 3: 300, 4: 1024, 5: 5000}  # the last one is clamped to w_max


def extremes(dim: int) -> dict[int, Vector]:
    """Updates at and beyond the clip, all of one sign at the last coordinate."""
    pattern = np.array([2.0, -2.0, 3e30, -3e30, 0.0], dtype=np.float32)
    update = np.resize(pattern, dim)
    update[-1] = -9.0
    return dict.fromkeys(range(1, 6), update)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Keep what clients encode and what the server opens."""
    seen: dict[str, list[Any]] = {"encoded": [], "opened": []}

    def keep_encoded(*args: Any) -> Any:
        seen["encoded"].append(encode(*args))
        return seen["encoded"][-1]

    total = RoundSum.total

    def keep_opened(self: RoundSum, partials: Any) -> Any:
        seen["opened"].append(total(self, partials))
        return seen["opened"][-1]

    monkeypatch.setattr(crypto.sealing, "encode", keep_encoded)
    monkeypatch.setattr(RoundSum, "total", keep_opened)
    return seen


@pytest.mark.parametrize(
    ("updates", "silent"),
    [
        pytest.param(moves(50), set(), id="weighted clients and negatives"),
        pytest.param(moves(211), set(), id="last ciphertext not full"),
        pytest.param(moves(1), set(), id="one coordinate"),
        pytest.param(extremes(64), set(), id="extreme values"),
        pytest.param(moves(50), {3}, id="one client drops out"),
    ],
)
def test_opened_sum_is_the_sum_of_the_encoded_integers(
    updates: dict[int, Vector],
    silent: set[int],
    watched: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        if client_id in silent:
            federation.silent.add(client_id)
        new = parameters + updates[client_id]
        return new, {"num-examples": NUM[client_id], "loss": -1.5}

    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.tamper = lambda client_id, reply: (
        gone(reply) if client_id in federation.silent else reply
    )
    federation.run(np.zeros(len(updates[1]), dtype=np.float32))
    encoded, opened = watched["encoded"], watched["opened"]
    trained = [v for v in encoded if len(v) == len(encoded[0])]
    assert len(trained) == 5
    expected = sum(v for i, v in enumerate(trained, 1) if i not in silent)
    np.testing.assert_array_equal(opened[0], expected)


def test_mean_is_the_weighted_mean_within_half_a_step(tmp_path: Path) -> None:
    updates, start = moves(100, 0.3), np.full(100, 0.25, dtype=np.float32)
    prepared = make_group(tmp_path / "keys", make_params())
    federation = Federation(
        prepared, lambda i, p: (p + updates[i], {"num-examples": NUM[i], "loss": i})
    )
    result, _ = federation.run(start)
    weights = {i: min(n, 1024) for i, n in NUM.items()}
    total = sum(weights.values())
    clipped = {i: np.clip(u.astype(np.float64), -2, 2) for i, u in updates.items()}
    mean = sum(weights[i] * clipped[i] for i in clipped) / total
    params = prepared.manifest.params
    bound = 5 * 0.5 / (params.scale * total / params.w_max)
    opened = result.arrays["parameters"].numpy().astype(np.float64) - start
    assert np.abs(opened - mean).max() <= bound + 1e-6  # float32 of the model
    loss = sum(weights[i] * i for i in weights) / total
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(loss, abs=1e-4)


def test_training_metrics_and_evaluation_come_back_as_means(tmp_path: Path) -> None:
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 10, "loss": 0.5}),
        evaluate=lambda i: {"num-examples": i, "loss": 1.0, "accuracy": i / 5},
    )
    result, _ = federation.run(np.zeros(3, dtype=np.float32))
    accuracy = sum(i * i / 5 for i in range(1, 6)) / 15
    metrics = result.evaluate_metrics_clientapp[1]
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.parametrize(
    "strategy",
    [
        FedAvg(),
        FedAvgM(server_momentum=0.9),
        FedAdam(),
        FedYogi(),
        FedProx(proximal_mu=0.1),
        FedAvg(fraction_train=0.01, min_train_nodes=0),
        FedAvg(min_available_nodes=1500),  # the wrapper samples, from those there are
    ],
    ids=["FedAvg", "FedAvgM", "FedAdam", "FedYogi", "FedProx", "few", "many"],
)
def test_every_strategy_of_the_family_works_on_sums(
    strategy: FedAvg, tmp_path: Path
) -> None:
    federation = Federation(
        make_group(tmp_path / "keys", make_params()),
        lambda _, p: (p + 1, {"num-examples": 10, "loss": 0.5}),
    )
    result, wrapper = federation.run(
        np.zeros(4, dtype=np.float32), rounds=2, strategy=strategy
    )
    parameters = result.arrays["parameters"].numpy()
    assert wrapper.rounds_opened == 2
    assert parameters.dtype == np.float32  # some strategies compute in float64
    assert (parameters > 0).all()


def test_plain_and_paillier_open_the_same_integers(
    watched: dict[str, list[Any]], tmp_path: Path
) -> None:
    updates = moves(40)
    for mode in ("plain", "paillier"):
        federation = Federation(
            make_group(tmp_path / mode, make_params(mode=mode)),
            lambda i, p: (p + updates[i], {"num-examples": NUM[i], "loss": 0.1 * i}),
        )
        federation.run(np.zeros(40, dtype=np.float32))
    plain, _, paillier, _ = watched["opened"]
    np.testing.assert_array_equal(plain, paillier)


def test_global_vector_is_unchanged_by_training_and_updates_are_not_zero(
    watched: dict[str, list[Any]], tmp_path: Path
) -> None:
    def train(_: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        parameters += 1  # an app that trains in place on what it was given
        return parameters, {"num-examples": 1024, "loss": 0.0}

    federation = Federation(make_group(tmp_path / "keys", make_params()), train)
    federation.run(np.zeros(4, dtype=np.float32))
    assert all(vector[:4].all() for vector in watched["encoded"][:5])


def test_a_run_warns_when_the_clip_does_not_fit(tmp_path: Path) -> None:
    messages = []
    for name, move in (("low", 3.0), ("high", 0.001)):
        events = tmp_path / f"{name}.jsonl"
        federation = Federation(
            make_group(tmp_path / name, make_params()),
            lambda _, p, m=move: (p + m, {"num-examples": 9, "loss": 0.0}),  # type: ignore[misc]
        )
        federation.run(np.zeros(4, dtype=np.float32), events=events)
        messages += [e["message"] for e in read(events) if e["event"] == "warning"]
    low, high = messages
    assert "100.0% of the update is clipped at 2; raise clip" in low
    assert "lower clip to about 0.002" in high


def test_large_messages_travel_as_arrays_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (clients.carriage, server.carriage):
        monkeypatch.setattr(module, "_INLINE_BYTES", 300)
    federation = steady(tmp_path / "keys")
    result, wrapper = federation.run(np.zeros(60, dtype=np.float32))
    assert wrapper.rounds_opened == 1
    bulky = [r for r in federation.received if "unseen-bulk" in r.content]
    kinds = {r.content.config_records["unseen"]["kind"] for r in bulky}
    assert kinds == {"upload", "partial"}
    np.testing.assert_allclose(result.arrays["parameters"].numpy(), 1, atol=1e-4)
