"""Images by division: a fully connected first layer sends its inputs along.

For a unit of the first layer, the gradient of its weights is the gradient of its bias
times the input, so their quotient is the input itself (Geiping et al. 2020, "Inverting
gradients", arXiv:2003.14053). Where several inputs moved a unit, the quotient is a mean
of them, weighted by how much.
"""

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.images.victims import Numbers, Pixels, psnrs


def quotients(update: NDArray[np.floating], *, pixels: int, units: int) -> Numbers:
    """Return what the units of the first layer saw, one image a unit that moved.

    Args:
        update: Shape (dim,): one client's, or a sum; first the weights of the first
            layer, shape (units, pixels), then its biases.
        pixels: Inputs of the layer.
        units: Outputs of the layer.

    Returns:
        Shape (units that moved, pixels).
    """
    numbers = np.asarray(update, dtype=np.float64)
    weights = numbers[: units * pixels].reshape(units, pixels)
    biases = numbers[units * pixels : units * (pixels + 1)]
    moved = biases != 0
    return np.asarray(weights[moved] / biases[moved, np.newaxis])


def best_of(candidates: Numbers, truth: Pixels) -> tuple[Numbers, float]:
    """Return the candidate nearest to a true image, and its PSNR in dB.

    An oracle chooses, as it does for the nearest public image: what the attacker could
    have at most. Without any candidate, a black image.

    Args:
        candidates: Shape (n, pixels).
        truth: Shape (1, side, side).
    """
    if not len(candidates):
        candidates = np.zeros((1, truth.size))
    found = psnrs(candidates, np.repeat(truth[np.newaxis], len(candidates), axis=0))
    best = int(found.argmax())
    return candidates[best], float(found[best])
