"""The test on single updates: in the clear, in real rounds, and opened by colluders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.known_candidates.attack import Numbers
from experiments.privacy.known_candidates.trials import Group, Scores, Trial
from experiments.privacy.sealed_round import SealedRound, Vector, seal_round
from experiments.privacy.words.mails import CLIP, Mails, pushes, update
from models.shards import Shard


@dataclass(frozen=True, eq=False)
class SealedVictims:
    """What came out where every client of some real rounds was a victim.

    Attributes:
        encrypted: Shape (victims,): the log-likelihood ratio of the mail that was sent
            against a decoy, on the opened sum of the victim's round.
        collusion: Shape (colluded,): by how much an upload that server and committee
            open is nearer to the right mail.
        worst_steps: Largest difference of such an upload to the client's own update.
        worst_sum_steps: Largest difference of an opened sum to the one that sweeps use.
    """

    encrypted: Numbers
    collusion: Numbers
    worst_steps: float
    worst_sum_steps: float


def attack_plain(mails: Mails, model: Vector, trials: Sequence[Trial]) -> Scores:
    """Attack the target's own update, which a server without encryption has.

    Args:
        mails: Of everybody.
        model: Shape (num_words,): the global model.
        trials: The target sends each of the three mails in turn.
    """
    found = []
    for trial in trials:
        sent = (trial.first, trial.second, trial.third)
        updates = [update(_mail(mails, number), model) for number in sent]
        found.append([_nearer(mails, model, trial, own) for own in updates])
    return Scores(*np.array(found).T)


def attack_sealed(
    mails: Mails,
    model: Vector,
    group: Group,
    rounds: Sequence[Sequence[Trial]],
    *,
    colluded: int,
    key_bits: int,
) -> SealedVictims:
    """Attack every client of rounds through the real mods, wrapper and committee.

    Args:
        mails: Of everybody.
        model: Shape (num_words,): the global model of the rounds.
        group: At that model.
        rounds: A trial per client: it sends the first mail, the second is the decoy.
        colluded: Clients of each round whose upload is opened on its own.
        key_bits: Of the rounds.
    """
    parts = []
    for trials in rounds:
        updates = [update(_mail(mails, trial.first), model) for trial in trials]
        sealed = seal_round(updates, clip=CLIP, key_bits=key_bits)
        opened = [sealed.collude(place) for place in range(colluded)]
        parts.append(_attack_round(mails, model, group, trials, (sealed, opened)))
    return SealedVictims(
        encrypted=np.concatenate([one.encrypted for one in parts]),
        collusion=np.concatenate([one.collusion for one in parts]),
        worst_steps=max(one.worst_steps for one in parts),
        worst_sum_steps=max(one.worst_sum_steps for one in parts),
    )


def _attack_round(
    mails: Mails,
    model: Vector,
    group: Group,
    trials: Sequence[Trial],
    views: tuple[SealedRound, Sequence[Numbers]],
) -> SealedVictims:
    """Attack a round: everybody in the sum, and those whose uploads were opened."""
    sealed, opened = views
    total = np.rint(sealed.total / sealed.step).astype(np.int64)
    swept = group.total(np.array([trial.first for trial in trials]))
    errors = [
        np.abs(one - np.clip(own, -CLIP, CLIP)).max() / sealed.step
        for one, own in zip(opened, sealed.updates, strict=False)
    ]
    nearer = [
        _nearer(mails, model, trial, one)
        for trial, one in zip(trials, opened, strict=False)
    ]
    return SealedVictims(
        encrypted=np.array([group.ratio(t, total, len(trials)) for t in trials]),
        collusion=np.array(nearer),
        worst_steps=float(max(errors)),
        worst_sum_steps=float(np.abs(total - swept).max()),
    )


def _nearer(
    mails: Mails, model: Vector, trial: Trial, own: NDArray[np.floating[Any]]
) -> float:
    """Return how much nearer an update is to the first candidate than to the second."""
    distances = []
    for number in (trial.first, trial.second):
        mail = _mail(mails, number)
        expected = np.zeros(model.size)
        expected[mail.arrays["tokens"]] = pushes(mail, model)[0]
        distances.append(float(np.abs(own - expected).sum()))
    return distances[1] - distances[0]


def _mail(mails: Mails, number: int) -> Shard:
    return mails.private.take(np.array([number]))
