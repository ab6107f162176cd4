"""E5: knowing two candidates, can the opened sum tell which one a client sent?

    python -m experiments.known_candidates [--quick] [--data DIR]

A client has one mail, and the attacker knows that it is one of two. Encryption hides
the client's update; the sum with all the others is opened, as in every round. A
likelihood-ratio test on the words that only one of the two mails has (Ngo et al. 2024,
arXiv:2403.17775, find the same of secure aggregation in high dimension).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.known_candidates.findings import (
    LATER_PASSES,
    SEALED_CLIENTS,
    Sizes,
    Stage,
    outcome,
)
from experiments.privacy.known_candidates.single import attack_plain, attack_sealed
from experiments.privacy.known_candidates.trials import Group, Trial, draw_trials
from experiments.privacy.numbers import measure
from experiments.privacy.sealed_round import Vector
from experiments.privacy.words.mails import Mails, load_mails
from models.local import LocalTraining
from models.tasks.words import SPAM_BOOK

_CLIENTS: Final = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
_QUICK_CLIENTS: Final = (2, 10, 50, 200)


def find(options: Options) -> Outcome:
    """Do the experiment."""
    mails = load_mails(options.data)
    sizes = _sizes(options, mails)
    options.tell(f"{len(mails.private)} {mails.source}, {mails.num_words} words")
    most = max(sizes.clients)
    trials = draw_trials(mails.private, sizes.trials, clients=most, seed=options.seed)
    stages = []
    for name, model in (
        ("first step", np.zeros(mails.num_words, np.float32)),
        ("later round", later_model(mails, options.seed)),
    ):
        options.tell(f"{name}: {sizes.trials} trials, sums of up to {most} clients")
        stages.append(_stage(name, mails, model, trials, sizes))
    group = Group.at(mails, np.zeros(mails.num_words, np.float32))
    variances = [
        measure(
            f"share of the sum that is the target's, n = {n}",
            group.shared_variance(trials, n, by_target=True),
            view="encrypted",
            metric="r2",
            null=group.shared_variance(trials, n, by_target=False),
            note="the average-case view: it falls as 1/n",
        )
        for n in sizes.clients
    ]
    return outcome(options, mails, sizes, stages, variances)


def later_model(mails: Mails, seed: int) -> Vector:
    """Return the global model of a later round: everybody has taken part before.

    Args:
        mails: The model has seen all private ones, three times.
        seed: Of the order.
    """
    # Imported here: torch takes seconds.
    from models.networks.words import WordSumNetwork  # noqa: PLC0415
    from models.training import train  # noqa: PLC0415

    network = WordSumNetwork(num_words=mails.num_words)
    settings = LocalTraining.of(SPAM_BOOK, {"local-epochs": LATER_PASSES})
    train(network, mails.private, SPAM_BOOK, settings, seed=seed, device="cpu")
    model: Vector = network.words.weight.detach().numpy().ravel()
    return model


def _sizes(options: Options, mails: Mails) -> Sizes:
    """Choose sizes; without mails for so many strangers, smaller sums."""
    wanted = _QUICK_CLIENTS if options.quick else _CLIENTS
    clients = tuple(n for n in wanted if 2 * n <= len(mails.private))
    if options.quick:
        return Sizes(clients, trials=60, rounds=1, colluded=1, key_bits=2048)
    return Sizes(clients, trials=300, rounds=2, colluded=5, key_bits=3072)


def _stage(
    name: str, mails: Mails, model: Vector, trials: Sequence[Trial], sizes: Sizes
) -> Stage:
    group = Group.at(mails, model)
    rounds = [
        trials[number * SEALED_CLIENTS : (number + 1) * SEALED_CLIENTS]
        for number in range(sizes.rounds)
    ]
    return Stage(
        name=name,
        plain=attack_plain(mails, model, trials),
        swept=[group.scores(trials, n) for n in sizes.clients],
        sealed=attack_sealed(
            mails,
            model,
            group,
            rounds,
            colluded=sizes.colluded,
            key_bits=sizes.key_bits,
        ),
        unmoved=float((group.steps == 0).mean()),
    )


EXPERIMENT: Final = Experiment(
    number="E5",
    name="known_candidates",
    title="How many clients hide one",
    question="Knowing two mails, can the opened sum tell which one a client sent?",
    encryption_helps=False,
    measure=find,
    later="What noise inside the encryption buys, against its bound, comes with the "
    "next step, differential privacy.",
)


if __name__ == "__main__":
    main(EXPERIMENT)
