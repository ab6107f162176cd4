"""How good a guess of somebody's words is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.numbers import average_precision, precision_recall_f1

RAREST: Final = 50

SetScore = tuple[float, float, float]
"""Precision, recall and F1 of a set of words."""


@dataclass(frozen=True)
class WordScore:
    """How well scores find the words of one client.

    Attributes:
        average_precision: Over the whole ranking.
        f1: Of the top k, where k is the client's true number of words: a gift.
        rarest: Share of its 50 rarest words (of the rarer half, if it has fewer than
            100) among these k. Common words are easily guessed; these are not.
    """

    average_precision: float
    f1: float
    rarest: float


def score(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    frequency: NDArray[np.float64],
) -> WordScore:
    """Compare scores with the words that were there.

    Args:
        scores: Shape (num_words,), the likeliest word highest.
        truth: Shape (num_words,): which words the client's mails have.
        frequency: Shape (num_words,): how common each word is in public.
    """
    words = np.flatnonzero(truth)
    top = np.argsort(-scores, kind="stable")[: words.size]
    by_rarity = words[np.argsort(frequency[words], kind="stable")]
    rarest = by_rarity[: max(1, min(RAREST, words.size // 2))]
    return WordScore(
        average_precision=average_precision(scores, truth),
        f1=precision_recall_f1(set(top.tolist()), set(words.tolist()))[2],
        rarest=float(np.isin(rarest, top).mean()),
    )


def score_set(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> SetScore:
    """Compare the words found with those that were there, each shape (num_words,)."""
    guessed, words = (set(np.flatnonzero(mask).tolist()) for mask in (found, truth))
    return precision_recall_f1(guessed, words)
