"""The ClientApp of the built-in tasks: allowed networks only, and its own seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clients.app
from clients.folder import open_member
from crypto.wire import Upload, pack_arrays
from experiments.prepare import PreparedRun
from models import training
from models.networks.state import state_arrays
from models.shards import Shard, save_shard
from models.tasks import get_task
from tests.federation import make_group, make_params
from tests.one_client import Client, make_deployment

RUN: dict[str, Any] = {
    "task": "digits",
    "seed": 1,
    "local-epochs": 1,
    "batch-size": 0,
    "learning-rate": 0.0,
}


def real_client(group: PreparedRun) -> Client:
    """Client 1 with the real app and ten made-up digits."""
    images = np.random.default_rng(1).random((10, 1, 8, 8)).astype(np.float32)
    shard = Shard({"images": images, "labels": np.arange(10)})
    save_shard(group.client_folder(1) / "runs" / group.run_id / "shard.npz", shard)
    client = Client(group, run_config=dict(RUN))
    client.app = clients.app.app
    client.context.node_config["device"] = "cpu"
    return client


def model(task: str) -> list[list[Any]]:
    network = training.initial_network(get_task(task), seed=1)
    return pack_arrays(list(state_arrays(network).items()))


@pytest.fixture
def deployment(tmp_path: Path) -> PreparedRun:
    return make_deployment(tmp_path / "deployment")


@pytest.fixture
def simulation(tmp_path: Path) -> PreparedRun:
    return make_group(tmp_path / "simulation", make_params())


def test_a_deployed_client_trains_the_networks_of_its_policy(
    deployment: PreparedRun,
) -> None:
    client = real_client(deployment)
    assert client.round(arrays=model("digits"), metrics=[])[0] == "upload"


def test_a_deployed_client_refuses_arrays_of_another_network(
    deployment: PreparedRun,
) -> None:
    """The server names one task and sends the arrays of another."""
    client = real_client(deployment)
    answer = client.round(arrays=model("spam"), metrics=[])
    assert answer == ("error", b"PolicyError")


def test_a_deployed_client_refuses_a_task_that_was_taken_off_its_list(
    deployment: PreparedRun,
) -> None:
    path = deployment.client_folder(1) / "policy.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "# digits" not in line))
    client = real_client(deployment)
    answer = client.round(arrays=model("digits"), metrics=[])
    assert answer == ("error", b"PolicyError")


def test_a_task_that_does_not_exist_is_the_apps_failure(
    deployment: PreparedRun,
) -> None:
    client = real_client(deployment)
    client.run_config["task"] = "none"
    answer = client.round(arrays=model("digits"), metrics=[])
    assert answer == ("error", b"AppError")


def seeds(
    group: PreparedRun, monkeypatch: pytest.MonkeyPatch, *rounds: int
) -> list[int]:
    """Return the seed of each training."""
    kept: list[int] = []
    real = training.train

    def train(*args: Any, seed: int, **options: Any) -> training.TrainReport:
        kept.append(seed)
        return real(*args, seed=seed, **options)

    monkeypatch.setattr(training, "train", train)
    client = real_client(group)
    for number in rounds:
        folder = group.client_folder(1)
        member = open_member({"client-dir": str(folder), "run-id": group.run_id})
        member.state._path.unlink()  # a new memory: rounds can be repeated
        type(member.state).create(member.state._path)
        records = {"config": {"server-round": number}}
        arrays = model("digits")
        kind, data = client.round(
            round=number, arrays=arrays, metrics=[], records=records
        )
        assert kind == "upload"
        assert Upload.from_bytes(data).client_id == 1
    return kept


def test_the_server_cannot_make_a_deployed_client_train_twice_alike(
    deployment: PreparedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = seeds(deployment, monkeypatch, 1, 1, 1)
    assert len({first, second, third}) == 3
    assert all(0 <= seed < 1 << 63 for seed in (first, second, third))


def test_a_simulation_is_repeatable(
    simulation: PreparedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = seeds(simulation, monkeypatch, 1, 1, 2)
    assert first == second != third
