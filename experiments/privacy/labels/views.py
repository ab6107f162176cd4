"""What each view shows of the labels: one client's update, or the sum of many."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from experiments.privacy.images.gradients import updates
from experiments.privacy.images.networks import accuracy, fresh, trained
from experiments.privacy.images.victims import Images, Labels, Numbers
from experiments.privacy.labels.attack import (
    ShareReader,
    bias_gradient,
    histogram,
    mean_answers,
    overlap,
    overlaps,
    rounded,
)
from experiments.privacy.labels.clients import (
    drawn_guess,
    prior_guess,
    with_labels_permuted,
)
from experiments.privacy.sealed_round import Vector, quantised_total, seal_round

LEARNING_RATE: Final = 0.1
UNTRAINED: Final = "untrained"

_LOCAL_EPOCHS: Final = 5
_LOCAL_BATCH: Final = 8
_SMOOTHING: Final = 0.1
_POINTS: Final = 5  # on the way from the global parameters to a client's
_FEW: Final = 300  # public images tried at every such point


@dataclass(frozen=True)
class Model:
    """A network at some point of its training.

    Attributes:
        name: For people.
        network: At the global parameters.
        public: Images that the attacker tries it on.
        accuracy: On the public images.
        reader: What the attacker prepared for it.
    """

    name: str
    network: nn.Module
    public: Images
    accuracy: float
    reader: ShareReader

    def updates(self, clients: Sequence[Images], **training: Any) -> Vector:
        """Return what clients send, shape (clients, dim); one step if nothing is said.

        Args:
            clients: With equally many images.
            training: Epochs, batch size and label smoothing.
        """
        return updates(self.network, clients, learning_rate=LEARNING_RATE, **training)

    def read(self, update: NDArray[np.floating], batch: int) -> Labels:
        """Attack: return the labels, as counts, that an update was made with."""
        gradient = bias_gradient(update, scale=LEARNING_RATE)
        return self.reader.counts(gradient, batch)

    def shares(self, update: NDArray[np.floating]) -> Numbers:
        """Attack without the size of the batch: return the shares of the classes."""
        return self.reader.shares(bias_gradient(update, scale=LEARNING_RATE))

    def read_smoothed(self, update: Vector, batch: int, smoothing: float) -> Labels:
        """Attack one step on labels that are smoothed, by an amount known."""
        reader = ShareReader(
            mean_answers(self.network, self.public), smoothing=smoothing
        )
        return reader.counts(bias_gradient(update, scale=LEARNING_RATE), batch)

    def read_steps(self, update: Vector, batch: int, steps: int) -> Labels:
        """Attack several local steps, a number known.

        The answers change under way, so they are taken at some points of the straight
        line from the global parameters to the client's own.
        """
        start = parameters_to_vector(self.network.parameters()).detach()
        network = deepcopy(self.network)
        seen = []
        for part in np.linspace(0, 1, _POINTS):
            point = start + float(part) * torch.from_numpy(update)
            vector_to_parameters(point, network.parameters())
            seen.append(mean_answers(network, self.public))
        reader = ShareReader(np.mean(seen, axis=0))
        return reader.counts(bias_gradient(update, scale=LEARNING_RATE * steps), batch)


def stages(
    name: str,
    make: Callable[[], nn.Module],
    public: Images,
    training: Images,
    *,
    seed: int,
    seen: int,
) -> list[Model]:
    """Return a network with its first parameters, and trained for a while.

    Args:
        name: For people.
        make: Makes it.
        public: What the attacker has.
        training: Images to train on, none of a victim.
        seed: Of first parameters and order.
        seen: How many images to train on, with repetition.
    """
    models = []
    for stage in (UNTRAINED, "trained"):
        network = fresh(make, seed=seed)
        if stage != UNTRAINED:
            trained(network, training, seen=seen, seed=seed)
        reader = ShareReader(mean_answers(network, public))
        right = accuracy(network, public)
        few = public.take(slice(0, _FEW))
        models.append(Model(f"{name} {stage}", network, few, right, reader))
    return models


def truths(clients: Sequence[Images]) -> list[Labels]:
    """Return every client's own labels, as counts."""
    return [histogram(one.labels) for one in clients]


