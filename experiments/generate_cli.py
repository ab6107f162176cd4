"""`unseen generate`: sample text from the model of a run."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from experiments.errors import SettingsError
from experiments.run_folder import VOCABULARY, read_config
from models.data.characters import (
    CHARACTERS,
    REPLACEMENT,
    decode,
    encode,
    foreign_characters,
)
from models.errors import TaskError
from models.tasks import Task, get_task, task_names

if TYPE_CHECKING:
    from models.networks.characters import CharacterNetwork

_SHOWN = 10  # characters in the warning
_MAX_LENGTH = 100_000

Run = Annotated[
    Path, Argument(metavar="RUN", help="Folder of a run of a task on characters.")
]
Prompt = Annotated[str, Option(help="Text to continue.")]
Length = Annotated[int, Option(min=0, max=_MAX_LENGTH, help="Characters to add.")]
Temperature = Annotated[
    float, Option(min=0, help="0 for the likeliest, 1 as the model says.")
]
Seed = Annotated[int, Option(min=0, help="Another one, another text.")]


def generate(
    run: Run,
    prompt: Prompt = "",
    length: Length = 300,
    temperature: Temperature = 0.8,
    seed: Seed = 0,
) -> None:
    """Continue a text with the model of a run; needs no key and no data."""
    network = _network(run, _task(run))
    _warn_of_foreign(prompt)
    # Imported here: torch takes longer than --help.
    from models.generation import generate as sample  # noqa: PLC0415

    try:
        text = sample(
            network, prompt, length=length, temperature=temperature, seed=seed
        )
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    sys.stdout.write(f"{decode(encode(prompt))}{text}\n")


def _task(run: Path) -> Task:
    """Return the task of a run, one that predicts text.

    Raises:
        SettingsError: If it is no run, or of another kind of task.
    """
    name = str(read_config(run)["settings"].get("task"))
    try:
        task = get_task(name)
    except TaskError as error:
        raise SettingsError(f"{run}: {error}", error.hint or "") from None
    if not task.language:
        writers = ", ".join(n for n in task_names() if get_task(n).language)
        raise SettingsError(
            f"{run} is a run of {name}, which predicts no text",
            f"the tasks that do are {writers}",
        )
    return task


def _network(run: Path, task: Task) -> "CharacterNetwork":
    """Return the task's network with the parameters that the run ended with.

    Raises:
        SettingsError: If the run has no model, or one that does not fit.
    """
    _check_characters(run / VOCABULARY)
    from models.networks.characters import CharacterNetwork  # noqa: PLC0415
    from server.checkpoint import MODEL, load_model  # noqa: PLC0415
    from server.errors import RunError  # noqa: PLC0415

    network = task.make_network()
    if not isinstance(network, CharacterNetwork):
        raise SettingsError(f"the network of {task.name} does not write characters")
    try:
        network.load_state_dict(load_model(run / MODEL, network.state_dict()))
    except RunError as error:
        hint = error.hint or f"the run is of task {task.name}"
        raise SettingsError(str(error), hint) from None
    return network


def _check_characters(path: Path) -> None:
    """Refuse a run whose numbers stand for other characters than today's."""
    try:
        characters = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"no vocabulary at {path}", "it is written when a run starts"
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    if characters != [*CHARACTERS]:
        raise SettingsError(
            f"{path} is not the character set of this version",
            "use the version that made the run, or start a new one",
        )


def _warn_of_foreign(prompt: str) -> None:
    foreign = foreign_characters(prompt)
    if foreign:
        # ascii(): a character that the model does not know may break the terminal.
        shown = " ".join(ascii(character) for character in foreign[:_SHOWN])
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        sys.stderr.write(
            f"unseen: warning: read as {REPLACEMENT!r}, because the model does not "
            f"know them: {shown}{more}\n"
        )
