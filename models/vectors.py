"""Neighbours and analogies of words, from the vectors that training gave them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PARAMETER = "words.weight"
"""The parameter of a network that holds a vector for each word."""

# With one number a word all cosines are 1 or -1.
_SHORTEST_VECTOR = 2


@dataclass(frozen=True)
class Near:
    """A word near to what was asked for.

    Attributes:
        word: The word.
        cosine: Of the angle between the two vectors, in ``[-1, 1]``.
    """

    word: str
    cosine: float


class WordVectors:
    """Words, each with a vector of length 1.

    An answer is never a word of the question, nor a pair of words: near to a word
    are most of all the pairs that it is in.

    Args:
        words: By number; all different.
        vectors: A row for each word, in their order; more rows are not used.

    Raises:
        TaskError: If there are fewer rows than words, the rows are too short to have
            directions, or not finite.
    """

    def __init__(self, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
        if vectors.ndim != 2 or vectors.shape[1] < _SHORTEST_VECTOR:  # noqa: PLR2004
            raise TaskError("the network has no vectors of words to compare")
        if len(vectors) < len(words):
            raise TaskError(
                f"the network has vectors of {len(vectors)} words, the vocabulary "
                f"has {len(words)}"
            )
        if not np.isfinite(vectors).all():
            raise TaskError("the vectors of the words are not all finite")
        used = vectors[: len(words)].astype(np.float64)
        lengths = np.linalg.norm(used, axis=1, keepdims=True)
        self._units = used / np.maximum(lengths, np.finfo(np.float64).tiny)
        self._words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(words)}
        self._is_pair = np.array([" " in word for word in words], dtype=np.bool_)

    def __contains__(self, word: str) -> bool:
        """Return whether a word has a vector."""
        return word in self._numbers

    def neighbours(self, word: str, *, count: int) -> list[Near]:
        """Return the words nearest to ``word``, the nearest first.

        Raises:
            TaskError: If the word is unknown.
        """
        number = self._number(word)
        return self._nearest(self._cosines(self._units[number], [number]), count)

    def analogy(self, a: str, b: str, c: str, *, count: int) -> list[Near]:
        """Return the words that are to ``c`` as ``b`` is to ``a``, the best first.

        They are the nearest to ``b - a + c``, of vectors of length 1, as in Mikolov,
        Yih and Zweig 2013, "Linguistic regularities in continuous space word
        representations".

        Raises:
            TaskError: If a word is unknown.
        """
        return self._nearest(self._answers(a, b, c), count)

    def rank(self, a: str, b: str, c: str, *, expected: str) -> int:
        """Return the place of ``expected`` among the answers; 1 is the best.

        Raises:
            TaskError: If a word is unknown, or ``expected`` cannot be an answer.
        """
        cosines = self._answers(a, b, c)
        cosine = cosines[self._number(expected)]
        if cosine == -np.inf:
            raise TaskError(
                f"{expected!r} cannot be the answer",
                hint="an answer is one word, and not one of the question",
            )
        return int((cosines > cosine).sum()) + 1

    def _answers(self, a: str, b: str, c: str) -> NDArray[np.float64]:
        numbers = [self._number(word) for word in (a, b, c)]
        first, second, third = self._units[numbers]
        return self._cosines(second - first + third, numbers)

    def _cosines(
        self, vector: NDArray[np.float64], asked: list[int]
    ) -> NDArray[np.float64]:
        """Return a cosine for each word; -inf for those that cannot be an answer."""
        length = max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)
        cosines: NDArray[np.float64] = self._units @ (vector / length)
        cosines[self._is_pair] = -np.inf
        cosines[asked] = -np.inf
        return cosines

    def _nearest(self, cosines: NDArray[np.float64], count: int) -> list[Near]:
        best = np.argsort(-cosines, kind="stable")[:count]
        return [
            Near(self._words[number], float(cosines[number]))
            for number in best
            if cosines[number] > -np.inf
        ]

    def _number(self, word: str) -> int:
        if word in self._numbers:
            return self._numbers[word]
        close = get_close_matches(word, self._words, n=3)
        raise TaskError(
            f"{word!r} is not among the {len(self._words)} words of the vocabulary",
            hint=f"close to it are {', '.join(close)}" if close else None,
        )
