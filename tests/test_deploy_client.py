"""`unseen client`, until it becomes the client's process: its folder and its data."""

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.folder import newest_run
from experiments.deploy import records
from experiments.deploy.link import Link
from experiments.deploy.own_data import bring
from experiments.errors import SettingsError
from models.shards import load_shard, save_shard
from models.tasks import get_task
from tests.deployed import make_deployment, unseen


class BecameError(Exception):
    """Stands in for the process that would replace this one."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "deploy"
    make_deployment(root, clients=2)
    return root


@pytest.fixture
def party(made: Path, tmp_path: Path) -> Path:
    """One client's folder, carried to another machine."""
    return Path(shutil.copytree(made / "client-1", tmp_path / "carried"))


@pytest.fixture
def run(party: Path) -> Path:
    return records.newest_run(party)


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the SuperLink be there, and keep the command that would run."""
    seen: dict[str, Any] = {}

    def become(_path: str, command: list[str], env: dict[str, str]) -> None:
        seen.update(command=command, env=env)
        raise BecameError

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr(Link, "wait", lambda *_: None)
    return seen


def join(party: Path, *options: object) -> BaseException | None:
    return unseen("client", "--superlink", "h:9092", "--dir", party, *options).exception


def test_client_becomes_a_node_with_tls_and_its_key(
    party: Path, run: Path, became: dict[str, Any]
) -> None:
    assert isinstance(join(party, "--wait", 300, "--once"), BecameError)
    command = became["command"]
    options = dict(itertools.pairwise(command))
    assert options["--superlink"] == "h:9092"
    assert options["--root-certificates"] == str(party / "ca.crt")
    assert options["--auth-private-key"] == str(party / "node.key")
    assert options["--run-id"] == run.name == newest_run(party)
    assert options["--patience"] == "300.0"
    assert "--once" in command
    assert "--insecure" not in command
    env = became["env"]
    assert env["FLWR_TELEMETRY_ENABLED"] == "0"
    assert env["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert "h" in env["NO_PROXY"].split(",")


@pytest.mark.usefixtures("became")
def test_without_data_and_without_a_shard_there_is_nothing_to_do(
    party: Path, run: Path
) -> None:
    (run / "shard.npz").unlink()
    error = join(party)
    assert isinstance(error, SettingsError)
    assert "holds no shard, and no --data was given" in str(error)
    assert "--data PATH" in error.hint


@pytest.mark.usefixtures("became")
def test_simulation_keys_and_bad_addresses_are_refused(party: Path) -> None:
    keys = party / "keys.json"
    keys.write_text(keys.read_text().replace('"deployment"', '"simulation"'))
    assert "simulation keys" in str(join(party))
    error = unseen("client", "--superlink", "h", "--dir", party).exception
    assert "'h' is not HOST:PORT" in str(error)


@pytest.mark.usefixtures("became")
def test_own_data_becomes_the_shard(party: Path, run: Path, tmp_path: Path) -> None:
    shard = load_shard(run / "shard.npz").take(np.arange(7))
    save_shard(tmp_path / "own.npz", shard)
    assert isinstance(join(party, "--data", tmp_path / "own.npz"), BecameError)
    assert len(load_shard(run / "shard.npz")) == 7
    assert (run / "shard.npz").stat().st_mode & 0o777 == 0o600


def spoiled(run: Path, **arrays: Any) -> dict[str, Any]:
    return dict(load_shard(run / "shard.npz").arrays) | arrays


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"images": np.zeros((3, 8, 8), np.float32)}, "not a shard file"),
        ({"labels": np.zeros(9, np.int32)}, "not a shard file"),
    ],
)
def test_file_that_is_no_shard_is_refused(
    run: Path, tmp_path: Path, arrays: dict[str, Any], text: str
) -> None:
    np.savez(tmp_path / "own.npz", **spoiled(run, **arrays))
    with pytest.raises(SettingsError, match=text):
        bring(tmp_path / "own.npz", run)


@pytest.mark.parametrize(
    "name_and_array",
    [
        ("images", np.zeros((4, 1, 28, 28), np.float32)),
        ("pictures", np.zeros((4, 1, 8, 8), np.float32)),
        ("labels", np.array([1, 2, 3, 99], np.int64)),
    ],
)
def test_data_of_another_task_is_refused_without_a_look_inside(
    run: Path, tmp_path: Path, name_and_array: tuple[str, Any]
) -> None:
    name, array = name_and_array
    arrays: dict[str, Any] = {
        "images": np.zeros((4, 1, 8, 8), np.float32),
        "labels": np.zeros(4, np.int64),
    }
    if name == "pictures":
        del arrays["images"]
    np.savez(tmp_path / "own.npz", **(arrays | {name: array}))
    before = (run / "shard.npz").read_bytes()
    with pytest.raises(SettingsError, match="does not fit task 'digits'") as raised:
        bring(tmp_path / "own.npz", run)
    assert "its arrays are" in raised.value.hint
    assert "99" not in str(raised.value) + raised.value.hint
    assert (run / "shard.npz").read_bytes() == before


def test_empty_or_too_large_data_is_refused(run: Path, tmp_path: Path) -> None:
    shard = load_shard(run / "shard.npz")
    own = tmp_path / "own.npz"
    save_shard(own, shard.take(np.arange(0)))
    with pytest.raises(SettingsError, match="holds no examples"):
        bring(own, run)
    w_max = get_task("digits").w_max
    save_shard(own, shard.take(np.zeros(w_max + 1, np.int64)))
    with pytest.raises(SettingsError, match=f"w-max of 'digits' is {w_max}"):
        bring(own, run)


def test_files_for_a_task_that_reads_none_are_refused(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="reads no files"):
        bring(tmp_path, run)
    records.write_task(run, "spam")
    with pytest.raises(SettingsError, match="has no file") as raised:
        bring(tmp_path, run)
    assert "enron_train.parquet" in raised.value.hint
