"""The attack on sums of many sizes, with all words of the platform's model.

The sums are those that a round would open, quantised but not sealed: that both are
equal is a test of its own, and `experiments.privacy.word_leak.sealed` seals real ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.sealed_round import make_params, quantised_total
from experiments.privacy.words.attack import PRIOR, Knowledge, rankings, touched
from experiments.privacy.words.mails import CLIP, Mails, Vector, contains, draw, update
from experiments.privacy.words.scoring import SetScore, WordScore, score, score_set

_PLAIN_CLIENTS = 1


@dataclass
class Found:
    """What the attacks found in sums of one size; lists have an entry per victim.

    Attributes:
        clients: In the sum; 1 is the plain view, the victim's update alone.
        mails_each: Of every client.
        victims: By attack, how well it found the victim's words.
        outsiders: By attack, how well the same scores "find" the words of somebody
            whose update is not in the sum: what the sum tells about everybody.
        moved: How well the words that moved are the victim's.
    """

    clients: int
    mails_each: int
    victims: dict[str, list[WordScore]] = field(default_factory=dict)
    outsiders: dict[str, list[WordScore]] = field(default_factory=dict)
    moved: list[SetScore] = field(default_factory=list)

    def best(self, metric: str) -> str:
        """Return the attack that reaches most over all victims."""
        return max(self.victims, key=lambda name: self.values(name, metric).mean())

    def values(self, attack: str, metric: str) -> NDArray[np.float64]:
        """Return a field of every victim's score."""
        return _values(self.victims[attack], metric)

    def outside(self, attack: str, metric: str) -> NDArray[np.float64]:
        """Return a field of every outsider's score."""
        return _values(self.outsiders[attack], metric)


def _values(scores: Sequence[WordScore], metric: str) -> NDArray[np.float64]:
    return np.array([getattr(one, metric) for one in scores])


def sweep(
    mails: Mails, clients: Sequence[int], mails_each: int, *, victims: int, seed: int
) -> Mapping[int, Found]:
    """Attack sums of growing size, the victim in all of them.

    Args:
        mails: Whose.
        clients: Numbers of clients; those there are not enough mails for are left out.
        mails_each: Of every client.
        victims: How many, each among other clients.
        seed: Fixes all mails before anything is attacked.

    Returns:
        By number of clients.
    """
    room = len(mails.private) // mails_each - 1  # one more is the outsider
    sizes = [n for n in clients if n <= room]
    knowledge = Knowledge.of(mails)
    found = {n: Found(n, mails_each) for n in sizes}
    for number in range(victims):
        drawn = draw(
            mails.private, (max(sizes) + 1, mails_each), seed=seed + 1000 * number
        )
        model = np.zeros(mails.num_words, dtype=np.float32)
        updates = [update(shard, model) for shard in drawn[:-1]]
        truth = contains(drawn[0], mails.num_words)
        outsider = contains(drawn[-1], mails.num_words)
        for n in sizes:
            _attack(found[n], updates[:n], truth, outsider, knowledge)
    return found


def _attack(
    found: Found,
    updates: Sequence[Vector],
    truth: NDArray[np.bool_],
    outsider: NDArray[np.bool_],
    knowledge: Knowledge,
) -> None:
    """Attack one sum and note how well it went."""
    total, smallest = _seen(updates)
    found.moved.append(score_set(touched(total, smallest=smallest), truth))
    num_mails = len(updates) * found.mails_each
    for name, scores in rankings(total, knowledge, num_mails=num_mails).items():
        victim, other = (score(scores, t, knowledge.both) for t in (truth, outsider))
        found.victims.setdefault(name, []).append(victim)
        found.outsiders.setdefault(name, []).append(other)


def _seen(updates: Sequence[Vector]) -> tuple[NDArray[np.float64], float]:
    """Return what the server sees, and the largest move that is only rounding."""
    if len(updates) == _PLAIN_CLIENTS:
        return updates[0].astype(np.float64), 0.0
    step = 1 / make_params(len(updates), clip=CLIP).scale
    return quantised_total(updates, clip=CLIP), step / 2


def prior_of(found: Found, metric: str) -> NDArray[np.float64]:
    """Return what guessing by frequency reaches: the null, a value per victim."""
    return found.values(PRIOR, metric)
