"""A run that ended goes on as if it had not, or says by name why it cannot."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi, Strategy

from experiments.errors import SettingsError
from experiments.resume import resumed, rounds_done
from experiments.run_folder import RunFolder
from experiments.settings import default_run
from models.tasks import get_task
from server.checkpoint import (
    MODEL,
    load_model,
    moments_of,
    restore_moments,
    save_checkpoint,
    save_model,
    saved_round,
)
from server.errors import RunError
from server.phase import keep_dtypes
from tests.crypto_group import make_manifest, make_params

UNSEEN = str(Path(sys.executable).with_name("unseen"))
STRATEGIES: list[Callable[[], Strategy]] = [
    FedAvg,
    lambda: FedAvgM(server_momentum=0.9),
    FedAdam,
    FedYogi,
]


def round_of(
    strategy: Strategy, arrays: ArrayRecord, server_round: int, shift: float
) -> ArrayRecord:
    """Let a strategy see one client whose parameters moved by `shift`."""
    moved = {name: a.numpy() + np.float32(shift) for name, a in arrays.items()}
    record = ArrayRecord({k: torch.from_numpy(a) for k, a in moved.items()})
    content = RecordDict({"a": record, "m": MetricRecord({"num-examples": 1})})
    strategy.current_arrays = arrays_for(strategy, arrays)  # type: ignore[attr-defined]
    new, _ = strategy.aggregate_train(server_round, [message(content)])
    assert new is not None
    return keep_dtypes(arrays, new)


def message(content: RecordDict) -> Message:
    """Return a message as it arrives; sending one needs a running Flower."""
    metadata = Metadata(0, "", 1, 0, "", "1", 0.0, 0.0, "train")
    arrived: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
    return arrived


def arrays_for(strategy: Strategy, arrays: ArrayRecord) -> Any:
    """Return what `configure_train` would remember of the global model."""
    if isinstance(strategy, FedAvgM):
        return arrays
    return {name: array.numpy() for name, array in arrays.items()}


@pytest.mark.parametrize("make", STRATEGIES)
def test_a_strategy_goes_on_from_its_moments(
    make: Callable[[], Strategy], tmp_path: Path
) -> None:
    start = ArrayRecord({"w": torch.linspace(-1, 1, 5)})
    one = make()
    after_one = round_of(one, start, 1, 0.25)
    save_checkpoint(tmp_path, after_one.to_torch_state_dict(), moments_of(one), 1)
    expected = round_of(one, after_one, 2, -0.5)

    again = make()
    restore_moments(again, tmp_path, saved_round(tmp_path / MODEL))
    model = load_model(tmp_path / MODEL, start.to_torch_state_dict())
    found = round_of(again, ArrayRecord(model), 2, -0.5)
    assert np.array_equal(found["w"].numpy(), expected["w"].numpy())


def test_moments_of_older_rounds_are_deleted(tmp_path: Path) -> None:
    state = {"w": torch.zeros(2)}
    for number in (1, 2):
        save_checkpoint(tmp_path, state, {"m_t/w": np.ones(2)}, number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [MODEL, "moments-2.safetensors"]


def test_missing_moments_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="moments of round 3 are missing"):
        restore_moments(FedAdam(), tmp_path, 3)


def test_a_model_of_another_network_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / MODEL, {"w": torch.zeros(2)}, 1)
    with pytest.raises(RunError, match="of another network"):
        load_model(tmp_path / MODEL, {"w": torch.zeros(3)})


@pytest.mark.parametrize("content", [b"", b"junk" * 9])
def test_a_damaged_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MODEL).write_bytes(content)
    with pytest.raises(RunError, match="damaged or not a model"):
        saved_round(tmp_path / MODEL)


MANIFEST = make_manifest(make_params())


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of 3 rounds that ended after round 2."""
    made = RunFolder(tmp_path / "run")
    made.make()
    settings = replace(default_run(), rounds=3)
    made.describe(settings, MANIFEST, run_id="00")
    state = get_task("digits").make_network().state_dict()
    save_model(made.path / MODEL, state, 2)
    return made


