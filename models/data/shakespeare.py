"""Shakespeare's plays as one text per speaking role."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from models.data.characters import dataset_of_texts
from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.data.dataset import Dataset

SHAKESPEARE_FILE = "input.txt"
"""Plays as plain text: a line ``NAME:``, the lines spoken, an empty line, and on."""

MIN_ROLE_CHARACTERS = 5_000
"""Roles that speak at least so much are natural clients."""

_HINT = (
    f"shakespeare needs a folder with {SHAKESPEARE_FILE}: speeches with an empty line "
    "between them, each below a line NAME:"
)
_SPEECH = re.compile(r"\s*(?P<role>[^\n]+):\n(?P<text>.*)", re.DOTALL)


def load_shakespeare(folder: Path | None) -> Dataset:
    """Load plays as windows of characters, with their speaking roles as groups.

    A role's text is all it says, in the order of the file, with an empty line
    between two speeches. The roles that say less than 5,000 characters belong to
    no client; together they are the public test split.

    Returns:
        Shards as in ``models.data.characters.text_shard``.

    Raises:
        TaskError: If the file is missing, unreadable or not in the format above.
    """
    if folder is None:
        raise TaskError("task shakespeare needs a data folder", hint=_HINT)
    speeches: dict[str, list[str]] = {}
    for role, speech in _speeches(_read(folder / SHAKESPEARE_FILE)):
        speeches.setdefault(role, []).append(speech)
    if not speeches:
        raise TaskError(
            f"{folder / SHAKESPEARE_FILE} has no line NAME: with a speech below it",
            hint=_HINT,
        )
    texts = {role: "\n\n".join(parts) for role, parts in speeches.items()}
    return dataset_of_texts(texts, min_characters=MIN_ROLE_CHARACTERS)


def _speeches(plays: str) -> Iterator[tuple[str, str]]:
    """Yield role and speech in order; a heading without a speech is left out."""
    for block in plays.split("\n\n"):
        found = _SPEECH.fullmatch(block)
        if found and found["text"].strip():
            # "KING  RICHARD" and "KING RICHARD" are one role.
            yield " ".join(found["role"].split()), found["text"].strip("\n")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TaskError(
            f"no file {path.name} in the data folder {path.parent}", hint=_HINT
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not a readable UTF-8 text", hint=_HINT) from error