def plain_overlaps(model: Model, clients: Sequence[Images]) -> Numbers:
    """Attack every client's own update; return the share of labels got right.

    Args:
        model: That they train.
        clients: With equally many images, a number that the attacker knows.
    """
    batch = len(clients[0])
    guesses = [model.read(one, batch) for one in model.updates(clients)]
    return overlaps(guesses, truths(clients))


def harder_overlaps(model: Model, clients: Sequence[Images]) -> dict[str, Numbers]:
    """Attack plain updates that are not of one step, or not of known size.

    Returns:
        By name of the case: the share of labels got right of every client.
    """
    batch, own = len(clients[0]), truths(clients)
    stepped = model.updates(clients, epochs=_LOCAL_EPOCHS, batch_size=_LOCAL_BATCH)
    steps = _LOCAL_EPOCHS * -(-batch // _LOCAL_BATCH)
    smooth = model.updates(clients, label_smoothing=_SMOOTHING)
    guesses: dict[str, list[NDArray[Any]]] = {
        f"{steps} local steps": [
            model.read_steps(one, batch, steps) for one in stepped
        ],
        "labels smoothed": [
            model.read_smoothed(one, batch, _SMOOTHING) for one in smooth
        ],
        "B unknown": [model.shares(one) for one in model.updates(clients)],
    }
    return {name: overlaps(guessed, own) for name, guessed in guesses.items()}


def permuted_overlaps(
    model: Model, clients: Sequence[Images], generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Attack clients that train on labels drawn at random.

    Returns:
        The share of the true labels that is read, and the same for guesses drawn from
        all classes: alike if nothing but the labels of the training is read.
    """
    others = with_labels_permuted(clients, generator)
    batch, own = len(clients[0]), truths(clients)
    read = [model.read(update, batch) for update in model.updates(others)]
    drawn = [drawn_guess(batch, generator) for _ in clients]
    return overlaps(read, own), overlaps(drawn, own)


def chance_overlaps(
    clients: Sequence[Images], generator: np.random.Generator
) -> Numbers:
    """Guess without any message; return the share of labels got right."""
    guesses = [prior_guess(len(one), generator) for one in clients]
    return overlaps(guesses, truths(clients))


@dataclass(frozen=True)
class SumView:
    """What the opened sum of one group tells; each number is a share of labels.

    Attributes:
        own: Right about a client's own labels, mean over the clients of the group.
        mix: The same for an attacker who knows the group's true mix of labels.
        group: Right about the labels of the whole group.
    """

    own: float
    mix: float
    group: float


def view_sum(model: Model, clients: Sequence[Images], sent: Vector) -> SumView:
    """Attack the opened sum of a group, with every client as the target in turn.

    Args:
        model: Whose update it is.
        clients: Of the group, equally large.
        sent: Their updates.
    """
    mean = quantised_total(list(sent)) / len(sent)
    own = truths(clients)
    return score_sum(model.shares(mean), own)


def score_sum(shares: Numbers, own: Sequence[Labels]) -> SumView:
    """Score shares read from a sum against the group and each of its clients."""
    together, batch = np.sum(own, axis=0), int(own[0].sum())
    guess, mix = rounded(shares, batch), rounded(together / together.sum(), batch)
    return SumView(
        own=float(overlaps([guess] * len(own), own).mean()),
        mix=float(overlaps([mix] * len(own), own).mean()),
        group=overlap(shares, together),
    )


@dataclass(frozen=True)
class SealedView:
    """One round through the real mods, wrapper and committee.

    Attributes:
        opened: What the opened sum tells.
        colluded: Right about the labels of the clients whose upload was opened, one
            number a client.
        same: Whether collusion reads the same labels as a server without encryption.
    """

    opened: SumView
    colluded: Numbers
    same: Sequence[bool]


def view_sealed(model: Model, clients: Sequence[Images], targets: int) -> SealedView:
    """Seal a round; attack its sum, and the uploads of the first `targets` clients."""
    sent = model.updates(clients)
    sealed = seal_round(list(sent))
    own, batch = truths(clients), len(clients[0])
    plain = [model.read(update, batch) for update in sent[:targets]]
    opened = [model.read(sealed.collude(i), batch) for i in range(targets)]
    return SealedView(
        opened=score_sum(model.shares(sealed.mean), own),
        colluded=overlaps(opened, own[:targets]),
        same=[np.array_equal(a, b) for a, b in zip(opened, plain, strict=True)],
    )
