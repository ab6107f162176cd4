"""The likelihood-ratio test between two mails that one client may have sent.

The attacker has the opened sum, the global model, the number of clients, both mails
with their labels, and mails of his own from which he knows how common words are. He
does not know what the other clients sent. All numbers are in quantisation steps.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive, xlogy

from experiments.privacy.words.mails import lengths, pushes
from models.shards import Shard

Numbers = NDArray[np.float64]
Steps = NDArray[np.int64]

_TINY: Final = 1e-300
_OUTLIERS: Final = 0.01  # of the sums are of no kind that the public mails have
_ROUNDING: Final = 1  # step: client and attacker may round a half differently


@dataclass(frozen=True, eq=False)
class Mail:
    """A mail as the attacker knows it.

    Attributes:
        words: Its words, each once.
        push: By how many steps it moves each of them.
    """

    words: NDArray[np.int32]
    push: int


class Crowd(Protocol):
    """What the attacker expects of the clients whose mails he does not know."""

    def log_chance(self, sums: Steps, words: NDArray[np.int32], others: int) -> Numbers:
        """Return how likely sums over these many clients are at these words.

        Args:
            sums: Shape (words,), in steps.
            words: Shape (words,).
            others: Clients in each sum.

        Returns:
            Shape (words,): natural logarithms of probabilities.
        """


def log_ratio(total: Steps, first: Mail, second: Mail, crowd: Crowd, n: int) -> float:
    """Return the log-likelihood ratio of the first mail against the second.

    Only words that the mails move differently count. What remains of the sum without
    the right mail is a sum of `n - 1` strangers.

    Args:
        total: Shape (num_words,): the opened sum in steps.
        first: One candidate.
        second: The other.
        crowd: What strangers send.
        n: Clients in the sum, the target included.
    """
    words = np.union1d(first.words, second.words).astype(np.int32)
    moved = [np.where(np.isin(words, m.words), m.push, 0) for m in (first, second)]
    differs = moved[0] != moved[1]
    words, sums = words[differs], total[words[differs]]
    chances = [crowd.log_chance(sums - m[differs], words, n - 1) for m in moved]
    return float((chances[0] - chances[1]).sum())


@dataclass(frozen=True, eq=False)
class CountingCrowd:
    """Strangers at the first step from zero weights, where sums count mails.

    Every mail moves its words by the same number of steps, ham down and spam up: a sum
    is the difference of two Poisson counts (Skellam 1946).

    Attributes:
        unit: Steps by which one mail moves its words.
        up: Shape (num_words,): the share of mails that move the word up.
        down: Shape (num_words,): those that move it down.
    """

    unit: int
    up: Numbers
    down: Numbers

    @classmethod
    def of(cls, public: Shard, steps: Steps, num_words: int) -> "CountingCrowd":
        """Count words in the public mails.

        Args:
            public: Mails of the attacker's own.
            steps: Shape (mails,): their pushes, equal but for the sign.
            num_words: Size of the vocabulary.
        """
        each = np.repeat(steps > 0, lengths(public))
        tokens = public.arrays["tokens"]
        up, down = (
            (np.bincount(tokens[side], minlength=num_words) + 0.25) / (len(public) + 1)
            for side in (each, ~each)
        )
        return cls(int(np.abs(steps).max()), up, down)

    def log_chance(self, sums: Steps, words: NDArray[np.int32], others: int) -> Numbers:
        """As `Crowd`."""
        up, down = others * self.up[words], others * self.down[words]
        count = np.rint(sums / self.unit)
        # ive(k, x) is exp(-x) I_k(x), so the exponent is a difference of roots.
        bessel = np.maximum(ive(np.abs(count), 2 * np.sqrt(up * down)), _TINY)
        chance: Numbers = (
            np.log(bessel)
            - (np.sqrt(up) - np.sqrt(down)) ** 2
            + xlogy(count / 2, up / down)
        )
        return chance


@dataclass(frozen=True, eq=False)
class MixedCrowd:
    """Strangers at any later model, where every mail has a push of its own.

    A sum over a Poisson number of mails: exactly 0 if nobody has the word, else close
    to a normal with the moments of such a sum (Wald 1944), cut into steps.

    Attributes:
        shares: Shape (num_words,): the share of mails that have the word.
        means: Shape (num_words,): mean push of those mails.
        squares: Shape (num_words,): mean squared push.
        largest: Push of the mail that moves most.
    """

    shares: Numbers
    means: Numbers
    squares: Numbers
    largest: int

    @classmethod
    def of(cls, public: Shard, steps: Steps, num_words: int) -> "MixedCrowd":
        """Measure words and pushes in the public mails; arguments as above.

        A word starts with one mail's worth of the average push, so that rare words
        have moments, too.
        """
        tokens = public.arrays["tokens"]
        each = np.repeat(steps, lengths(public)).astype(np.float64)
        counts = np.bincount(tokens, minlength=num_words)
        means, squares = (
            (np.bincount(tokens, weights=m, minlength=num_words) + m.mean())
            / (counts + 1)
            for m in (each, each**2)
        )
        shares = (counts + 0.5) / (len(public) + 1)
        return cls(shares, means, squares, max(1, int(np.abs(steps).max())))

    def log_chance(self, sums: Steps, words: NDArray[np.int32], others: int) -> Numbers:
        """As `Crowd`."""
        rate = others * self.shares[words]
        anybody = -np.expm1(-rate)
        mean = rate * self.means[words] / anybody
        square = (
            rate * self.squares[words] + (rate * self.means[words]) ** 2
        ) / anybody
        variance = np.maximum(square - mean**2, 1.0)
        normal = np.exp(-((sums - mean) ** 2) / (2 * variance))
        normal /= np.sqrt(2 * np.pi * variance)
        anything = 1 / (2 * others * self.largest + 1)
        some = anybody * ((1 - _OUTLIERS) * normal + _OUTLIERS * anything)
        at_zero = (np.abs(sums) <= _ROUNDING) / (2 * _ROUNDING + 1)
        nobody = np.exp(-rate) * at_zero
        return np.asarray(np.log(np.maximum(nobody + some, _TINY)))


def expect(public: Shard, model: NDArray[np.float32], scale: float) -> Crowd:
    """Return what an attacker expects of strangers at a model.

    Args:
        public: Mails of the attacker's own.
        model: Shape (num_words,): the global model.
        scale: Steps per unit of an update.
    """
    steps = np.rint(pushes(public, model) * scale).astype(np.int64)
    kind = MixedCrowd if model.any() else CountingCrowd
    return kind.of(public, steps, model.size)
