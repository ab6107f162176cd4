"""The numbers and the controls of E1, from what was found."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.numbers import Control, Measure, measure
from experiments.privacy.word_leak.plot import Curve
from experiments.privacy.word_leak.sealed import SealedVictim
from experiments.privacy.word_leak.sweep import Found, prior_of
from experiments.privacy.words.attack import PRIOR
from experiments.privacy.words.scoring import SetScore

# The sum of many mails also teaches how common a word is among these people, better
# than the public mails do, and that helps to guess an outsider's words a little.
_OUTSIDER_GAIN: Final = 0.05

Sweeps = Mapping[int, Mapping[int, Found]]
"""By mails of a client, then by number of clients."""


def sealed_measures(sealed: Sequence[SealedVictim], clients: int) -> list[Measure]:
    """Return what each party found in real rounds, one mail per client."""
    name = f"one mail, round of {clients}, sealed"
    best = _best(sealed)
    prior = [one.encrypted[PRIOR].f1 for one in sealed]
    known = [one.encrypted[PRIOR].average_precision for one in sealed]
    ranked = [one.encrypted[best].average_precision for one in sealed]
    scores: Mapping[str, Sequence[SetScore]] = {
        "plain": [one.plain for one in sealed],
        "collusion": [one.collusion for one in sealed],
    }
    sets = [
        measure(name, column(found, i), view=view, metric=metric, null=prior)
        for view, found in scores.items()
        for i, metric in ((0, "precision"), (1, "recall"))
    ]
    sums = [
        measure(
            name, ranked, view=view, metric="AP", null=known, note=f"{best}; {note}"
        )
        for view, note in (
            ("encrypted", "ciphertexts add nothing: E2"),
            ("key holder", "sees the opened sum only, as the server does"),
        )
    ]
    return [*sets, *sums]


def _best(sealed: Sequence[SealedVictim]) -> str:
    """Return the attack with the highest average precision over all rounds."""

    def reached(name: str) -> float:
        return sum(one.encrypted[name].average_precision for one in sealed)

    return max(sealed[0].encrypted, key=reached)


def plain_measures(sweeps: Sweeps, later: Sequence[SetScore]) -> list[Measure]:
    """Return what the words that moved in an update say, also in a later round."""
    found = []
    for each, by_clients in sweeps.items():
        alone = by_clients[1]
        null = prior_of(alone, "f1")
        name = f"{_mails(each)}, its own update"
        found += [
            measure(name, column(alone.moved, i), view="plain", metric=m, null=null)
            for i, m in ((0, "precision"), (1, "recall"))
        ]
    null = prior_of(sweeps[1][1], "f1")
    name = "1 mail, its own update, trained model"
    recall = measure(name, column(later, 1), view="plain", metric="recall", null=null)
    return [*found, recall]


def curve_of(found: Mapping[int, Found], metric: str) -> Curve:
    """Return the best attack per number of clients, beside its null.

    The null of the average precision is the frequency prior on the same victims. That
    finds hardly any rare word, so for these it is the same attack on an outsider.
    """
    curve = {}
    for clients, one in found.items():
        best = one.best(metric)
        is_ranking = metric == "average_precision"
        null = prior_of(one, metric) if is_ranking else one.outside(best, metric)
        curve[clients] = measure(
            f"{_mails(one.mails_each)}, sum of {clients}",
            one.values(best, metric),
            view="encrypted" if clients > 1 else "plain",
            metric="AP" if is_ranking else "of 50 rarest",
            null=null,
            note=f"best attack: {best}",
        )
    return curve


def beyond_plain(curve: Curve) -> list[Measure]:
    """Leave out the sum of one."""
    return [one for clients, one in curve.items() if clients > 1]


def union_measures(sweeps: Sweeps) -> list[Measure]:
    """Return how well everybody's words are the victim's, at both ends."""
    found = [
        by_clients[clients]
        for by_clients in sweeps.values()
        for clients in sorted({min(n for n in by_clients if n > 1), max(by_clients)})
    ]
    return [
        measure(
            f"{_mails(one.mails_each)}, words that moved in the sum of {one.clients}",
            column(one.moved, i),
            view="encrypted",
            metric=metric,
            null=prior_of(one, "f1"),
        )
        for one in found
        for i, metric in ((2, "F1"), (1, "recall"))
    ]


def controls(sealed: Sequence[SealedVictim], sweeps: Sweeps) -> list[Control]:
    """Return what must have come out."""
    plain = [*(one.plain for one in sealed), *sweeps[1][1].moved]
    colluding = [one.collusion for one in sealed]
    gain = max(
        float(one.outside(name, "average_precision").mean())
        - float(one.outside(PRIOR, "average_precision").mean())
        for by_clients in sweeps.values()
        for one in by_clients.values()
        for name in one.outsiders
    )
    exactly, half_step = {"low": 1.0, "high": 1.0}, 1.001  # float32 rounds too
    return [
        Control("plain: worst precision", True, min(p for p, _, _ in plain), **exactly),
        Control("plain: worst recall", True, min(r for _, r, _ in plain), **exactly),
        Control(
            "server with members: worst F1",
            True,
            min(f1 for _, _, f1 in colluding),
            **exactly,
        ),
        Control(
            "server with members: the update, to half a step",
            True,
            max(one.own_error for one in sealed),
            high=half_step,
        ),
        Control(
            "opened sum = plain sum, to half a step per client",
            True,
            max(one.sum_error for one in sealed),
            high=half_step,
        ),
        Control(
            "sums of the sweeps = opened sums, in steps",
            True,
            max(one.sweep_error for one in sealed),
            high=1e-3,  # the wrapper's model is float32
        ),
        Control(
            "attack on somebody outside the sum: AP above the prior's",
            False,
            gain,
            high=_OUTSIDER_GAIN,
        ),
    ]


def column(scores: Sequence[SetScore], index: int) -> NDArray[np.float64]:
    """Return every victim's precision (0), recall (1) or F1 (2)."""
    return np.array([one[index] for one in scores])


def _mails(count: int) -> str:
    return "1 mail" if count == 1 else f"{count} mails"
