"""Turn texts into windows of characters from a fixed set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.dataset import Dataset
from models.errors import TaskError
from models.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CHARACTERS = ("\n", *map(chr, range(ord(" "), ord("~") + 1)))
"""The 96 characters of every text task, by number: a new line and printable ASCII.

Written here and not collected from texts: a set built from private texts would tell
everybody which characters these contain.
"""

REPLACEMENT = "?"
"""What every other character is read as."""

WINDOW = 128
"""Characters of one example."""

_ASCII = 128
_NUMBERS = np.full(_ASCII, CHARACTERS.index(REPLACEMENT), dtype=np.uint8)
_NUMBERS[[ord(character) for character in CHARACTERS]] = range(len(CHARACTERS))


def encode(text: str) -> NDArray[np.uint8]:
    """Return the number of every character of ``text``, shape ``(len(text),)``.

    Example:
        >>> decode(encode("naïve Romeo"))
        'na?ve Romeo'
    """
    return _NUMBERS[np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)]


def decode(numbers: Sequence[int] | NDArray[np.integer[Any]]) -> str:
    """Return the text that ``numbers`` stand for."""
    return "".join(CHARACTERS[number] for number in numbers)


def foreign_characters(text: str) -> list[str]:
    """Return the distinct characters of ``text`` outside of the set, sorted."""
    return sorted({*text} - {*CHARACTERS})


def text_shard(text: str) -> Shard:
    """Cut a text into windows, each with the character that follows every place.

    Windows do not overlap, and what is left at the end is dropped.

    Returns:
        "characters", uint8 of shape ``(n, WINDOW)``, and the same moved on by one
        as "labels". Empty if the text has no more than ``WINDOW`` characters.
    """
    numbers = encode(text)
    count = max(len(numbers) - 1, 0) // WINDOW
    shape = (count, WINDOW)
    characters = numbers[: count * WINDOW].reshape(shape)
    following = numbers[1 : count * WINDOW + 1].reshape(shape)
    return Shard({"characters": characters, "labels": following.astype(np.int64)})


def dataset_of_texts(texts: Mapping[str, str], *, min_characters: int) -> Dataset:
    """Make a data set in which the owner of every long text is a natural client.

    The short texts, laid end to end, are the public test split: nothing that a
    client owns is published, and the model is judged on texts of nobody it knows.

    Args:
        texts: Owner to text.
        min_characters: From this length on a text is long.

    Raises:
        TaskError: If there is no long text, or too little for a test split.
    """
    long = {
        owner: text_shard(text)
        for owner, text in texts.items()
        if len(text) >= min_characters
    }
    test = text_shard("\n\n".join(texts[owner] for owner in texts if owner not in long))
    if not sum(map(len, long.values())) or not len(test):
        raise TaskError(
            f"of {len(texts)} texts {len(long)} have {min_characters} characters or "
            "more, to train on",
            hint="one at least is needed, and shorter ones to test on with more than "
            f"{WINDOW} characters together",
        )
    return Dataset(
        train=Shard(
            {
                name: np.concatenate([shard.arrays[name] for shard in long.values()])
                for name in test.arrays
            }
        ),
        test=test,
        groups=np.repeat(list(long), [len(shard) for shard in long.values()]),
        vocabulary=CHARACTERS,
    )
