"""Text that a trained network writes, and the command that prints it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner

from experiments import generate_cli
from experiments.errors import SettingsError
from models.data.characters import CHARACTERS, text_shard
from models.errors import TaskError
from models.generation import generate
from models.local import LocalTraining
from models.networks.characters import CharacterNetwork
from models.tasks import get_task
from models.training import evaluate, initial_network, train


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _fresh() -> CharacterNetwork:
    """Return a small network that has learned nothing."""
    torch.manual_seed(1)
    return CharacterNetwork(num_characters=len(CHARACTERS), hidden=32)


@pytest.fixture(scope="module")
def parrot() -> CharacterNetwork:
    """A network that learned one line by heart."""
    torch.set_num_threads(1)
    task = get_task("prose")
    network = initial_network(task, seed=1)
    shard = text_shard("To be, or not to be: that\n" * 200)
    settings = replace(LocalTraining.of(task), epochs=4, learning_rate=0.005)
    train(network, shard, task, settings, seed=1, device="cpu")
    assert evaluate(network, shard, task, device="cpu").accuracy > 0.95
    assert isinstance(network, CharacterNetwork)
    return network


def test_a_network_continues_the_text_it_learned(parrot: CharacterNetwork) -> None:
    text = generate(parrot, "To be, or", length=26, temperature=0, seed=0)
    assert text == " not to be: that\nTo be, or"


def test_an_empty_prompt_starts_after_a_new_line(parrot: CharacterNetwork) -> None:
    text = generate(parrot, "", length=10, temperature=0, seed=0)
    assert text == generate(parrot, "\n", length=10, temperature=0, seed=0)


def test_a_sample_depends_on_its_seed_and_nothing_else() -> None:
    network = _fresh()
    torch.manual_seed(3)
    first = generate(network, "a", length=50, temperature=1.0, seed=5)
    torch.manual_seed(4)
    assert generate(network, "a", length=50, temperature=1.0, seed=5) == first
    assert generate(network, "a", length=50, temperature=1.0, seed=6) != first
    assert len(first) == 50


def test_a_tiny_temperature_takes_the_likeliest() -> None:
    network = _fresh()
    likeliest = generate(network, "a", length=20, temperature=0, seed=1)
    assert generate(network, "a", length=20, temperature=1e-300, seed=2) == likeliest


def test_a_high_temperature_draws_all_characters_alike() -> None:
    text = generate(_fresh(), "a", length=2_000, temperature=1e9, seed=1)
    # 2,000 draws from 96: each comes 20.8 times, and below 3 once in 10**6 runs.
    assert min(text.count(character) for character in CHARACTERS) >= 3


@pytest.mark.parametrize(
    "wrong",
    [{"length": -1}, {"temperature": -0.1}, {"temperature": math.nan}, {"seed": -1}],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    numbers = {"length": 1, "temperature": 1.0, "seed": 0} | wrong
    with pytest.raises(TaskError, match=f"the {next(iter(wrong))} must be"):
        generate(_fresh(), "a", **numbers)  # type: ignore[arg-type]


def test_a_network_that_diverged_is_refused() -> None:
    network = _fresh()
    torch.nn.init.constant_(network.output.bias, math.nan)
    with pytest.raises(TaskError, match="not finite"):
        generate(network, "a", length=1, temperature=1.0, seed=0)


@pytest.fixture
def run(tmp_path: Path, parrot: CharacterNetwork) -> Path:
    """The folder of a run, as far as generating needs it."""
    (tmp_path / "config.json").write_text(json.dumps({"settings": {"task": "prose"}}))
    (tmp_path / "vocabulary.json").write_text(json.dumps(CHARACTERS))
    save_file(parrot.state_dict(), tmp_path / "model.safetensors", {"round": "1"})
    return tmp_path


def _generate(run: Path, *options: str) -> str:
    """Return what the command prints; its warnings are last."""
    app = typer.Typer()
    app.command()(generate_cli.generate)
    result = CliRunner().invoke(app, [str(run), *options])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_the_command_prints_the_prompt_and_goes_on(run: Path) -> None:
    options = ("--prompt", "To be, or", "--length", "7", "--temperature", "0")
    assert _generate(run, *options) == "To be, or not to\n"


def test_a_prompt_with_unknown_characters_is_read_with_a_warning(run: Path) -> None:
    output = _generate(run, "--prompt", "To bé", "--length", "0")
    assert sorted(output.splitlines()) == [
        "To b?",
        "unseen: warning: read as '?', because the model does not know them: '\\xe9'",
    ]


def test_many_unknown_characters_make_one_short_warning(run: Path) -> None:
    prompt = "".join(map(chr, range(0x400, 0x4FF)))
    output = _generate(run, "--prompt", prompt, "--length", "0")
    assert " and 245 more" in output
    assert len(output.splitlines()) == 2


def test_a_seed_out_of_range_is_refused_by_the_command(run: Path) -> None:
    with pytest.raises(SettingsError, match="the seed must be"):
        _generate(run, "--seed", str(1 << 63))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "is not the folder of a run"),
        ("config.json", '{"settings": {"task": "spam"}}', "which predicts no text"),
        ("config.json", '{"settings": {"task": "novel"}}', "unknown task 'novel'"),
        ("vocabulary.json", None, "no vocabulary"),
        ("vocabulary.json", '["a", "b"]', "not the character set of this version"),
        ("vocabulary.json", "[", "cannot read"),
        ("model.safetensors", None, "no model"),
        ("model.safetensors", "damaged", "is damaged"),
    ],
)
def test_a_run_that_cannot_write_is_refused(
    run: Path, file: str, content: str | None, message: str
) -> None:
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        _generate(run)
    assert caught.value.hint or message == "cannot read"


def test_a_checkpoint_of_another_model_is_refused(run: Path) -> None:
    path = run / "model.safetensors"
    save_file(_fresh().state_dict(), path, {"round": "1"})
    with pytest.raises(SettingsError, match="model of another network") as caught:
        _generate(run)
    assert "prose" in caught.value.hint
