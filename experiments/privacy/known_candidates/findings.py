"""What the trials amount to: figures, controls, the sentence for everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from experiments.privacy.experiment import Options, Outcome
from experiments.privacy.known_candidates.attack import Numbers
from experiments.privacy.known_candidates.plot import draw
from experiments.privacy.known_candidates.single import SealedVictims
from experiments.privacy.known_candidates.trials import Scores
from experiments.privacy.numbers import Control, Measure, auc, interval, proportion
from experiments.privacy.words.mails import CLIP, Mails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEALED_CLIENTS: Final = 5
LATER_PASSES: Final = 3  # over all private mails: the book's three rounds
_FEW: Final = 50  # clients up to which a mail nearly always has a word of its own
_ALWAYS: Final = 0.99
_NEARLY: Final = 0.97  # paragraphs of one book share more words than mails do


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        clients: In the sums of the sweep.
        trials: Of every number of clients.
        rounds: On real ciphertexts, at each model; everybody in them is a victim.
        colluded: Clients of such a round whose upload is opened on its own.
        key_bits: Of these rounds.
    """

    clients: tuple[int, ...]
    trials: int
    rounds: int
    colluded: int
    key_bits: int


@dataclass(frozen=True, eq=False)
class Stage:
    """What was found at one global model.

    Attributes:
        name: Which model, for people.
        plain: Scores on the target's own update.
        swept: Scores per number of clients.
        sealed: Scores of real rounds.
        unmoved: Share of mails that move nothing by half a step.
    """

    name: str
    plain: Scores
    swept: Sequence[Scores]
    sealed: SealedVictims
    unmoved: float


def auc_measure(name: str, scores: Scores, *, view: str, note: str = "") -> Measure:
    """Return the AUC of first against second mail, with its null.

    The null is the same AUC where the target sent neither mail; as the two are then
    exchangeable, the negatives are the ratios with their sign turned.

    Args:
        name: Of the measure.
        scores: One of each kind a trial; trials are resampled.
        view: Who looks.
        note: A sentence.
    """
    value = _auc_interval(scores.first, scores.second)
    null = _auc_interval(scores.neither, -scores.neither)
    return Measure(name, view, "AUC", *value, scores.first.size, *null, note)


def _auc_interval(positives: Numbers, negatives: Numbers) -> tuple[float, float, float]:
    """Resample trials, each with both its scores."""
    higher = (positives[:, None] > negatives) + (positives[:, None] == negatives) / 2

    def of_chosen(chosen: Numbers, axis: int | None = None) -> Numbers:
        drawn = np.atleast_2d(chosen).astype(np.int64)
        counts = np.stack([np.bincount(d, minlength=positives.size) for d in drawn])
        areas = ((counts @ higher) * counts).sum(axis=1) / positives.size**2
        return np.asarray(areas if axis else areas[0])

    return interval(np.arange(positives.size, dtype=np.float64), statistic=of_chosen)


def _rate(name: str, right: int, trials: int, *, view: str, note: str = "") -> Measure:
    """Return a share of right decisions; a coin has one half."""
    rate = proportion(right, trials)
    return Measure(name, view, "right", *rate, trials, 0.5, 0.5, 0.5, note)


def outcome(
    options: Options,
    mails: Mails,
    sizes: Sizes,
    stages: Sequence[Stage],
    variances: Sequence[Measure],
) -> Outcome:
    """Put everything together.

    Args:
        options: What was asked for.
        mails: Of everybody.
        sizes: What was done.
        stages: The first step, and a later round.
        variances: The average-case view, per number of clients.
    """
    curves = [
        [
            auc_measure(f"{stage.name}, n = {n}", scores, view="encrypted")
            for n, scores in zip(sizes.clients, stage.swept, strict=True)
        ]
        for stage in stages
    ]
    plain = [
        auc_measure(f"{stage.name}, one update", stage.plain, view="plain")
        for stage in stages
    ]
    single = [one for stage in stages for one in _single(stage, sizes)]
    swept = [one for curve in curves for one in curve]

    def plot() -> "Figure":
        return draw(sizes.clients, curves, plain, variances)

    return Outcome(
        measures=[*plain, *swept, *single, *variances],
        controls=controls(
            sizes, stages, plain, curves, least=_ALWAYS if options.data else _NEARLY
        ),
        conclusion=_conclusion(sizes, stages, curves),
        setup=_setup(mails, sizes, stages),
        plot=plot,
        series={
            "clients": list(sizes.clients),
            "auc": {
                s.name: [m.to_dict() for m in c]
                for s, c in zip(stages, curves, strict=True)
            },
            "shared variance": [one.to_dict() for one in variances],
        },
    )


