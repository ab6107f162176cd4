"""The training losses: what is minimised, and which answers count as right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.tasks.task import Loss


@dataclass(frozen=True)
class Objective:
    """How a network's output is judged against the labels of a batch.

    Attributes:
        loss: Output and labels to the mean loss of an example, a scalar.
        right: Output and labels to one value in ``[0, 1]`` for each example (or
            for each part of it): 1 for a right answer.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], Tensor]


def _next_character(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the characters of logits ``(n, length, characters)``."""
    return functional.cross_entropy(logits.flatten(end_dim=1), labels.flatten())


def _binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def _squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of the squared error of the sigmoid."""
    return functional.mse_loss(logits.sigmoid(), labels.to(logits.dtype))


def _right_against_others(logits: Tensor, _labels: Tensor) -> Tensor:
    """Mean over the blanks of logits ``(blanks, 1 + others)``, the right one first.

    The negative sampling of Mikolov et al. 2013 (arXiv:1310.4546).
    """
    right, others = logits[:, 0], logits[:, 1:]
    losses = functional.softplus(-right) + functional.softplus(others).sum(dim=1)
    return losses.mean()


def _first_is_right(logits: Tensor, _labels: Tensor) -> Tensor:
    return (logits[:, 0] > logits[:, 1:].amax(dim=1)).float()


def _largest_is_right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == labels).float()


def _sign_is_right(logits: Tensor, labels: Tensor) -> Tensor:
    return ((logits > 0).long() == labels).float()


OBJECTIVES: Mapping[Loss, Objective] = {
    "cross-entropy": Objective(functional.cross_entropy, _largest_is_right),
    "next-character": Objective(_next_character, _largest_is_right),
    "binary-cross-entropy": Objective(_binary_cross_entropy, _sign_is_right),
    "squared-error": Objective(_squared_error, _sign_is_right),
    "one-of-six": Objective(_right_against_others, _first_is_right),
}
