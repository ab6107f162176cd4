"""E3: which labels did a client train on?

    python -m experiments.label_leak [--quick] [--data DIR]

The bias of a classifier's last layer moves down for classes that are not in a batch and
up for those that are. One client's update tells its labels; the opened sum tells those
of the whole group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.images.networks import LeNet, Mlp
from experiments.privacy.images.victims import (
    NUM_CLASSES,
    Images,
    ImageSet,
    load_images,
)
from experiments.privacy.labels.clients import draw_clients
from experiments.privacy.labels.findings import Findings, outcome
from experiments.privacy.labels.views import (
    Model,
    chance_overlaps,
    harder_overlaps,
    permuted_overlaps,
    plain_overlaps,
    stages,
    view_sealed,
    view_sum,
)

_GROUP_BATCH: Final = 8
_SEALED_CLIENTS: Final = 5
_COLLUDED: Final = 3  # clients whose upload is opened, of every sealed round
_ALIKE_CLASSES: Final = 3
_HARDER_BATCH: Final = 32
_TRAINING_IMAGES: Final = 5000  # a third of the data set where that is less


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        batches: Images of a client.
        single: Clients attacked that have one image.
        several: Clients attacked at every other such number.
        clients: In a group.
        groups: Of every size.
        rounds: Really sealed.
        seen: Images that the trained networks have seen, some of them often.
    """

    batches: Sequence[int] = (1, 2, 8, 32, 128)
    single: int = 1000
    several: int = 150
    clients: Sequence[int] = (2, 5, 10, 20, 50, 100)
    groups: int = 25
    rounds: int = 5
    seen: int = 40_000


_QUICK: Final = Sizes((1, 8, 32), 100, 40, (2, 5, 20), 10, 1, 15_000)


def find(options: Options) -> Outcome:
    """Do the experiment."""
    images = load_images(options.data)
    sizes = _QUICK if options.quick else Sizes()
    generator = np.random.default_rng([options.seed, 3])
    training, pool = _divide(images, options.seed)
    models = _models(images, training, sizes.seen, options.seed)
    findings = Findings(models, _GROUP_BATCH, _SEALED_CLIENTS)
    for size in sizes.batches:
        options.tell(f"plain updates of {size} images")
        num = sizes.single if size == 1 else sizes.several
        clients = draw_clients(pool, num, size, generator)
        findings.chance[size] = chance_overlaps(clients, generator)
        for model in models:
            findings.plain[model.name, size] = plain_overlaps(model, clients)
    clients = draw_clients(pool, sizes.several, _HARDER_BATCH, generator)
    chance = chance_overlaps(clients, generator)
    for model in models[2:]:
        for case, shares in harder_overlaps(model, clients).items():
            row = f"{model.name}, B = {_HARDER_BATCH}, {case}"
            findings.harder[row] = shares, chance
    findings.permuted = permuted_overlaps(models[0], clients, generator)
    options.tell(f"sums of {sizes.groups} groups of up to {max(sizes.clients)} clients")
    _sums(findings, models, pool, sizes, generator)
    options.tell(f"{sizes.rounds} sealed rounds of {_SEALED_CLIENTS} clients")
    for _ in range(sizes.rounds):
        clients = draw_clients(pool, _SEALED_CLIENTS, _GROUP_BATCH, generator)
        findings.sealed.append(view_sealed(models[0], clients, _COLLUDED))
    setup = _setup(images, training, pool, sizes)
    return outcome(findings, setup, seed=options.seed)


def _divide(images: ImageSet, seed: int) -> tuple[Images, Images]:
    """Return what the trained networks have seen, and the victims' images."""
    everything = images.victims(len(images.private), seed=seed)
    count = min(_TRAINING_IMAGES, len(everything) // 3)
    return everything.take(slice(0, count)), everything.take(slice(count, None))


def _models(images: ImageSet, training: Images, seen: int, seed: int) -> list[Model]:
    """Return the LeNet, untrained and trained, then the MLP."""
    makers = {"LeNet": lambda: LeNet(images.side), "MLP": lambda: Mlp(images.side)}
    return [
        model
        for name, make in makers.items()
        for model in stages(name, make, images.public, training, seed=seed, seen=seen)
    ]


def _sums(
    findings: Findings,
    models: Sequence[Model],
    pool: Images,
    sizes: Sizes,
    generator: np.random.Generator,
) -> None:
    """Attack the sums of groups whose clients differ, and of groups of clients alike.

    A small group is the beginning of a large one.
    """
    most = max(sizes.clients)
    lenets = [model for model in models if model.name.startswith("LeNet")]
    guessed: dict[int, list[float]] = {num: [] for num in sizes.clients}
    for _ in range(sizes.groups):
        group = draw_clients(pool, most, _GROUP_BATCH, generator)
        chances = chance_overlaps(group, generator)
        for model in lenets:
            sent = model.updates(group)
            for num in sizes.clients:
                views = findings.sums.setdefault((model.name, num), [])
                views.append(view_sum(model, group[:num], sent[:num]))
        held = generator.choice(NUM_CLASSES, _ALIKE_CLASSES, replace=False).tolist()
        alike = draw_clients(pool, most, _GROUP_BATCH, generator, classes=held)
        sent = models[0].updates(alike)
        for num in sizes.clients:
            guessed[num].append(float(chances[:num].mean()))
            views = findings.alike.setdefault(num, [])
            views.append(view_sum(models[0], alike[:num], sent[:num]))
    findings.guessed = {num: np.array(found) for num, found in guessed.items()}


def _setup(
    images: ImageSet, training: Images, pool: Images, sizes: Sizes
) -> Mapping[str, Any]:
    return {
        "data": images.name,
        "networks": "sigmoid LeNet of 3 x 12 kernels; the MLP of chapter 9 with "
        "biases, without dropout; neither is a network of this project",
        "clients": "1 to 4 classes each; alike: the same 3 for all, drawn anew for "
        "every group; an image may be held by two clients",
        "attacker knows": "the network, the learning rate, the number of local steps "
        "and of images, which plain Flower sends in clear and a sealed update hides "
        "(rows 'B unknown' do without); the mean answers to public images",
        "training": f"{sizes.seen} images of {len(training)}, none of them a victim's",
        "images of clients": len(pool),
        "public images": len(images.public),
        "sums": "quantised, but for those called sealed: 3,072-bit keys, "
        f"{sizes.rounds} rounds",
        "nulls": "plain: a guess without any message; sums: the true mix of the "
        "group's labels, known",
    }


EXPERIMENT: Final = Experiment(
    number="E3",
    name="label_leak",
    title="Labels",
    question="Which labels did a client train on?",
    encryption_helps=True,
    measure=find,
    later="How much noise inside the encryption hides the labels of a small group "
    "comes with the next step, differential privacy.",
)


if __name__ == "__main__":
    main(EXPERIMENT)
