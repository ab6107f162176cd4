"""What a run that predicts text writes."""

from pathlib import Path
from typing import cast

from experiments.run_folder import read_config
from experiments.settings import find_task
from models.generation import generate
from models.networks.characters import CharacterNetwork
from server.checkpoint import MODEL, load_model

_PROMPTS = {"shakespeare": "What is the ", "prose": "The "}
_LENGTH = 400
_TEMPERATURE = 0.6


def sample_page(run: Path) -> str:
    """Return a text that a run's model generates, as Markdown."""
    task = find_task(str(read_config(run)["settings"]["task"]))
    network = cast("CharacterNetwork", task.make_network())
    network.load_state_dict(load_model(run / MODEL, network.state_dict()))
    prompt = _PROMPTS[task.name]
    text = generate(network, prompt, length=_LENGTH, temperature=_TEMPERATURE, seed=0)
    command = (
        f'unseen generate RUN --prompt "{prompt}" '
        f"--length {_LENGTH} --temperature {_TEMPERATURE}"
    )
    return f"```\n$ {command}\n{prompt}{text}\n```\n"
