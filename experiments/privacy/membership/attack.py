"""Two attacks on a released model: how sure it is, and how sure it should have been.

Both look at the log odds that a model gives the true class of an image. The loss
threshold of Yeom et al. 2018, "Privacy risk in machine learning", calls whatever has
high ones a member. LiRA, Carlini et al. 2022, "Membership inference attacks from first
principles", compares them with those of shadow models that did or did not train on the
same image; with few shadows all images share one variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.privacy.membership.training import logits

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.privacy.images.victims import Images

Scores = NDArray[np.float64]
Members = NDArray[np.bool_]

LOW_RATE: Final = 0.01  # of false alarms


def log_odds(models: Tensor, images: Images) -> Scores:
    """Return log(p / (1 - p)) of the true class, finite where p rounds to 1.

    Monotone in the loss, so that a threshold on it is one on the loss.

    Args:
        models: Shape (networks, dim).
        images: The images that are asked about.

    Returns:
        Shape (networks, images).
    """
    with torch.inference_mode():
        scores = logits(models, torch.from_numpy(images.flat)[None]).double()
        labels = torch.from_numpy(images.labels).expand(len(models), -1).unsqueeze(2)
        right = scores.gather(2, labels).squeeze(2)
        rest = scores.scatter(2, labels, -torch.inf).logsumexp(dim=2)
    return np.asarray((right - rest).numpy())


def accuracy(models: Tensor, images: Images) -> Scores:
    """Return every network's share of right answers, shape (networks,)."""
    with torch.inference_mode():
        guesses = (
            logits(models, torch.from_numpy(images.flat)[None]).argmax(dim=2).numpy()
        )
    return np.asarray((guesses == images.labels).mean(axis=1))


def likelihood_ratio(seen: Scores, shadows: Scores, members: Members) -> Scores:
    """Score every image by LiRA, from log odds.

    Args:
        seen: Shape (images,): of the attacked model, which is no shadow itself.
        shadows: Shape (shadows, images).
        members: The same shape: what every shadow was trained on.

    Returns:
        Shape (images,): log likelihood of a member minus that of a stranger.
    """
    return _log_density(seen, shadows, members) - _log_density(seen, shadows, ~members)


def _log_density(seen: Scores, shadows: Scores, chosen: Members) -> Scores:
    """Return the log density under the chosen shadows, but for a constant."""
    count = chosen.sum(axis=0)
    total = np.where(chosen, shadows, 0.0).sum(axis=0)
    # An image that all shadows, or none, were trained on gets the mean of the others.
    mean = np.where(count, total / np.maximum(count, 1), shadows[chosen].mean())
    spread = (shadows - mean)[chosen].std()
    return np.asarray(-np.square((seen - mean) / spread) / 2 - np.log(spread))


def true_positives(scores: Scores, members: Members, false_positives: Scores) -> Scores:
    """Return the share of members found at given shares of strangers: the ROC curve.

    Args:
        scores: Shape (images,), high for members.
        members: The same shape.
        false_positives: Shape (rates,): the largest shares of false alarms.

    Returns:
        Shape (rates,): at thresholds with no more false alarms than that.
    """
    strangers = np.sort(scores[~members])[::-1]
    allowed = np.floor(false_positives * len(strangers) + 1e-9).astype(int)
    thresholds = np.append(strangers, -np.inf)[allowed]
    found = np.sort(scores[members])
    above = len(found) - np.searchsorted(found, thresholds, side="right")
    return np.asarray(above / len(found))
