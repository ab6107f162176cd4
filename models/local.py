"""How a client trains in a round: the task's numbers or the run's; no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.tasks.task import Task

OptimizerName = Literal["sgd", "adam"]
_NOTHING: Mapping[str, bool | float | int | str] = MappingProxyType({})
OPTIMIZERS: tuple[OptimizerName, ...] = ("sgd", "adam")


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """The settings of one round of local training.

    Attributes:
        epochs: Passes over the shard, at least 1.
        batch_size: Examples in one step, at least 1; the last batch of an epoch may
            be smaller.
        learning_rate: Step size, above 0.
        optimizer: Made anew for every round, so it keeps no state between two.
        momentum: Of ``sgd``; ``adam`` ignores it.
        proximal_mu: Weight of the term ``mu / 2 * |w - w_global|**2`` that FedProx
            adds to the loss (Li et al. 2020, "Federated Optimization in
            Heterogeneous Networks", objective 2); 0 for none.
        max_grad_norm: Bound on the Euclidean norm of one step's gradient; 0 for
            none.
        mixed_precision: Whether a GPU computes in bfloat16 where that is safe; a
            CPU ignores it.

    Raises:
        TaskError: If a number is out of its range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.0
    proximal_mu: float = 0.0
    max_grad_norm: float = 0.0
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        _at_least_one("number of local epochs", self.epochs)
        _at_least_one("batch size", self.batch_size)
        if not 0 < self.learning_rate < math.inf:
            raise TaskError(
                "the learning rate must be above 0 and finite, got "
                f"{self.learning_rate}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise TaskError(
                f"unknown optimizer {self.optimizer!r}",
                hint=f"the optimizers are {', '.join(OPTIMIZERS)}",
            )
        for name in ("momentum", "proximal_mu", "max_grad_norm"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                option = name.replace("_", "-")
                raise TaskError(f"{option} must be 0 or more, got {value}")

    @classmethod
    def of(
        cls, task: Task, run: Mapping[str, bool | float | int | str] = _NOTHING
    ) -> LocalTraining:
        """Read a run's configuration; 0, empty and missing leave it to the task.

        Args:
            task: Has the defaults.
            run: Names as in ``[tool.flwr.app.config]`` of ``pyproject.toml``.

        Raises:
            TaskError: If a number is out of its range.
        """
        optimizer = str(run.get("optimizer", "")) or task.optimizer
        max_grad_norm = float(run.get("max-grad-norm", 0)) or task.max_grad_norm
        return cls(
            epochs=int(run.get("local-epochs", 0)) or task.local_epochs,
            batch_size=int(run.get("batch-size", 0)) or task.batch_size,
            learning_rate=float(run.get("learning-rate", 0)) or task.learning_rate,
            optimizer=cast("OptimizerName", optimizer),
            momentum=task.momentum,
            proximal_mu=float(run.get("proximal-mu", 0)),
            max_grad_norm=max_grad_norm,
            mixed_precision=bool(run.get("mixed-precision", False)),
        )


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise TaskError(f"the {name} must be at least 1, got {value}")
