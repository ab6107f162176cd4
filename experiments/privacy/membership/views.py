"""What each view of a released model gives away, and by chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from experiments.privacy.membership import attack
from experiments.privacy.membership.attack import LOW_RATE, Members, Scores
from experiments.privacy.membership.trial import Trial, areas, curves
from experiments.privacy.numbers import auc_null_error

if TYPE_CHECKING:
    from experiments.privacy.sealed_round import SealedRound

LOSS: Final = "loss threshold"
LIRA: Final = "LiRA"
RATES: Final = tuple(float(rate) for rate in np.geomspace(0.004, 1, 60))
_DRAWS: Final = 10  # of members by chance, for every target


@dataclass(frozen=True)
class Seen:
    """One view's scores of every target by one attack, and by chance.

    Attributes:
        areas: Shape (targets,).
        curves: Shape (targets, rates).
        low: Shape (targets,): members found at 1 % false alarms.
    """

    areas: Scores
    curves: Scores
    low: Scores

    @classmethod
    def of(cls, scores: Scores, members: Members) -> Seen:
        """Score targets against what they were trained on, or were not."""
        return cls(
            areas(scores, members),
            curves(scores, members, RATES),
            curves(scores, members, [LOW_RATE])[:, 0],
        )


def encrypted_odds(trial: Trial) -> Scores:
    """Return the log odds of the targets that encrypted rounds trained."""
    return attack.log_odds(trial.encrypted.final, trial.images)


def attacks(
    trial: Trial, odds: Scores, *, seed: int | None = None
) -> Mapping[str, Seen]:
    """Attack every target; with a seed, score by chance: members are drawn anew."""
    members, ratios = trial.members[: len(odds)], trial.ratios(odds)
    if seed is not None:
        generator = np.random.default_rng([seed, 4])
        odds, ratios = np.tile(odds, (_DRAWS, 1)), np.tile(ratios, (_DRAWS, 1))
        members = np.tile(members, (_DRAWS, 1))
        members = generator.permuted(members, axis=1)
    return {LOSS: Seen.of(odds, members), LIRA: Seen.of(ratios, members)}


def whose(trial: Trial, sealed: SealedRound, *, colluded: int) -> Mapping[str, Scores]:
    """Tell whose image it was: AUC of every target in every view that can try."""
    plain, encrypted = trial.plain, trial.encrypted
    opened = np.stack([sealed.collude(i) for i in range(colluded)])
    before = encrypted.final[0] - torch.from_numpy(sealed.mean).float()
    local = before + torch.from_numpy(opened).float()
    one = plain.local[0][:colluded]
    return {
        "plain": _means(
            trial.attribution(i, plain.final[i], plain.local[i])
            for i in range(trial.targets)
        ),
        "encrypted": _means(
            trial.whose(i, np.repeat(odds[None], len(trial.choice[i]), axis=0))
            for i, odds in enumerate(encrypted_odds(trial))
        ),
        "collusion": trial.attribution(0, encrypted.final[0], local),
        "plain, the same clients": trial.attribution(0, plain.final[0], one),
    }


def _means(rows: Iterable[Scores]) -> Scores:
    return np.array([row.mean() for row in rows])


def strangers(trial: Trial) -> tuple[float, float]:
    """Return the mean AUC on networks without members, and its standard error."""
    odds = attack.log_odds(trial.strangers.final, trial.images)
    count = len(odds)
    # By chance, and not what any shadow was trained on.
    members = np.roll(trial.members[:count], 1, axis=1)
    scores = [attack.likelihood_ratio(one, trial.odds, trial.members) for one in odds]
    half = len(trial.images) // 2
    error = auc_null_error(half, half) / np.sqrt(count)
    return float(areas(np.stack(scores), members).mean()), float(error)
