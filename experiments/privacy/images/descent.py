"""L-BFGS on many small problems at once, each with its own steps.

torch's own takes one step length and one curvature for everything it is given: as one
problem, the hard images would hold up the easy ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

# Losses of shape (problems,) and their gradients, shape (problems, dim).
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

_SUFFICIENT: Final = 1e-4  # share of the predicted decrease that a step must reach
_SHORTEST: Final = 1e-6  # of a step; below, the curvature known is forgotten


@dataclass
class _History:
    """The last steps of every problem and what they did to its gradient.

    Attributes:
        steps: Shape (kept, problems, dim), newest last; zero where nothing is known.
        changes: Of the gradient, same shape.
    """

    steps: Tensor
    changes: Tensor

    def add(self, step: Tensor, change: Tensor, which: Tensor) -> None:
        """Push a step of those problems where it says something about curvature."""
        product = (step * change).sum(dim=1)
        which = which & (product > 1e-10 * change.square().sum(dim=1))
        for kept, new in ((self.steps, step), (self.changes, change)):
            kept[:-1, which] = kept[1:, which]
            kept[-1, which] = new[which]

    def forget(self, which: Tensor) -> None:
        """Start anew in those problems."""
        self.steps[:, which] = 0
        self.changes[:, which] = 0

    def direction(self, gradient: Tensor) -> Tensor:
        """Return where to go, by the two loops of Nocedal 1980."""
        products = (self.steps * self.changes).sum(dim=2, keepdim=True)
        weights = torch.where(products > 0, 1 / products, 0)
        kept = range(len(self.steps))
        shares: dict[int, Tensor] = {}
        wanted = gradient.clone()
        for i in reversed(kept):
            inner = (self.steps[i] * wanted).sum(dim=1, keepdim=True)
            shares[i] = weights[i] * inner
            wanted -= shares[i] * self.changes[i]
        wanted *= self._scale(products[-1])
        for i in kept:
            inner = (self.changes[i] * wanted).sum(dim=1, keepdim=True)
            wanted += (shares[i] - weights[i] * inner) * self.steps[i]
        return -wanted

    def _scale(self, newest: Tensor) -> Tensor:
        """Return the first guess of the inverse curvature, 1 where none is known."""
        squares = self.changes[-1].square().sum(dim=1, keepdim=True)
        return torch.where(newest > 0, newest / squares, 1)


def minimise(
    evaluate: Evaluate, start: Tensor, *, evaluations: int, kept: int
) -> tuple[Tensor, Tensor]:
    """Go downhill in every problem, by L-BFGS with backtracking.

    Args:
        evaluate: Losses and gradients of all problems at given points.
        start: Shape (problems, dim).
        evaluations: How often to evaluate.
        kept: Steps that the curvature is estimated from.

    Returns:
        The points, shape (problems, dim), and their losses, shape (problems,).
    """
    point = start.clone()
    loss, gradient = evaluate(point)
    nothing = point.new_zeros(kept, *point.shape)
    history = _History(nothing, nothing.clone())
    direction = -gradient
    length = 1 / gradient.norm(dim=1).clamp(min=1)
    for _ in range(evaluations - 1):
        step = length[:, None] * direction
        new_loss, new_gradient = evaluate(point + step)
        slope = (gradient * step).sum(dim=1)
        good = new_loss <= loss + _SUFFICIENT * slope  # never for NaN
        history.add(step, new_gradient - gradient, good)
        point = torch.where(good[:, None], point + step, point)
        gradient = torch.where(good[:, None], new_gradient, gradient)
        loss = torch.where(good, new_loss, loss)
        length = torch.where(good, 1.0, length / 2)
        stuck = length < _SHORTEST
        history.forget(stuck)
        turned = history.direction(gradient)
        direction = torch.where((good | stuck)[:, None], turned, direction)
        length = torch.where(stuck, 1 / gradient.norm(dim=1).clamp(min=1), length)
    return point, loss
