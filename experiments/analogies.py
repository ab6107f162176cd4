"""Twenty analogies, and how well the word vectors of a run answer them."""

from dataclasses import dataclass
from statistics import median

from models.vectors import WordVectors

ANALOGIES = (
    ("man", "woman", "he", "she"),
    ("man", "woman", "king", "queen"),
    ("man", "woman", "actor", "actress"),
    ("man", "woman", "husband", "wife"),
    ("man", "woman", "father", "mother"),
    ("boy", "girl", "son", "daughter"),
    ("boy", "girl", "brother", "sister"),
    ("good", "better", "bad", "worse"),
    ("good", "best", "bad", "worst"),
    ("big", "bigger", "small", "smaller"),
    ("movie", "movies", "film", "films"),
    ("actor", "actors", "director", "directors"),
    ("woman", "women", "man", "men"),
    ("see", "saw", "go", "went"),
    ("make", "making", "take", "taking"),
    ("is", "was", "are", "were"),
    ("good", "great", "bad", "terrible"),
    ("love", "loved", "hate", "hated"),
    ("france", "french", "germany", "german"),
    ("paris", "france", "london", "england"),
)
"""Each: the first is to the second as the third is to the fourth, the one expected."""

_TOP = 10


@dataclass(frozen=True)
class Answer:
    """How one analogy was answered.

    Attributes:
        question: The first three words.
        expected: The fourth word.
        found: The best answer; empty if a word is unknown.
        rank: Place of the expected word, 1 for the best; None if a word is unknown.
    """

    question: tuple[str, str, str]
    expected: str
    found: str
    rank: int | None


def answers(vectors: WordVectors) -> list[Answer]:
    """Ask all analogies."""
    return [
        _answer(vectors, (first, second, third), expected)
        for first, second, third, expected in ANALOGIES
    ]


def summary(answered: list[Answer]) -> str:
    """Return one line about all answers; an unknown word counts as a wrong answer.

    Args:
        answered: Not empty.
    """
    ranks = [answer.rank for answer in answered if answer.rank is not None]
    first = sum(rank == 1 for rank in ranks)
    among = sum(rank <= _TOP for rank in ranks)
    unknown = len(answered) - len(ranks)
    middle = median([*ranks, *[float("inf")] * unknown])
    return (
        f"of {len(answered)} expected words {first} came first, {among} among the "
        f"first {_TOP}; median rank {middle:g}; {unknown} unknown"
    )


def _answer(
    vectors: WordVectors, question: tuple[str, str, str], expected: str
) -> Answer:
    if not all(word in vectors for word in (*question, expected)):
        return Answer(question, expected, "", None)
    found = vectors.analogy(*question, count=1)[0].word
    return Answer(question, expected, found, vectors.rank(*question, expected=expected))
