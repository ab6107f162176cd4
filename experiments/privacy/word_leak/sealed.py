"""The attack on real rounds: what each party can read of one client's mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.sealed_round import SealedRound, quantised_total, seal_round
from experiments.privacy.words.attack import Knowledge, rankings, touched
from experiments.privacy.words.mails import CLIP, Mails, contains, draw, update
from experiments.privacy.words.scoring import SetScore, WordScore, score, score_set

MODES = ("paillier", "hybrid")


@dataclass(frozen=True)
class SealedVictim:
    """What was found about the first client of one real round.

    Attributes:
        mode: Of the round.
        plain: The words that moved in its own update.
        collusion: Those in its upload, opened by the server with enough members.
        encrypted: By attack, the ranking from the opened sum.
        sum_error: Largest distance of the opened sum from the plain one, in half
            quantisation steps per client: at most 1.
        own_error: Of the upload opened by collusion from the update, in half steps.
        sweep_error: Of the opened sum from that of the sweeps, in steps.
    """

    mode: str
    plain: SetScore
    collusion: SetScore
    encrypted: Mapping[str, WordScore]
    sum_error: float
    own_error: float
    sweep_error: float


def attack_rounds(
    mails: Mails, *, rounds: int, clients: int, seed: int
) -> Sequence[SealedVictim]:
    """Seal one mail per client, round after round, and attack the first client.

    Args:
        mails: Whose, of a vocabulary that can be sealed.
        rounds: Each with other mails; their modes alternate.
        clients: Of each round.
        seed: Fixes all mails before anything is attacked.
    """
    knowledge = Knowledge.of(mails)
    return [
        _attack(
            mails, knowledge, MODES[i % len(MODES)], clients, seed=seed + 1000 * i + 500
        )
        for i in range(rounds)
    ]


def _attack(
    mails: Mails, knowledge: Knowledge, mode: str, clients: int, *, seed: int
) -> SealedVictim:
    drawn = draw(mails.private, (clients, 1), seed=seed)
    model = np.zeros(mails.num_words, dtype=np.float32)
    updates = [update(shard, model) for shard in drawn]
    sealed = seal_round(updates, mode=mode, clip=CLIP)
    own = sealed.collude(0)
    truth = contains(drawn[0], mails.num_words)
    smallest = sealed.step / 2
    guesses = rankings(sealed.total, knowledge, num_mails=clients)
    return SealedVictim(
        mode=mode,
        plain=score_set(touched(updates[0], smallest=0.0), truth),
        collusion=score_set(touched(own, smallest=smallest), truth),
        encrypted={n: score(s, truth, knowledge.both) for n, s in guesses.items()},
        sum_error=_largest(sealed.total - np.sum(updates, axis=0, dtype=np.float64))
        / (smallest * clients),
        own_error=_largest(own - updates[0]) / smallest,
        sweep_error=_from_sweep(sealed),
    )


def _from_sweep(sealed: SealedRound) -> float:
    total = quantised_total(sealed.updates, mode=sealed.params.mode, clip=CLIP)
    return _largest(sealed.total - total) / sealed.step


def _largest(difference: NDArray[np.float64]) -> float:
    return float(np.abs(difference).max())
