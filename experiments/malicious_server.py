"""E7: whether secure aggregation survives a server that picks the model.

    python -m experiments.malicious_server [--quick] [--data DIR] [--seed 2026]

The server sends a model that is made to be read: with a layer beside the network that
was agreed on, with parameters nobody would train, or a different model to every client.
Each is tried against the platform's own checks, off and on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.images.victims import load_images
from experiments.privacy.imprint import plot, rounds
from experiments.privacy.imprint.attack import GOOD_DB, expected_share
from experiments.privacy.imprint.network import HIDDEN, LEARNING_RATE
from experiments.privacy.imprint.rounds import Rounds
from experiments.privacy.imprint.trial import Scene, Setting
from experiments.privacy.numbers import Control, Measure, measure, proportion

IMPRINT: Final = "any network:\nimprint layer"
TRAP: Final = "listed networks:\ntrap weights"
HONEST: Final = "listed networks:\nhonest server"
SPLIT: Final = "no model digest: a trap\nfor one, of its images"
EQUAL: Final = "model digest: the trap\nfor all, of its images"


@dataclass(frozen=True)
class Size:
    """What is swept.

    Attributes:
        trials: Sets of victims.
        bins: Of the imprint layer, rising; the last one is compared with the checks.
        settings: Of the imprint layer's rounds.
        clients: In the rounds that the checks are compared on.
        tolerance: Largest mean difference from the formula.
    """

    trials: int
    bins: Sequence[int]
    settings: Sequence[Setting]
    clients: Sequence[int]
    tolerance: float


OWN: Final = 8
NULL_IMAGES: Final = 200  # of every trial
# A server asks whom it likes: 4 are the fewest whose sum the committee opens here.
SMALL: Final = (Setting(1, OWN), Setting(1, 64), Setting(4, OWN), Setting(10, OWN))
LARGE: Final = (*SMALL, Setting(50, OWN), Setting(10, 64))
# Bins are cut by 10,000 public images of MNIST, but by 360 bundled digits, which are
# often equally bright: there fewer bins are filled, and those unevenly.
MNIST: Final = Size(10, (64, 256, 1024), LARGE, (4, 10, 50), tolerance=0.04)
DIGITS: Final = Size(10, (16, 64, 256), LARGE, (4, 10, 50), tolerance=0.10)


def run(options: Options) -> Outcome:
    """Sweep, try everything on real rounds, and compare."""
    torch.set_num_threads(1)
    size = DIGITS if options.data is None else MNIST
    if options.quick:
        size = Size(3, size.bins[-2:], SMALL, (4, 10), tolerance=2.5 * size.tolerance)
    scene = Scene(load_images(options.data), options.seed)
    options.tell(f"{size.trials} sets of victims, {len(size.settings)} kinds of rounds")
    null = _null(scene, size)
    swept, strangers = _sweep(scene, size, null)
    options.tell("the committee's clients, asked for real")
    real = rounds.run_rounds(scene)
    bars, likeness = _checks(scene, size, swept, null)
    return Outcome(
        measures=[
            *(one for shares in swept.values() for one in shares.values()),
            *(one for name in (TRAP, HONEST, SPLIT, EQUAL) for one in bars[name]),
            *likeness,
            *rounds.measures(scene, real, null),
        ],
        controls=_controls(
            size, swept=swept, strangers=strangers, null=null, bars=bars, real=real
        ),
        conclusion=_conclusion(size, bars, null, real),
        setup=_setup(scene, size),
        plot=lambda: plot.draw(
            {
                bins: {setting.images: one for setting, one in shares.items()}
                for bins, shares in swept.items()
            },
            bars,
            size.clients,
            null,
        ),
    )


Sweep = Mapping[int, Mapping[Setting, Measure]]


def _null(scene: Scene, size: Size) -> Measure:
    """Return how many of the images a public one is good enough for."""
    good = np.concatenate([scene.nearest(t, NULL_IMAGES) for t in range(size.trials)])
    rate = proportion(int(good.sum()), good.size)
    return Measure("nearest public image", "nobody", "share", *rate, good.size)


def _sweep(scene: Scene, size: Size, null: Measure) -> tuple[Sweep, list[float]]:
    """Send imprint layers; return the shares, and those of images nobody trained on."""
    swept: dict[int, dict[Setting, Measure]] = {}
    strangers: list[float] = []
    for bins in size.bins:
        swept[bins] = {}
        for setting in size.settings:
            pairs = [
                scene.imprint(trial, bins, setting) for trial in range(size.trials)
            ]
            strangers += [other for _, other in pairs]
            swept[bins][setting] = _measure(
                f"imprint layer of {bins:,} bins, {setting} images",
                [own for own, _ in pairs],
                null,
                setting,
            )
    return swept, strangers


def _checks(
    scene: Scene, size: Size, swept: Sweep, null: Measure
) -> tuple[Mapping[str, Sequence[Measure]], list[Measure]]:
    """Return what each check leaves the server, for every number of clients.

    And how well one client's update is known from the sum of different models.
    """
    names, trials = (IMPRINT, TRAP, HONEST, SPLIT, EQUAL), range(size.trials)
    bars: dict[str, list[Measure]] = {name: [] for name in names}
    likeness = []
    for clients in size.clients:
        setting = Setting(clients, OWN)
        trap = [scene.trap_weights(trial, setting) for trial in trials]
        split = [scene.different_models(trial, setting) for trial in trials]
        shares = {
            TRAP: [everybody for everybody, _ in trap],
            HONEST: [scene.honest_weights(trial, setting) for trial in trials],
            SPLIT: [share for share, _, _ in split],
            EQUAL: [first for _, first in trap],
        }
        bars[IMPRINT].append(swept[size.bins[-1]][setting])
        for name, values in shares.items():
            title = f"{name.replace(chr(10), ' ')}, {setting} images"
            bars[name].append(_measure(title, values, null, setting))
        likeness.append(
            measure(
                f"different models, {setting}: one client's update",
                [known for _, known, _ in split],
                view="encrypted",
                metric="dB",
                null=[guessed for _, _, guessed in split],
                note="null: the mean update of a round with equal models",
            )
        )
    return bars, likeness


def _measure(
    name: str, shares: Sequence[float], null: Measure, setting: Setting
) -> Measure:
    """Summarise trials beside the null that all of them share."""
    # The platform opens no sum of one update: alone, it is what plain training shows.
    view = "plain" if setting.clients == 1 else "encrypted"
    one = measure(name, shares, view=view, metric="share").to_dict()
    chance = {"null": null.value, "null_low": null.low, "null_high": null.high}
    return Measure(**(one | chance))


def _controls(
    size: Size,
    *,
    swept: Sweep,
    strangers: Sequence[float],
    null: Measure,
    bars: Mapping[str, Sequence[Measure]],
    real: Rounds,
) -> list[Control]:
    away = [
        abs(one.value - expected_share(bins, setting.images))
        for bins, shares in swept.items()
        for setting, one in shares.items()
    ]
    alone = expected_share(HIDDEN, OWN)
    return [
        Control(
            "imprinted shares differ from the formula, on average",
            False,
            float(np.mean(away)),
            high=size.tolerance,
        ),
        Control(
            "different models: share of one client's images, whoever else is there",
            True,
            min(one.value for one in bars[SPLIT]),
            low=alone - 2.5 * size.tolerance,
        ),
        Control(
            "images that nobody trained on, read out of the sums",
            False,
            float(np.mean(strangers)),
            high=null.high + 0.02,
        ),
        *rounds.controls(real),
    ]


def _conclusion(
    size: Size,
    bars: Mapping[str, Sequence[Measure]],
    null: Measure,
    real: Rounds,
) -> str:
    few, many = size.clients[0], size.clients[-1]
    small, large = ({n: bars[n][i].value for n in bars} for i in (0, -1))
    policy = real.listed.refusals.get("PolicyError", 0)
    return (
        f"Encryption alone does not stop a server that picks the model: with a layer "
        f"of its own in it, {small[IMPRINT]:.0%} of the pictures of {few} clients and "
        f"{large[IMPRINT]:.0%} of {many} can be read out of the encrypted sum (public "
        f"pictures alone: {null.value:.0%}), and one client of {many} that is sent a "
        f"model of its own gives away {large[SPLIT]:.0%}. The clients' list of "
        f"networks stops the layer ({policy} of {rounds.SETTING.clients} refused), and "
        f"the digest of the model stops different models (nothing was opened). Not "
        f"stopped are bad parameters in a network on the list: {small[TRAP]:.0%} of "
        f"the pictures in a sum of {few}, {large[TRAP]:.0%} in a sum of {many}."
    )


def _setup(scene: Scene, size: Size) -> dict[str, Any]:
    return {
        "data": f"{scene.images.name}: {OWN} or 64 images a client, disjoint",
        "public images": len(scene.images.public),
        "trials": size.trials,
        "network on the list": f"pixels-{HIDDEN}-10, ReLU, biases",
        "step": f"one full-batch step of {LEARNING_RATE} a client; several local steps "
        "would blur what is read",
        "bins": "of mean brightness, measured 5 % askew against ties; equal shares of "
        "the public images",
        "rebuilt": f"a peak signal-to-noise ratio above {GOOD_DB:g} dB",
        "view": "sums quantised as the protocol does it; one client alone is in plain",
        "real rounds": f"{rounds.SETTING} images, {rounds.BINS} bins, hybrid, "
        "3,072-bit keys, network list and model digest off and on",
        "the list covers": "the layers and their shapes, as the client's own code "
        "describes them; not their parameters",
        "without digest": "the model digest of every party replaced by a constant; no "
        "setting of the platform does that",
        "trap weights": "the same bins in the listed network's own first layer, which "
        "is fully connected; not stopped by any check",
    }


EXPERIMENT: Final = Experiment(
    number="E7",
    name="malicious_server",
    title="A server that picks the model",
    question="Does encrypted aggregation protect against a server that sends a model "
    "made to be read?",
    encryption_helps=False,
    measure=run,
    later="How much noise inside the encryption (differential privacy) blurs such "
    "images comes with the next step.",
)

if __name__ == "__main__":
    main(EXPERIMENT)