def _setup(mails: Mails, sizes: Sizes, stages: Sequence[Stage]) -> dict[str, object]:
    return {
        "mails": mails.source,
        "words": mails.num_words,
        "clip": CLIP,
        "attacker knows": "both mails with label, global model, number of clients, "
        f"{len(mails.public)} public mails",
        "candidates": "two mails with the same label, fixed before the run",
        "later round": f"after {LATER_PASSES} passes over all private mails",
        "mails that move nothing": {s.name: s.unmoved for s in stages},
        "key bits of sealed rounds": sizes.key_bits,
        "rest of what the server receives": "no help to the test (E2)",
        "sweep": "quantised sums, equal to the opened ones",
        "smallest effect told from an AUC of 0.5": 1.96 / (3 * sizes.trials) ** 0.5,
    }


def _single(stage: Stage, sizes: Sizes) -> list[Measure]:
    """Return the figures of real rounds, and those of the parties that see less."""
    sealed = stage.sealed
    last = stage.swept[-1]
    return [
        _rate(
            f"{stage.name}, n = {SEALED_CLIENTS}, real ciphertexts",
            int((sealed.encrypted > 0).sum()),
            sealed.encrypted.size,
            view="encrypted",
        ),
        _rate(
            f"{stage.name}, n = {SEALED_CLIENTS}, upload opened",
            int((sealed.collusion > 0).sum()),
            sealed.collusion.size,
            view="collusion",
        ),
        _rate(
            f"{stage.name}, n = {sizes.clients[-1]}",
            last.right,
            2 * last.first.size,
            view="key holder",
            note="the same sum as the server's",
        ),
    ]


def controls(
    sizes: Sizes,
    stages: Sequence[Stage],
    plain: Sequence[Measure],
    curves: Sequence[Sequence[Measure]],
    *,
    least: float,
) -> list[Control]:
    """Return what must come out.

    Args:
        sizes: What was done.
        stages: The first step, and a later round.
        plain: The AUC on one update, at each stage.
        curves: The AUC per number of clients, at each stage.
        least: Smallest AUC of the first step that passes for up to 50 clients.
    """
    few = [m.value for n, m in zip(sizes.clients, curves[0], strict=True) if n <= _FEW]
    return [
        Control("one update in the clear, AUC", True, plain[0].value, 0.999),
        Control(
            f"sums of up to {_FEW} clients, first step, least AUC",
            True,
            min(few),
            least,
        ),
        Control(
            "server and committee open an upload: largest error in steps",
            True,
            max(stage.sealed.worst_steps for stage in stages),
            0.0,
            0.51,
        ),
        Control(
            "opened sum against the sweep's, steps a client",
            True,
            max(s.sealed.worst_sum_steps for s in stages) / SEALED_CLIENTS,
            0.0,
            1.0,
        ),
        *_negative(sizes, stages),
    ]


def _negative(sizes: Sizes, stages: Sequence[Stage]) -> list[Control]:
    # Three standard errors of a signed rank statistic (Wilcoxon 1945).
    slack = float(3 / np.sqrt(3 * sizes.trials))
    single = stages[0].plain.neither
    swept = [scores.neither for stage in stages for scores in stage.swept]
    worst = max((auc(s, -s) for s in swept), key=lambda value: abs(value - 0.5))
    return [
        Control(name, False, value, 0.5 - slack, 0.5 + slack)
        for name, value in (
            ("one update that is neither mail, AUC", auc(single, -single)),
            ("sums with neither mail, AUC furthest from 0.5", worst),
        )
    ]


def _conclusion(
    sizes: Sizes, stages: Sequence[Stage], curves: Sequence[Sequence[Measure]]
) -> str:
    last, most = stages[0].swept[-1], sizes.clients[-1]
    rate = last.right / (2 * last.first.size)
    crowd = max(
        n for n, m in zip(sizes.clients, curves[0], strict=True) if m.value > _ALWAYS
    )
    later = curves[1][-1].value
    return (
        f"Encryption does not help against somebody who knows two mails and asks "
        f"which of them a client sent. From the sum of all clients alone the answer "
        f"was right in {rate:.0%} of the cases even among {most} clients (guessing: "
        f"50 %), and practically always among up to {crowd}. In a later round "
        f"{stages[1].unmoved:.0%} of the mails teach the model nothing any more and "
        f"leave no trace, and the others still stand out (over all: AUC {later:.2f} "
        f"among {most}; guessing: 0.5)."
    )
