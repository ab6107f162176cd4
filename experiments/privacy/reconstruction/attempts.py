"""The attacks on each view, scored against the victims' images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from experiments.privacy.images.networks import HIDDEN
from experiments.privacy.images.victims import (
    NUM_CLASSES,
    Images,
    Labels,
    Numbers,
    Pixels,
    psnrs,
    ssims,
)
from experiments.privacy.labels.attack import ShareReader, mean_answers
from experiments.privacy.reconstruction.division import best_of, quotients
from experiments.privacy.reconstruction.matching import match_gradients


@dataclass(frozen=True, eq=False)
class Attempt:
    """What an attack made of every victim's image.

    Attributes:
        pixels: Shape (victims, 1, side, side).
        psnr: Shape (victims,), in dB.
        ssim: Shape (victims,).
    """

    pixels: Pixels
    psnr: Numbers
    ssim: Numbers


def score(guesses: Numbers | Pixels, truth: Images) -> Attempt:
    """Compare guesses with the true images, one each."""
    pixels = guesses.reshape(truth.pixels.shape).astype(np.float32)
    return Attempt(pixels, psnrs(pixels, truth.pixels), ssims(pixels, truth.pixels))


def candidates(view: NDArray[np.floating], like: Images) -> Numbers:
    """Divide the first layer of the MLP; return every quotient, shape (n, pixels).

    Args:
        view: Shape (dim,): an update or a sum.
        like: Images as large as the ones that the network takes.
    """
    return quotients(view, pixels=like.flat.shape[1], units=HIDDEN)


def by_division(views: Iterable[NDArray[np.floating]], truth: Images) -> Attempt:
    """Divide the first layer of the MLP, in one update or sum a victim.

    Of all quotients the one nearest to the true image is kept: an upper bound of what
    the attacker has.
    """
    found = [
        best_of(candidates(view, truth), true)[0]
        for view, true in zip(views, truth.pixels, strict=True)
    ]
    return score(np.stack(found), truth)


class Matcher:
    """Attacks a LeNet by matching gradients.

    Args:
        network: At the global parameters.
        public: Images to prepare the reading of labels with.
        restarts: For single images; sums have one start only.
        evaluations: Of every descent.
        seed: Of the noise that descents start from.
    """

    def __init__(
        self,
        network: nn.Module,
        public: Images,
        *,
        restarts: int,
        evaluations: int,
        seed: int,
    ) -> None:
        self.network = network
        self._reader = ShareReader(mean_answers(network, public))
        self._restarts = restarts
        self._evaluations = evaluations
        self._seed = seed

    def labels(self, gradient: Numbers, count: int) -> Labels:
        """Read the labels of so many images, in no particular order."""
        counts = self._reader.counts(gradient[-NUM_CLASSES:], count)
        return np.repeat(np.arange(NUM_CLASSES), counts)

    def attack(
        self, views: Sequence[Numbers], truth: Images, *, count: int = 1
    ) -> Attempt:
        """Rebuild the images of one mean gradient a victim.

        Args:
            views: Mean gradients.
            truth: The victims' images. Of several images in a view the nearest one is
                scored: which of them is the victim's nobody knows.
            count: Images in each view; known, one a client.
        """
        rebuilt = match_gradients(
            self.network,
            np.stack(views),
            [self.labels(one, count) for one in views],
            side=truth.side,
            restarts=self._restarts if count == 1 else 1,
            evaluations=self._evaluations,
            seed=self._seed,
        )
        found = [
            best_of(made, true)[0]
            for made, true in zip(rebuilt.pixels, truth.pixels, strict=True)
        ]
        return score(np.stack(found), truth)
