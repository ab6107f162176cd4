"""Numbers with their intervals and their nulls: what an attack reached, and by chance.

Every figure of an experiment is a `Measure`. Intervals are bootstrap percentiles over
seeds or victims; the null is what the attacker reaches without the message.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Measure:
    """One number, with how sure it is and what chance would give.

    Attributes:
        name: What was measured, with the setting: one row of the table.
        view: Who looks: `plain`, `encrypted`, `key holder` or `collusion`.
        metric: In which unit: `AUC`, `recall`, `dB`, ...
        value: The estimate, a mean or median over the samples.
        low: Lower end of the 95 % interval.
        high: Upper end.
        samples: Seeds, victims or trials behind it.
        null: What an attacker without the message reaches by the same scoring; None
            where there is no such thing, and `note` says why.
        null_low: Lower end of the null's 95 % interval.
        null_high: Upper end.
        note: One sentence, or empty.
    """

    name: str
    view: str
    metric: str
    value: float
    low: float
    high: float
    samples: int
    null: float | None = None
    null_low: float | None = None
    null_high: float | None = None
    note: str = ""

    @property
    def is_at_null(self) -> bool:
        """Whether the interval covers the null; says little where it is wide."""
        return self.null is not None and self.low <= self.null <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Control:
    """Something that must come out, or the experiment is not to be believed.

    Attributes:
        name: What, in a sentence.
        is_positive: Whether the attack must succeed here; else it must fail.
        value: What came out.
        low: Smallest value that passes.
        high: Largest value that passes.
    """

    name: str
    is_positive: bool
    value: float
    low: float = -float("inf")
    high: float = float("inf")

    @property
    def holds(self) -> bool:
        """Whether the value is within its bounds; never for NaN."""
        return self.low <= self.value <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; a bound that is none is None."""
        bounds = {"low": self.low, "high": self.high}
        finite = {k: v if np.isfinite(v) else None for k, v in bounds.items()}
        return asdict(self) | finite | {"holds": self.holds}


def measure(
    name: str,
    samples: ArrayLike,
    *,
    view: str,
    metric: str,
    null: ArrayLike | None = None,
    statistic: Callable[..., Any] = np.mean,
    seed: int = 0,
    note: str = "",
) -> Measure:
    """Summarise samples, and those of the null, with bootstrap intervals.

    Args:
        name: Of the measure.
        samples: Shape (n,): one number per seed, victim or trial.
        view: Who looks.
        metric: The unit.
        null: Shape (m,), or one number: the same score without the message.
        statistic: `np.mean` or `np.median`; takes `axis`.
        seed: Of the resampling.
        note: A sentence for the table.
    """
    values = np.atleast_1d(np.asarray(samples, dtype=np.float64))
    value, low, high = interval(values, statistic=statistic, seed=seed)
    chance: tuple[float | None, float | None, float | None] = (None, None, None)
    if null is not None:
        base = np.atleast_1d(np.asarray(null, dtype=np.float64))
        chance = interval(base, statistic=statistic, seed=seed + 1)
    return Measure(name, view, metric, value, low, high, values.size, *chance, note)


def interval(
    samples: NDArray[np.float64],
    *,
    statistic: Callable[..., Any] = np.mean,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return a statistic and its bootstrap percentile interval (Efron 1979).

    Args:
        samples: Shape (n,); with one sample the interval is that number alone.
        statistic: Takes an array and `axis`.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    chosen = generator.integers(samples.size, size=(_RESAMPLES, samples.size))
    spread = statistic(samples[chosen], axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(spread, [tail, 100 - tail])
    return float(statistic(samples)), float(low), float(high)


def proportion(successes: int, trials: int) -> tuple[float, float, float]:
    """Return a rate and its 95 % interval (Wilson 1927): also right at 0 and 1."""
    z = 1.959964
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials)
    half *= np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return rate, float(max(0.0, centre - half)), float(min(1.0, centre + half))


def auc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Return the chance that a positive scores above a negative, ties half.

    The Mann-Whitney statistic, which is the area under the ROC curve.
    """
    high, low = np.asarray(positives, float), np.sort(np.asarray(negatives, float))
    below = np.searchsorted(low, high, side="left")
    ties = np.searchsorted(low, high, side="right") - below
    return float((below + ties / 2).sum() / (high.size * low.size))


def auc_null_error(positives: int, negatives: int) -> float:
    """Return the standard error of an AUC of 0.5 (Hanley and McNeil 1982)."""
    return float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean precision at every true item, ranked by score."""
    # Imported here: it takes a second, and few callers need it.
    from sklearn.metrics import average_precision_score  # noqa: PLC0415

    return float(average_precision_score(np.asarray(truth), np.asarray(scores)))


def precision_recall_f1(
    found: Sequence[int] | set[int], truth: Sequence[int] | set[int]
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of a set of guesses; 0 without any hit."""
    guessed, true = set(found), set(truth)
    hits = len(guessed & true)
    if not hits:
        return 0.0, 0.0, 0.0
    precision, recall = hits / len(guessed), hits / len(true)
    return precision, recall, 2 * precision * recall / (precision + recall)


def psnr(image: ArrayLike, truth: ArrayLike, *, cap: float = 100.0) -> float:
    """Return the peak signal-to-noise ratio of an image in [0, 1], dB up to `cap`."""
    error = float(np.mean((np.asarray(image, float) - np.asarray(truth, float)) ** 2))
    return cap if error == 0 else min(cap, -10 * float(np.log10(error)))
