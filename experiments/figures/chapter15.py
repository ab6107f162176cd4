"""Chapter 15 of Trask, "Grokking Deep Learning" (2019), with real encryption.

Three clients hold 1,000 mails, 1,000 mails and the rest; their updates are averaged
with equal weights. The book's own curve is that of its notebook's outputs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from experiments.figures.alone import train_alone
from experiments.figures.runs import finished_run, settings_of
from experiments.settings import RunSettings, find_task
from experiments.sharing import load_and_split

TASK = "spam-book"
SHUFFLES = (1, 2, 3, 4, 5)
BOOK = (0.8405, 0.9225, 0.988)  # test accuracy after rounds 1 to 3


@dataclass(frozen=True)
class Chapter15:
    """Five shuffles of the mails.

    Attributes:
        federated: Test accuracy after rounds 1 to 3 of the encrypted runs, shape
            (5, 3).
        sue: The same for the client with most of the mails, training by itself.
    """

    federated: NDArray[np.float64]
    sue: NDArray[np.float64]


def chapter15(data: Path, runs: Path, console: Console) -> Chapter15:
    """Run the preset on five shuffles, and Sue by herself on the same ones."""
    federated, sue = [], []
    for seed in SHUFFLES:
        settings = settings_of(TASK, data, seed=seed)
        run = finished_run(settings, runs / f"{TASK}-{seed}", console)
        federated.append(run.accuracies[1:])
        sue.append(_sue_alone(settings, console))
    return Chapter15(np.array(federated), np.array(sue))


def _sue_alone(settings: RunSettings, console: Console) -> list[float]:
    dataset, parts = load_and_split(settings, find_task(TASK))
    shard = dataset.train.take(parts[-1])
    curve = train_alone(settings, shard, dataset.test, console, "Sue by herself")
    return curve.accuracies[1:]
