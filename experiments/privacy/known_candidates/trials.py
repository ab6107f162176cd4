"""Trials of the test: a target, its two candidate mails, and a crowd of strangers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.known_candidates.attack import (
    Crowd,
    Mail,
    Numbers,
    Steps,
    expect,
    log_ratio,
)
from experiments.privacy.sealed_round import (
    Vector,
    make_params,
    quantised_total,
)
from experiments.privacy.words.mails import CLIP, Mails, lengths, pushes, summed
from models.shards import Shard


@dataclass(frozen=True)
class Trial:
    """Who is in a trial; numbers of private mails, fixed before anything is run.

    Attributes:
        first: A mail that the target may have sent.
        second: Another one with the same label.
        third: One that the attacker does not know, with the same label.
        others: Mails of the strangers; a sum of n clients takes the first n - 1.
    """

    first: int
    second: int
    third: int
    others: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Log-likelihood ratios of first against second mail, shape (trials,) each.

    Attributes:
        first: If the target sent the first mail.
        second: If it sent the second.
        neither: If it sent the third.
    """

    first: Numbers
    second: Numbers
    neither: Numbers

    @property
    def right(self) -> int:
        """Decisions that are right, of twice as many as trials."""
        return int((self.first > 0).sum() + (self.second < 0).sum())


def draw_trials(mails: Shard, count: int, *, clients: int, seed: int) -> list[Trial]:
    """Fix candidates and strangers.

    Args:
        mails: The private mails.
        count: Trials.
        clients: Most clients of a sum.
        seed: The same arguments give the same trials.
    """
    generator = np.random.default_rng(seed)
    trials = []
    for _ in range(count):
        order = generator.permutation(len(mails))
        same = order[mails.labels[order] == mails.labels[order[0]]]
        first, second, third = (int(number) for number in same[:3])
        others = order[~np.isin(order, same[:3])][: clients - 1]
        trials.append(Trial(first, second, third, others))
    return trials


@dataclass(frozen=True, eq=False)
class Group:
    """The clients of a trial at one global model, one mail each.

    Attributes:
        mails: The private mails.
        steps: Shape (mails,): their pushes as the platform encodes them.
        crowd: What the attacker expects.
        usual: Shape (num_words,): the mean update of the private mails, in steps.
    """

    mails: Shard
    steps: Steps
    crowd: Crowd
    usual: Numbers

    @classmethod
    def at(cls, mails: Mails, model: Vector) -> "Group":
        """Prepare everything that depends on the model."""
        scale = 1 / quantisation_step()
        return cls(
            mails=mails.private,
            steps=encoded(pushes(mails.private, model)),
            crowd=expect(mails.public, model, scale),
            usual=summed(mails.private, model) / len(mails.private) * scale,
        )

    def mail(self, number: int) -> Mail:
        """Return a private mail as an attacker knows it who has it."""
        arrays = self.mails.take(np.array([number])).arrays
        return Mail(arrays["tokens"], int(self.steps[number]))

    def total(self, numbers: NDArray[np.int64]) -> Steps:
        """Return the opened sum of clients with these mails, in steps."""
        chosen = self.mails.take(numbers)
        each = np.repeat(self.steps[numbers], lengths(chosen))
        total = np.bincount(
            chosen.arrays["tokens"], weights=each, minlength=self.usual.size
        )
        return np.rint(total).astype(np.int64)

    def ratio(self, trial: Trial, total: Steps, n: int) -> float:
        """Attack an opened sum."""
        first, second = self.mail(trial.first), self.mail(trial.second)
        return log_ratio(total, first, second, self.crowd, n)

    def scores(self, trials: Sequence[Trial], n: int) -> Scores:
        """Attack sums of n clients, with each of the three mails in turn."""
        found = np.array([self._score(trial, n) for trial in trials])
        return Scores(*found.T)

    def _score(self, trial: Trial, n: int) -> list[float]:
        strangers = self.total(trial.others[: n - 1])
        sent = (trial.first, trial.second, trial.third)
        totals = [strangers + self.total(np.array([number])) for number in sent]
        return [self.ratio(trial, total, n) for total in totals]

    def shared_variance(
        self, trials: Sequence[Trial], n: int, *, by_target: bool
    ) -> Numbers:
        """Return how much of the sum a linear reader sees of the target's update.

        The squared correlation over words, shape (trials,): the average-case view. What
        a mail does on average is known here, and left out on both sides.

        Args:
            trials: The target sends the first mail.
            n: Clients in the sum.
            by_target: Whether to compare with the first mail, or with the third, which
                is not in the sum: what two mails have in common anyway.
        """
        found = []
        for trial in trials:
            compared = trial.first if by_target else trial.third
            numbers = np.append(trial.others[: n - 1], trial.first)
            total = self.total(numbers) - n * self.usual
            own = self.total(np.array([compared])) - self.usual
            found.append(np.corrcoef(own, total)[0, 1] ** 2)
        return np.array(found)


def quantisation_step() -> float:
    """Return the size of a step, in units of an update: the same for every round."""
    return 1 / make_params(2, clip=CLIP).scale


def encoded(values: NDArray[np.float64]) -> Steps:
    """Encode values as the platform encodes an update, in steps."""
    update = values.astype(np.float32)
    total = quantised_total([update, np.zeros_like(update)], clip=CLIP)
    return np.rint(total / quantisation_step()).astype(np.int64)
