"""What the model of a language task writes, beside how the text really goes on."""
# ruff: noqa: PLC0415 - torch takes seconds, and only a page with samples needs it

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from experiments.report.samples import NoSamplesError
from models.data.characters import CHARACTERS, decode
from models.errors import TaskError

if TYPE_CHECKING:
    from experiments.report.samples import Trained

_PROMPT: Final = 48  # characters of a kept text that the model goes on from
_LENGTH: Final = 400
_TEMPERATURE: Final = 0.8


@dataclass(frozen=True)
class Writing:
    """A text that the model goes on with.

    Attributes:
        prompt: The beginning, from the test split.
        written: What the model writes after it.
        real: How the text goes on in the test split.
    """

    prompt: str
    written: str
    real: str


def writing(trained: Trained, *, seed: int) -> Writing:
    """Let the model go on with the first text that a run kept.

    Args:
        trained: The network and the texts.
        seed: Of the sampled characters.

    Raises:
        NoSamplesError: If the texts are not characters, or the model is broken.
    """
    from models.generation import generate
    from models.networks.characters import CharacterNetwork

    numbers = trained.examples.arrays.get("characters")
    if not isinstance(trained.network, CharacterNetwork) or numbers is None:
        raise NoSamplesError(f"Task {trained.task.name} writes no characters.")
    if numbers.max(initial=0) >= len(CHARACTERS):
        raise NoSamplesError("The kept texts have characters of another version.")
    text = decode(numbers[0])
    prompt = text[:_PROMPT]
    try:
        written = generate(
            trained.network,
            prompt,
            length=_LENGTH,
            temperature=_TEMPERATURE,
            seed=seed,
        )
    except TaskError as error:
        raise NoSamplesError(f"The model cannot write: {error}.") from None
    return Writing(prompt, written, text[_PROMPT:])
