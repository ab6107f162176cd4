"""E1. Which words were in the mail? The attack of the book's chapter 15.

    python -m experiments.word_leak [--quick] [--data DIR] [--seed 2026] [--out DIR]

A client trains the spam model on its mails for one step. In plain, the weights that
moved are the words. With encryption the server has the opened sum of all clients, which
still shows everybody's words together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.numbers import Measure
from experiments.privacy.word_leak import measures
from experiments.privacy.word_leak.measures import Sweeps, column
from experiments.privacy.word_leak.plot import Curve, draw
from experiments.privacy.word_leak.sealed import attack_rounds
from experiments.privacy.word_leak.sweep import prior_of, sweep
from experiments.privacy.words.attack import touched
from experiments.privacy.words.mails import Mails, Vector, contains, load_mails, update
from experiments.privacy.words.mails import draw as draw_mails
from experiments.privacy.words.scoring import SetScore, score_set
from models.shards import Shard

SEALED_WORDS: Final = 2000
_PUBLIC_BATCH: Final = 500


@dataclass(frozen=True)
class _Size:
    """How much is done."""

    clients: Sequence[int]
    mails_each: Sequence[int]
    victims: int
    rounds: int
    round_clients: int


_FULL = _Size((1, 2, 5, 10, 50), (1, 10, 100), 30, 10, 5)
_QUICK = _Size((1, 2, 5, 10), (1, 10), 6, 2, 5)


def run(options: Options) -> Outcome:
    """Attack real rounds with few words, then sums of all sizes with all words."""
    size = _QUICK if options.quick else _FULL
    mails = load_mails(options.data)
    narrow = mails.narrowed(SEALED_WORDS)
    options.tell(f"{size.rounds} real rounds of {narrow.num_words} words")
    sealed = attack_rounds(
        narrow, rounds=size.rounds, clients=size.round_clients, seed=options.seed
    )
    sweeps = {}
    for each in size.mails_each:
        options.tell(f"{size.victims} victims with {each} mails")
        sweeps[each] = sweep(
            mails, size.clients, each, victims=size.victims, seed=options.seed + each
        )
    later = _later_round(mails, victims=size.victims, seed=options.seed)
    ranked = {
        b: measures.curve_of(found, "average_precision") for b, found in sweeps.items()
    }
    rarest = {b: measures.curve_of(found, "rarest") for b, found in sweeps.items()}
    return Outcome(
        measures=[
            *measures.sealed_measures(sealed, size.round_clients),
            *measures.plain_measures(sweeps, later),
            *(one for curve in ranked.values() for one in measures.beyond_plain(curve)),
            *(one for curve in rarest.values() for one in measures.beyond_plain(curve)),
            *measures.union_measures(sweeps),
        ],
        controls=measures.controls(sealed, sweeps),
        conclusion=_conclusion(sweeps, ranked[1], rarest),
        setup=_setup(mails, narrow, size),
        plot=partial(draw, ranked, rarest),
        series=_series(sweeps),
    )


def _later_round(mails: Mails, *, victims: int, seed: int) -> Sequence[SetScore]:
    """Attack single mails in plain on a model that has learned, not on zeros."""
    model = np.zeros(mails.num_words, dtype=np.float32)
    for start in range(0, len(mails.public), _PUBLIC_BATCH):
        end = min(start + _PUBLIC_BATCH, len(mails.public))
        model = model + update(mails.public.take(np.arange(start, end)), model)
    drawn = draw_mails(mails.private, (victims, 1), seed=seed)
    return [_moved(mail, model) for mail in drawn]


def _moved(mail: Shard, model: Vector) -> SetScore:
    found = touched(update(mail, model), smallest=0.0)
    return score_set(found, contains(mail, model.size))


def _conclusion(sweeps: Sweeps, ranked: Curve, rarest: Mapping[int, Curve]) -> str:
    few, many = min(n for n in ranked if n > 1), max(ranked)
    alone = sweeps[1][1]
    last = (curve[max(curve)] for curve in rarest.values())
    rare = max(last, key=lambda one: one.value - _null(one))
    return (
        f"Without encryption the server reads {column(alone.moved, 1).mean():.0%} of "
        "the words of a mail off its sender's update, and "
        f"{1 - column(alone.moved, 0).mean():.0%} of what it reads is wrong; guessing "
        f"common words finds {prior_of(alone, 'f1').mean():.0%}. From the encrypted "
        f"sum of {many} clients it sorts the words of one mail with an average "
        f"precision of {ranked[many].value:.2f}, against {_null(ranked[many]):.2f} for "
        "sorting all words by how common they are; from the sum of only "
        f"{few} clients it reaches {ranked[few].value:.2f}. Rare words stay exposed: "
        f"at worst ({rare.name}) it picks {rare.value:.0%} of a client's rarest words, "
        f"against {_null(rare):.0%} for somebody who was not there."
    )


def _null(one: Measure) -> float:
    return float("nan") if one.null is None else one.null


def _setup(mails: Mails, narrow: Mails, size: _Size) -> dict[str, object]:
    return {
        "data": mails.source,
        "private mails": len(mails.private),
        "public mails": len(mails.public),
        "model": "task spam-book: a weight per word, one step from zeros",
        "words, sweeps": mails.num_words,
        "words, sealed rounds": narrow.num_words,
        "key bits": 3072,
        "sealed rounds": size.rounds,
        "clients of a sealed round": size.round_clients,
        "victims of a sweep": size.victims,
        "sums of the sweeps": "quantised, not sealed; equal to opened ones (control)",
        "attacker knows": "the model, the public mails, the number of mails in the sum",
        "null": "the public mails' commonest words, as many as the victim has (F1), "
        "or all of them in that order (AP); for rare words the same attack on somebody "
        "who is not in the sum",
        "rarest words": "a client's 50 rarest, or the rarer half of fewer than 100",
        "opposite labels": "words of as many spam as ham cancel in a sum, and count "
        "as missed",
    }


def _series(sweeps: Sweeps) -> dict[str, object]:
    return {
        f"{each} mails, {clients} clients": {
            name: {
                metric: one.values(name, metric).tolist()
                for metric in ("average_precision", "f1", "rarest")
            }
            for name in one.victims
        }
        | {"moved": one.moved}
        for each, by_clients in sweeps.items()
        for clients, one in by_clients.items()
    }


EXPERIMENT: Final = Experiment(
    number="E1",
    name="word_leak",
    title="Words of a mail",
    question="Does the server learn which words were in a client's mail?",
    encryption_helps=True,
    measure=run,
    later="Noise inside the encryption, and what it does to these curves, comes with "
    "the next step.",
)

if __name__ == "__main__":
    main(EXPERIMENT)
