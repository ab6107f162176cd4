"""Guess the words of a client's mails: from its update, from a sum, from nothing.

Every attack gives a score for each word of the vocabulary, the likeliest highest. What
an attacker knows besides is public: how many mails there are in the sum, and how many
of the public mails have each word, among spam and among ham.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.words.mails import UNIT, Mails, frequencies

Scores = NDArray[np.float64]

PRIOR = "prior"


@dataclass(frozen=True)
class Knowledge:
    """What everybody knows about mails.

    Attributes:
        spam_share: Share of the public mails that are spam.
        spam: Shape (num_words,): share of the public spam that has each word.
        ham: Of the other public mails.
        both: Of all public mails: the frequency prior.
    """

    spam_share: float
    spam: Scores
    ham: Scores
    both: Scores

    @classmethod
    def of(cls, mails: Mails) -> "Knowledge":
        """Count words in the public mails."""
        is_spam = mails.public.labels == 1
        spam = mails.public.take(np.flatnonzero(is_spam))
        ham = mails.public.take(np.flatnonzero(~is_spam))
        return cls(
            spam_share=float(is_spam.mean()),
            spam=frequencies(spam, mails.num_words),
            ham=frequencies(ham, mails.num_words),
            both=frequencies(mails.public, mails.num_words),
        )


def touched(total: NDArray[np.floating[Any]], *, smallest: float) -> NDArray[np.bool_]:
    """Return which words' weights moved: the book's attack.

    Args:
        total: Shape (num_words,): an update, or a sum of updates.
        smallest: Moves up to this count as none, as rounding makes them.
    """
    moved: NDArray[np.bool_] = np.abs(total) > smallest
    return moved


def rankings(
    total: Scores, knowledge: Knowledge, *, num_mails: int
) -> Mapping[str, Scores]:
    """Return what an attacker can make of a sum of first steps, by the attack's name.

    The last one ignores the sum: no attacker has to do worse.

    Args:
        total: Shape (num_words,): the opened sum; an update is a sum of one client.
        knowledge: What everybody knows.
        num_mails: In the sum.
    """
    moved = np.abs(total) / UNIT
    return {
        "size": moved,
        "size over expected": moved / (num_mails * knowledge.both),
        "expected mails": expected_mails(total, knowledge, num_mails=num_mails),
        PRIOR: knowledge.both,
    }


def expected_mails(total: Scores, knowledge: Knowledge, *, num_mails: int) -> Scores:
    """Return the expected number of mails with each word, given the sum of first steps.

    From zero weights every spam with a word moves it up by `UNIT` and every ham down,
    so the sum shows the difference d of two counts, and words of both cancel. With
    Poisson counts of means s and h (the public frequencies), d follows Skellam's
    distribution, and the expected smaller count is
    ``sqrt(s h) I_{|d|+1}(2 sqrt(s h)) / I_|d|(2 sqrt(s h))``, with Bessel functions I.
    Clients are alike to the attacker, so this order is also that of the chance that
    one particular client has the word.

    Args:
        total: Shape (num_words,): the sum.
        knowledge: What everybody knows.
        num_mails: In the sum.
    """
    # Imported here: half a second, and the command line's help does not need it.
    from scipy.special import ive  # noqa: PLC0415

    difference = np.rint(np.abs(total) / UNIT)
    spam = num_mails * knowledge.spam_share * knowledge.spam
    ham = num_mails * (1 - knowledge.spam_share) * knowledge.ham
    argument = 2 * np.sqrt(spam * ham)
    below = ive(difference, argument)
    # Where the function is too small for a float, the first terms of both series.
    ratio = argument / (2 * (difference + 1))
    np.divide(ive(difference + 1, argument), below, out=ratio, where=below > 0)
    expected: Scores = difference + argument * ratio
    return expected
