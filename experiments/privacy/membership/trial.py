"""One trial: the models that are attacked, their shadows, and what the attacks find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.membership import attack, training
from experiments.privacy.membership.attack import Members, Scores
from experiments.privacy.membership.training import Schedule, Trained
from experiments.privacy.numbers import auc

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.privacy.images.victims import Images, ImageSet


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is trained.

    Attributes:
        networks: Trained on random halves of the images; all but the attacked one are
            its shadows.
        targets: The first so many are attacked, trained in plain and encrypted.
        strangers: Networks trained on other images, for the negative control.
        own: Images of one client.
    """

    networks: int
    targets: int
    strangers: int
    own: int


@dataclass(frozen=True, eq=False)
class Trial:
    """All that was trained, and on what.

    Attributes:
        images: Those that are asked about, shape (images,).
        public: Images that nobody trained on.
        choice: Shape (networks, clients, own): the images of every client.
        plain: Of every network.
        encrypted: Of the targets once more: the same start and the same images, but
            averaged by encrypted rounds.
        strangers: Of networks that were trained on none of the images.
    """

    images: Images
    public: Images
    choice: NDArray[np.int64]
    plain: Trained
    encrypted: Trained
    strangers: Trained

    @property
    def targets(self) -> int:
        """Networks that are attacked."""
        return len(self.encrypted.final)

    @cached_property
    def members(self) -> Members:
        """Shape (networks, images): what every network was trained on."""
        members = np.zeros((len(self.choice), len(self.images)), dtype=np.bool_)
        np.put_along_axis(
            members, self.choice.reshape(len(self.choice), -1), values=True, axis=1
        )
        return members

    @cached_property
    def odds(self) -> Scores:
        """Shape (networks, images): log odds of the plain networks."""
        return attack.log_odds(self.plain.final, self.images)

    def ratios(self, seen: Scores) -> Scores:
        """Score targets by LiRA; the shadows never include the target's own twin.

        Args:
            seen: Shape (targets, images): log odds of the attacked models.
        """
        everybody = np.arange(len(self.odds))
        shadows = [everybody != i for i in range(len(seen))]
        return np.stack(
            [
                attack.likelihood_ratio(one, self.odds[rest], self.members[rest])
                for one, rest in zip(seen, shadows, strict=True)
            ]
        )

    def attribution(self, target: int, released: Tensor, local: Tensor) -> Scores:
        """Tell whose image it was, from a client's own model beside the released one.

        Args:
            target: Index of the attacked network.
            released: Shape (dim,).
            local: Shape (clients, dim), the first clients' own models.

        Returns:
            Shape (clients,): AUC of the client's images against the others'.
        """
        gained = attack.log_odds(local, self.images)
        gained -= attack.log_odds(released[None], self.images)
        return self.whose(target, gained)

    def whose(self, target: int, scores: Scores) -> Scores:
        """Return the AUC of each client's images against the other clients'.

        Args:
            target: Index of the attacked network.
            scores: Shape (clients, images).
        """
        clients = self.choice[target]
        rest = [np.delete(clients, i, axis=0).ravel() for i in range(len(scores))]
        return np.array(
            [
                auc(score[own], score[others])
                for score, own, others in zip(scores, clients, rest, strict=False)
            ]
        )


def train_trial(
    images: ImageSet, size: Size, schedule: Schedule, *, seed: int
) -> Trial:
    """Draw the images and train every network, three batches in all."""
    half = size.own * schedule.clients
    generator = np.random.default_rng([seed, 3])
    halves = [generator.permutation(2 * half)[:half] for _ in range(size.networks)]
    choice = np.stack(halves).reshape(size.networks, schedule.clients, size.own)
    others = [2 * half + generator.permutation(half) for _ in range(size.strangers)]
    other = np.stack(others).reshape(size.strangers, schedule.clients, size.own)
    drawn = images.victims(3 * half, seed=seed)
    start = training.initial(size.networks + size.strangers, images.side**2, seed=seed)
    own, foreign = start[: size.networks], start[size.networks :]
    targets = size.targets
    return Trial(
        images=drawn.take(slice(2 * half)),
        public=images.public,
        choice=choice,
        plain=training.federate(own, drawn, choice, schedule),
        encrypted=training.federate(
            own[:targets], drawn, choice[:targets], schedule, training.encrypted_mean
        ),
        strangers=training.federate(foreign, drawn, other, schedule),
    )


def areas(scores: Scores, members: Members) -> Scores:
    """Return the AUC of every target, shape (targets,)."""
    return np.array([auc(s[m], s[~m]) for s, m in zip(scores, members, strict=False)])


def curves(scores: Scores, members: Members, rates: Sequence[float]) -> Scores:
    """Return the ROC curve of every target, shape (targets, rates)."""
    wanted = np.asarray(rates, dtype=np.float64)
    pairs = zip(scores, members, strict=False)
    return np.stack([attack.true_positives(s, m, wanted) for s, m in pairs])
