"""The numbers and the controls of E2, from what was found."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from experiments.privacy.ciphertext_side_channel import words
from experiments.privacy.ciphertext_side_channel.judging import Judged
from experiments.privacy.ciphertext_side_channel.words import Leaks, best_of_opened
from experiments.privacy.numbers import Control, Measure, measure
from experiments.privacy.words.scoring import SetScore

_Z: Final = 1.959964
# The encryption draws anew in every run, so one in 16,000 honest runs is outside.
_STANDARD_ERRORS: Final = 4
_BROKEN: Final = 0.99
# Of many mails some words cancel, and some weights grow until they look like zeros.
_MANY_MAILS: Final = 0.8
_VIEWS: Final = {words.PLAIN: "plain", words.COLLUSION: "collusion"}
SENDERS: Final = (
    words.PLAIN,
    words.SPARSE,
    words.PHE,
    words.PHE_FIXED,
    words.PAILLIER,
    words.HYBRID,
    words.OPENED,
)


def of_words(leaks: Leaks, name: str) -> Measure:
    """Return how well the words of a mail are guessed from one way of sending it."""
    found = best_of_opened(leaks.words) if name == words.OPENED else name
    return measure(
        name,
        [f1 for _, _, f1 in leaks.words[found]],
        view=_VIEWS.get(name, "encrypted"),
        metric="F1",
        null=[f1 for _, _, f1 in leaks.words[words.NULL]],
        note=f"{found}; victims share rounds" if name == words.OPENED else "",
    )


def measures(
    leaks: Leaks,
    large: Mapping[str, Sequence[SetScore]],
    judged: Mapping[str, Judged],
    *,
    mails_each: int,
) -> list[Measure]:
    """Return all numbers.

    Args:
        leaks: Of single mails.
        large: Of phe's exponents, for clients with many mails.
        judged: By mode.
        mails_each: Of the clients with many.
    """
    opened = of_words(leaks, words.OPENED)
    return [
        *(of_words(leaks, name) for name in SENDERS),
        Measure(**(opened.to_dict() | {"view": "key holder"})),
        of_words(leaks, words.COLLUSION),
        *_of_phe(words.PHE, leaks.words),
        *_of_phe(f"{words.PHE}, a client of {mails_each} mails", large),
        *(
            measure(
                f"{name}: zero or word, by exponent",
                found,
                view="encrypted",
                metric="AUC",
                null=0.5,
            )
            for name, found in leaks.exponents.items()
        ),
        *(_of_bits(mode, one) for mode, one in judged.items()),
    ]


def _of_phe(name: str, scores: Mapping[str, Sequence[SetScore]]) -> list[Measure]:
    return [
        measure(
            name,
            [score[place] for score in scores[words.PHE]],
            view="encrypted",
            metric=metric,
            null=[score[place] for score in scores[words.NULL]],
            note="read off the exponents",
        )
        for place, metric in ((0, "precision"), (1, "recall"))
    ]


def _of_bits(mode: str, one: Judged) -> Measure:
    """Return the classifier's AUC; both intervals are those of an AUC of 0.5."""
    half = _Z * one.real.error
    return Measure(
        name=f"Unseen, {mode}: zero or word, by all bits",
        view="encrypted",
        metric="AUC",
        value=one.real.auc,
        low=one.real.auc - half,
        high=one.real.auc + half,
        samples=one.real.samples,
        null=0.5,
        null_low=0.5 - half,
        null_high=0.5 + half,
        note=f"a deviation of {2 * _Z * one.real.error:.2g} would have shown",
    )


def controls(
    leaks: Leaks,
    large: Mapping[str, Sequence[SetScore]],
    judged: Mapping[str, Judged],
) -> list[Control]:
    """Return what must have come out."""
    exactly = {"low": 1.0, "high": 1.0}
    worst = {n: np.min(found, axis=0).tolist() for n, found in leaks.words.items()}
    return [
        Control("phe, floats: worst precision", True, worst[words.PHE][0], **exactly),
        Control("phe, floats: worst recall", True, worst[words.PHE][1], **exactly),
        Control(
            "phe: rows whose exponent depends on the length of the key",
            True,
            sum(leaks.other_exponents),
            high=0,
        ),
        Control(
            "phe, fixed precision: different exponents",
            False,
            max(leaks.fixed_exponents),
            **exactly,
        ),
        Control("non-zero rows: worst F1", True, worst[words.SPARSE][2], **exactly),
        Control(
            "server with members: worst F1", True, worst[words.COLLUSION][2], **exactly
        ),
        Control(
            "phe, floats, many mails: recall",
            True,
            float(np.mean([recall for _, recall, _ in large[words.PHE]])),
            low=_MANY_MAILS,
        ),
        *(control for mode, one in judged.items() for control in _of_mode(mode, one)),
    ]


def _of_mode(mode: str, one: Judged) -> list[Control]:
    real = {
        "low": 0.5 - _STANDARD_ERRORS * one.real.error,
        "high": 0.5 + _STANDARD_ERRORS * one.real.error,
    }
    return [
        Control(f"{mode}, nothing hidden: AUC", True, one.broken.auc, low=_BROKEN),
        Control(f"{mode}: AUC of the bits", False, one.real.auc, **real),
        Control(f"{mode}: AUC, answers shuffled", False, one.broken.shuffled, **real),
        Control(f"{mode}: different sizes of uploads", False, one.sizes, 1, 1),
    ]
