"""Which labels an update was made with, read from the bias of its last layer.

With cross-entropy and softmax, the gradient of output `c`'s bias is the mean of
`p_c - y_c` over the batch: for one image only the true class is negative (Zhao et al.
2020, "iDLG", arXiv:2001.02610), and for many the difference to the mean answer is the
share of the class (the idea of Wainakh et al. 2022, "LLG", arXiv:2105.09369).
"""
# ruff: noqa: PLC0415 - scikit-learn takes a second to import

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from experiments.privacy.images.victims import NUM_CLASSES, Images, Labels, Numbers

_WHOLE_WEIGHT = 10.0  # of "the shares add up to 1", against ten equations of size 1


def bias_gradient(update: NDArray[np.floating], *, scale: float) -> Numbers:
    """Return the gradient of the output's biases, shape (10,).

    Args:
        update: Shape (dim,): one client's, or the mean of several. The biases of the
            output are the last parameters of the networks attacked here.
        scale: Learning rate times the number of local steps; both are public.
    """
    return -np.asarray(update[-NUM_CLASSES:], dtype=np.float64) / scale


def label_of_one(gradient: Numbers) -> int:
    """Return the label of a batch of one image: the most negative bias gradient."""
    return int(gradient.argmin())


class ShareReader:
    """Reads the shares of the classes in a batch of any size.

    What the network answers to an image depends on its class, the more the longer it
    has been trained. So the shares `s` solve `gradient = answers.T @ s - s` with the
    mean answers to public images of every class, in least squares, none of them
    negative, all of them together 1.

    Args:
        answers: Shape (10, 10): the mean answer to every class (`mean_answers`).
        smoothing: Share of every label that training spreads over all classes.
    """

    def __init__(self, answers: Numbers, *, smoothing: float = 0.0) -> None:
        equations = answers.T - (1 - smoothing) * np.eye(NUM_CLASSES)
        self._smoothed = smoothing / NUM_CLASSES
        self._whole = _WHOLE_WEIGHT * float(np.abs(equations).max())
        self._equations = np.vstack([equations, np.full(NUM_CLASSES, self._whole)])

    def shares(self, gradient: Numbers) -> Numbers:
        """Return the share of every class, shape (10,), not negative, sum 1."""
        from sklearn.linear_model import LinearRegression

        fit = LinearRegression(fit_intercept=False, positive=True)
        fit.fit(self._equations, np.append(gradient + self._smoothed, self._whole))
        shares = np.asarray(fit.coef_, dtype=np.float64)
        whole = shares.sum()
        return shares / whole if whole > 0 else np.full(NUM_CLASSES, 1 / NUM_CLASSES)

    def counts(self, gradient: Numbers, batch: int) -> Labels:
        """Return how many labels of every class were in a batch of known size."""
        if batch == 1:
            return histogram(np.array([label_of_one(gradient)]))
        return rounded(self.shares(gradient), batch)


def mean_answers(network: nn.Module, public: Images) -> Numbers:
    """Return what a network answers to every class on average, shape (10, 10).

    Args:
        network: Any of the networks attacked.
        public: Images that no client holds, of all classes.
    """
    with torch.inference_mode():
        logits = network(torch.from_numpy(public.pixels))
        chances = torch.softmax(logits, dim=1).numpy().astype(np.float64)
    return np.stack(
        [chances[public.labels == c].mean(axis=0) for c in range(NUM_CLASSES)]
    )


def rounded(shares: Numbers, batch: int) -> Labels:
    """Round shares to whole labels by the largest remainders.

    Args:
        shares: Shape (10,), sum 1.
        batch: Number of labels.

    Returns:
        Shape (10,), sum `batch`.
    """
    exact = shares * batch
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: batch - counts.sum()]] += 1
    return counts


def histogram(labels: Labels) -> Labels:
    """Return how many labels of every class there are, shape (10,)."""
    return np.bincount(labels, minlength=NUM_CLASSES)


def overlap(guess: NDArray[np.number], truth: NDArray[np.number]) -> float:
    """Return the share of labels that a guess has right, with multiplicity.

    Args:
        guess: Counts or shares of the classes, shape (10,).
        truth: The true ones; both are taken relative to their sums.
    """
    return float(np.minimum(guess / guess.sum(), truth / truth.sum()).sum())


def overlaps(
    guesses: Sequence[NDArray[np.number]], truths: Sequence[NDArray[np.number]]
) -> Numbers:
    """Return the overlap of every pair."""
    pairs = zip(guesses, truths, strict=True)
    return np.array([overlap(guess, truth) for guess, truth in pairs])
