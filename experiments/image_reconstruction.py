"""E4: can an image be rebuilt from an update?

    python -m experiments.image_reconstruction [--quick] [--data DIR]

Two attacks: images are sought whose gradient is the one that was sent (LeNet), and the
gradient of a fully connected first layer is divided by that of its biases (MLP).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.images.networks import LeNet, Mlp, accuracy, fresh, trained
from experiments.privacy.images.victims import (
    Images,
    ImageSet,
    load_images,
    mean_guess,
    nearest_guess,
    random_guess,
)
from experiments.privacy.reconstruction.attempts import Matcher, score
from experiments.privacy.reconstruction.findings import Findings, outcome
from experiments.privacy.reconstruction.rounds import LEARNING_RATE, draw_groups
from experiments.privacy.reconstruction.study import divide, match_alone, match_sums

_TRAINING_IMAGES: Final = 5000  # a third of the data set where that is less


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        victims: Images attacked.
        restarts: For plain updates; the one with the smallest loss is kept. Sums have
            one start only: they take as many times longer as there are clients.
        evaluations: Of every descent.
        matched: Clients in the sums whose gradients are matched.
        divided: Clients in the sums that are divided.
        sealed: Victims whose rounds are really sealed.
        sealed_clients: In those rounds; one of the sizes of both attacks.
        seen: Images that the trained networks have been trained on.
    """

    victims: int = 10
    restarts: int = 2
    evaluations: int = 600
    matched: Sequence[int] = (2, 5, 10)
    divided: Sequence[int] = (2, 5, 10, 20, 50, 100)
    sealed: int = 3
    sealed_clients: int = 5
    seen: int = 40_000


_QUICK: Final = Sizes(4, 1, 160, (2,), (2, 5, 100), 1, 2, 10_000)


def find(options: Options) -> Outcome:
    """Do the experiment."""
    images = load_images(options.data)
    sizes = _QUICK if options.quick else Sizes()
    victims, training, pool = _divide(images, sizes.victims, options.seed)
    groups = draw_groups(victims, pool, max(sizes.divided), seed=options.seed)
    chance = random_guess(victims, images.public, seed=options.seed)
    findings = Findings(
        truth=victims,
        public=images.public,
        sealed=sizes.sealed,
        sealed_clients=sizes.sealed_clients,
        mean=score(mean_guess(victims, images.public), victims),
        random=score(chance, victims),
        nearest=score(nearest_guess(victims, images.public), victims),
    )
    lenets = _networks(lambda: LeNet(images.side), training, sizes, options.seed)
    mlps = _networks(lambda: Mlp(images.side, "relu"), training, sizes, options.seed)
    options.tell(f"dividing updates and sums of up to {max(sizes.divided)} clients")
    divide(findings, *mlps, groups, sizes.divided)
    matchers = [_matcher(one, images.public, sizes, options.seed) for one in lenets]
    options.tell(f"matching the gradients of {len(victims)} images")
    match_alone(findings, *matchers)
    for num in sizes.matched:
        options.tell(f"matching the gradients of sums of {num} clients")
        match_sums(findings, matchers[0], groups, num)
    setup = _setup(images, training, sizes)
    setup["accuracy of the trained networks"] = {
        "LeNet": accuracy(lenets[1], images.public),
        "MLP": accuracy(mlps[1], images.public),
    }
    return outcome(findings, setup, seed=options.seed)


def _divide(images: ImageSet, victims: int, seed: int) -> tuple[Images, Images, Images]:
    """Return the victims, what the trained networks have seen, and the others."""
    everything = images.victims(len(images.private), seed=seed)
    last = len(everything) - min(_TRAINING_IMAGES, len(everything) // 3)
    parts = slice(0, victims), slice(last, None), slice(victims, last)
    chosen, training, pool = (everything.take(part) for part in parts)
    return chosen, training, pool


def _networks(
    make: Callable[[], nn.Module], training: Images, sizes: Sizes, seed: int
) -> tuple[nn.Module, nn.Module]:
    """Return a network with its first parameters, and the same one after training."""
    late = trained(fresh(make, seed=seed), training, seen=sizes.seen, seed=seed)
    return fresh(make, seed=seed), late


def _matcher(network: nn.Module, public: Images, sizes: Sizes, seed: int) -> Matcher:
    return Matcher(
        network,
        public,
        restarts=sizes.restarts,
        evaluations=sizes.evaluations,
        seed=seed,
    )


def _setup(images: ImageSet, training: Images, sizes: Sizes) -> dict[str, Any]:
    return {
        "data": images.name,
        "victims": f"{sizes.victims} images, drawn before anything is attacked",
        "public images": len(images.public),
        "networks": "LeNet: sigmoid, 3 x 12 kernels, first parameters in [-0.5, 0.5]; "
        "MLP: the size of chapter 9's, with biases and ReLU; neither is a network of "
        "this project",
        "clients": "one image and one full-batch step each, learning rate "
        f"{LEARNING_RATE}, but where the name of a row says otherwise",
        "attacker knows": "the network, the learning rate, the number of steps and of "
        "images; labels are read from the same update or sum",
        "matched": f"{sizes.evaluations} evaluations from each of {sizes.restarts} "
        "starts, the smallest gradient distance is kept; sums from one start only: a "
        "longer search may find more",
        "divided": "the movement of a unit's weights by that of its bias",
        "chosen with the true image": "which unit of the MLP, and which of the images "
        "rebuilt from a sum: an upper bound, as for the nearest public image",
        "training": f"{sizes.seen} images of {len(training)}, none of them a victim's",
        "sums": "quantised, but for those called sealed: 3,072-bit keys, "
        f"{sizes.sealed} rounds of {sizes.sealed_clients} clients",
    }


EXPERIMENT: Final = Experiment(
    number="E4",
    name="image_reconstruction",
    title="Image reconstruction",
    question="Can an image be rebuilt from an update?",
    encryption_helps=True,
    measure=find,
    later="How much noise inside the encryption hides an image in a small sum comes "
    "with the next step, differential privacy.",
)


if __name__ == "__main__":
    main(EXPERIMENT)
