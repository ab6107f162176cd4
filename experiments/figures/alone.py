"""Training without federation: all data in one place, or one client by itself."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from experiments.settings import RunSettings, find_task
from experiments.sharing import load_and_split
from models import training
from models.local import LocalTraining
from models.shards import Shard

# Averaging steadies training: at the clients' learning rate, one network on all the
# data of mnist diverges.
_CENTRAL_LEARNING_RATES = {"mnist": 0.01}


@dataclass(frozen=True)
class Curve:
    """How good a network was before training and after every round's worth of it.

    Attributes:
        accuracies: On the public test split.
        losses: In nats.
    """

    accuracies: list[float]
    losses: list[float]


def centralised(settings: RunSettings, cache: Path, console: Console) -> Curve:
    """Train the task's network on the data of all clients in one place.

    The network, its first parameters, the optimizer and the passes over the data are
    those of the federated run: what differs is that nobody averages, and for mnist the
    learning rate.
    """
    if not cache.exists():
        dataset, parts = load_and_split(settings, find_task(settings.task))
        everything = dataset.train.take(np.concatenate(parts))
        text = f"centralised {settings.task}"
        curve = train_alone(settings, everything, dataset.test, console, text)
        cache.write_text(json.dumps(vars(curve)), encoding="utf-8")
    return Curve(**json.loads(cache.read_text(encoding="utf-8")))


def train_alone(
    settings: RunSettings, shard: Shard, test: Shard, console: Console, text: str
) -> Curve:
    """Train on one shard for as many rounds as the run has, without averaging."""
    torch.set_num_threads(1)  # as in a client, and repeatable
    task = find_task(settings.task)
    rate = _CENTRAL_LEARNING_RATES.get(settings.task, 0.0)  # 0: the task's
    local = LocalTraining.of(task, {"learning-rate": rate})
    network = training.initial_network(task, seed=settings.seed)
    reports = [training.evaluate(network, test, task, device="cpu")]
    rounds = range(1, settings.rounds + 1)
    for number in track(rounds, text, console=console, transient=True):
        seed = 1000 * settings.seed + number
        training.train(network, shard, task, local, seed=seed, device="cpu")
        reports.append(training.evaluate(network, test, task, device="cpu"))
    return Curve([r.accuracy for r in reports], [r.loss for r in reports])
