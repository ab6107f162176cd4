"""Traps in a first layer, and how the images are read out of a sum of updates.

Every unit of the trap fires for images above one brightness. What two neighbours were
taught differs by the images between their brightnesses; where that is one image, the
difference of their weights over that of their biases is the image itself, whoever sent
it and however many updates were added up. Fowl et al. 2022, "Robbing the Fed"
(arXiv:2110.13057).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from experiments.privacy.images.victims import NUM_CLASSES, Images, psnrs
from experiments.privacy.imprint.network import AllowedNetwork, ImprintedNetwork

if TYPE_CHECKING:
    from experiments.privacy.sealed_round import Vector

GOOD_DB: Final = 30.0
# Coarse images are often equally bright; measured a little askew they seldom are.
_TILT: Final = 0.05
_BELOW_ALL: Final = -1.0
_GAIN: Final = 5.0
# All units together move a logit by less than this: the answers must stay undecided,
# or images that are already right teach nothing.
_WHISPER: Final = 0.05
_DEAD: Final = -30.0  # a bias that no image of this size makes up for
_FLOOR_STEPS: Final = 10.0  # of the sum; a smaller difference is rounding

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trap:
    """Where the bins of a trap lie.

    Attributes:
        direction: Shape (pixels,): how brightness is measured.
        cuts: Shape (bins,), rising: where every unit begins to fire.
    """

    direction: NDArray[np.float32]
    cuts: NDArray[np.float32]

    @classmethod
    def on(cls, public: Images, bins: int, *, seed: int) -> Trap:
        """Cut brightness into bins that hold equally many public images."""
        pixels = public.flat.shape[1]
        generator = np.random.default_rng([seed, 5])
        tilted = 1 + _TILT * generator.standard_normal(pixels)
        direction = (tilted / pixels).astype(np.float32)
        cuts = np.quantile(public.flat @ direction, np.arange(bins) / bins)
        cuts[0] = _BELOW_ALL
        return cls(direction, cuts.astype(np.float32))

    def set(self, network: nn.Module) -> None:
        """Write the trap into a network: into its own layer, or into the allowed one's.

        Args:
            network: The imprinted network, or the allowed one with as many hidden units
                as there are bins.
        """
        if isinstance(network, ImprintedNetwork):
            self._write(network.bins, network.bypass)
        elif isinstance(network, AllowedNetwork):
            self._write(network.hidden, network.output)

    def _write(self, first: nn.Linear, second: nn.Linear) -> None:
        scale = _WHISPER / (_GAIN * len(self.cuts))
        # The same for every unit, and far from zero for every class: what an image
        # teaches each unit that it fires is then alike, and never nothing.
        signs = torch.tensor([1.0, -1.0]).repeat(NUM_CLASSES // 2)
        with torch.no_grad():
            first.weight.copy_(torch.from_numpy(self.direction) * scale)
            first.bias.copy_(torch.from_numpy(-self.cuts) * scale)
            second.weight.copy_((_GAIN * signs).unsqueeze(1))
            if second.bias is not None:
                second.bias.zero_()


def silence(network: AllowedNetwork) -> None:
    """Let no hidden unit ever fire, so that the layer learns nothing.

    Pasquini et al. 2022, "Eluding secure aggregation" (arXiv:2111.07380): the sum of
    the updates is then that of the clients that were sent another model.
    """
    with torch.no_grad():
        network.hidden.bias.fill_(_DEAD)


def first_layer(total: Vector | Rows, *, units: int, pixels: int) -> tuple[Rows, Rows]:
    """Return what an update changed in the first layer: weights and biases.

    Args:
        total: Shape (dim,): an update, or a sum of them.
        units: Of the layer.
        pixels: Of an image.
    """
    numbers = np.asarray(total, dtype=np.float64)
    end = units * pixels
    return numbers[:end].reshape(units, pixels), numbers[end : end + units]


def read_trap(weights: Rows, biases: Rows, *, step: float) -> Rows:
    """Return what lies in the bins, one image each if there is one.

    Args:
        weights: Shape (bins, pixels): change of the trap's weights.
        biases: Shape (bins,): and of its biases.
        step: Of the numbers.

    Returns:
        Shape (found, pixels), in [0, 1].
    """
    return read_rows(
        -np.diff(weights, axis=0, append=0.0), -np.diff(biases, append=0.0), step=step
    )


def read_rows(weights: Rows, biases: Rows, *, step: float) -> Rows:
    """Return weights over biases, where there is more than rounding.

    A unit that fired for one image only has learnt that image times a number, and its
    bias that number: any first layer with biases is read like this.
    """
    there = np.abs(biases) > _FLOOR_STEPS * step
    return np.clip(weights[there] / biases[there, None], 0, 1)


def qualities(found: Rows, truth: Images) -> Rows:
    """Return the PSNR of every true image to the nearest one that was found.

    Args:
        found: Shape (found, pixels).
        truth: The images that clients trained on.

    Returns:
        Shape (images,), in dB.
    """
    candidates = np.concatenate([found, np.zeros((1, found.shape[1]))])
    norms = np.square(candidates).sum(axis=1)
    products = truth.flat @ candidates.T.astype(np.float32)
    nearest = np.argmin(norms - 2 * products, axis=1)
    return psnrs(candidates[nearest], truth.pixels)


def expected_share(bins: int, images: int) -> float:
    """Return the chance that an image is alone in its bin, all bins alike."""
    return float((1 - 1 / bins) ** (images - 1))
