"""Deep leakage from gradients: find images whose gradient is the one that was sent.

Zhu et al. 2019, "Deep leakage from gradients" (arXiv:1906.08935), with the labels read
first, as in Zhao et al. 2020, "iDLG" (arXiv:2001.02610). All victims and all restarts
are one batch, each with its own descent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.privacy.images.descent import minimise
from experiments.privacy.images.gradients import gradients
from experiments.privacy.images.victims import Labels

_KEPT = 60  # steps that the curvature is estimated from


@dataclass(frozen=True)
class Rebuilt:
    """What the attack made of every view it was given.

    Attributes:
        pixels: Shape (views, images, side * side), float32, not cut to [0, 1]: of the
            restart whose gradient is nearest, whatever it looks like.
        losses: Shape (views,): the squared distance of that gradient.
    """

    pixels: NDArray[np.float32]
    losses: NDArray[np.float32]


def match_gradients(
    network: nn.Module,
    targets: NDArray[np.floating],
    labels: Sequence[Labels],
    *,
    side: int,
    restarts: int,
    evaluations: int,
    seed: int,
) -> Rebuilt:
    """Rebuild the images behind mean gradients.

    Args:
        network: At the global parameters.
        targets: Shape (views, dim): a mean gradient each.
        labels: Of every view the labels of its images, all equally many.
        side: Pixels on one side of an image.
        restarts: Starts from noise of variance 1, as the paper does; the one with the
            smallest loss is kept.
        evaluations: Of the loss, in every descent.
        seed: Of the noise.
    """
    wanted = torch.from_numpy(targets.astype(np.float32)).repeat(restarts, 1)
    classes = torch.from_numpy(np.stack(labels)).repeat(restarts, 1)
    count = classes.shape[1]

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
        images = points.view(-1, count, 1, side, side).requires_grad_()
        apart = gradients(network, images, classes) - wanted
        losses = apart.square().sum(dim=1)
        (slopes,) = torch.autograd.grad(losses.sum(), images)
        return losses.detach(), slopes.flatten(start_dim=1)

    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(wanted), count * side**2, generator=generator)
    points, losses = minimise(evaluate, start, evaluations=evaluations, kept=_KEPT)
    found = points.view(restarts, len(targets), count, side**2).numpy()
    ranked = losses.view(restarts, len(targets)).nan_to_num(torch.inf).numpy()
    best, views = ranked.argmin(axis=0), np.arange(len(targets))
    return Rebuilt(found[best, views], ranked[best, views])