def test_resumed_settings_are_those_of_the_run(folder: RunFolder) -> None:
    settings, done = resumed(folder.path, None)
    assert done == 2
    assert settings == replace(default_run(), rounds=3, protocol=settings.protocol)


def test_more_rounds_can_be_asked_for(folder: RunFolder) -> None:
    assert resumed(folder.path, 9)[0].rounds == 9


def change(folder: RunFolder, **settings: Any) -> None:
    path = folder.path / "config.json"
    config = json.loads(path.read_text())
    config["settings"] |= settings
    path.write_text(json.dumps(config))


def no_config(folder: RunFolder) -> None:
    (folder.path / "config.json").unlink()


def no_model(folder: RunFolder) -> None:
    (folder.path / MODEL).unlink()


def config_is(content: str) -> Callable[[RunFolder], object]:
    return lambda folder: (folder.path / "config.json").write_text(content)


DAMAGES: list[tuple[Callable[[RunFolder], object], str]] = [
    (no_config, "is not the folder of a run"),
    (no_model, "no model at"),
    (lambda folder: change(folder, record=True), "cannot be recorded"),
    (lambda folder: change(folder, colour="red"), "another version.*colour"),
    (lambda folder: change(folder, rounds=2), "has done its 2 rounds"),
    (config_is("{"), "cannot read"),
    (config_is("[1]"), "not a run's configuration"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_what_cannot_go_on_is_refused_by_name(
    folder: RunFolder, damage: Callable[[RunFolder], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(SettingsError, match=message):
        resumed(folder.path, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "prose"}, "is a run of digits, this one of prose"),
        ({"record": True}, "cannot be recorded"),
        ({"rounds": 2}, "has done its 2 rounds"),
    ],
)
def test_a_run_that_the_settings_do_not_continue_is_refused_by_name(
    folder: RunFolder, changes: dict[str, Any], message: str
) -> None:
    settings = replace(default_run(), **({"rounds": 3} | changes))
    with pytest.raises(SettingsError, match=message):
        rounds_done(folder.path, settings)


def test_other_keys_are_refused(folder: RunFolder) -> None:
    keys = replace(MANIFEST.keys, roster=replace(MANIFEST.keys.roster, clients={}))
    other = replace(MANIFEST, keys=keys)
    with pytest.raises(SettingsError, match="made with other keys"):
        folder.describe_resumption(default_run(), other)


def test_two_launchers_cannot_go_on_with_one_run(folder: RunFolder) -> None:
    other = RunFolder(folder.path)
    with folder.claimed(), pytest.raises(SettingsError, match="still going on"):
        other.claimed().__enter__()
    with folder.claimed():
        pass


@pytest.mark.integration
def test_a_resumed_run_ends_like_one_that_was_never_interrupted(
    tmp_path: Path,
) -> None:
    def start(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen([UNSEEN, "run", *options], text=True)

    common = ("--clients", "2", "--protocol", "plain", "--insecure-key-bits", "512")
    fedadam = (*common, "--strategy", "fedadam")
    whole = start(*fedadam, "--rounds", "2", "--out", str(tmp_path / "whole"))
    part = start(*fedadam, "--rounds", "1", "--out", str(tmp_path / "part"))
    assert (whole.wait(120), part.wait(120)) == (0, 0)
    rest = start("--resume", str(tmp_path / "part"), "--rounds", "2")
    assert rest.wait(120) == 0
    models = [load_model(tmp_path / name / MODEL, DIGITS) for name in ("whole", "part")]
    for name, tensor in models[0].items():
        assert torch.equal(tensor, models[1][name]), name
    rows = json.loads((tmp_path / "part" / "history.json").read_text())["history"]
    assert [row["round"] for row in rows] == [0, 1, 2]
    config = json.loads((tmp_path / "part" / "config.json").read_text())
    assert config["settings"]["rounds"] == 2
    assert [part["after_round"] for part in config["resumed"]] == ["1"]


DIGITS = get_task("digits").make_network().state_dict()
