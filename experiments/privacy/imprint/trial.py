"""Sweeps of a cheating server: which share of the images a sum of updates gives away.

The sums are those the committee would open (`quantised_total`); `platform` shows the
same on real rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.images.victims import nearest_guess, psnrs
from experiments.privacy.imprint.attack import (
    GOOD_DB,
    Rows,
    Trap,
    first_layer,
    qualities,
    read_rows,
    read_trap,
    silence,
)
from experiments.privacy.imprint.network import (
    HIDDEN,
    AllowedNetwork,
    seeded,
    updates_of,
)
from experiments.privacy.sealed_round import make_params, quantised_total

if TYPE_CHECKING:
    from torch import nn

    from experiments.privacy.images.victims import Images, ImageSet
    from experiments.privacy.sealed_round import Vector


class Setting(NamedTuple):
    """A round: how many clients, and how many images each trains on."""

    clients: int
    own: int

    @property
    def images(self) -> int:
        """Of all clients."""
        return self.clients * self.own

    def __str__(self) -> str:
        """Return it as the tables name it."""
        return f"{self.clients} x {self.own}"


@dataclass(frozen=True, eq=False)
class Scene:
    """Where a server cheats.

    Attributes:
        images: Of the clients, and public ones.
        seed: Of victims, networks and traps.
    """

    images: ImageSet
    seed: int

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.images.side**2

    def victims(self, trial: int, setting: Setting) -> Sequence[Images]:
        """Return every client's images; those of smaller settings come first."""
        seed = self.seed + trial
        return list(self.images.clients(setting.clients, setting.own, seed=seed))

    def allowed(self, trial: int) -> AllowedNetwork:
        """Return the network that clients agreed to, with honest parameters."""
        network = seeded(self.pixels, seed=self.seed + trial)
        if not isinstance(network, AllowedNetwork):
            raise TypeError
        return network

    def trapped(self, trial: int) -> AllowedNetwork:
        """Return the same network with a trap for parameters."""
        network = self.allowed(trial)
        self.trap(HIDDEN).set(network)
        return network

    def silent(self, trial: int) -> AllowedNetwork:
        """Return the same network with a layer that learns nothing."""
        network = self.allowed(trial)
        silence(network)
        return network

    def imprinted(self, trial: int, bins: int) -> nn.Module:
        """Return a network with a layer that nobody agreed to."""
        network = seeded(self.pixels, bins=bins, seed=self.seed + trial)
        self.trap(bins).set(network)
        return network

    @lru_cache(maxsize=8)  # noqa: B019 - one scene a process
    def trap(self, bins: int) -> Trap:
        """Return the trap of this many bins, made from public images."""
        return Trap.on(self.images.public, bins, seed=self.seed)

    def read(self, total: Vector | Rows, units: int) -> Rows:
        """Return the images that a sum of updates shows of a trap."""
        layer = first_layer(total, units=units, pixels=self.pixels)
        return read_trap(*layer, step=1 / make_params(2).scale)

    def imprint(self, trial: int, bins: int, setting: Setting) -> tuple[float, float]:
        """Send the imprinted network to everybody.

        Returns:
            The share of the images that the server gets, and the share of others that
            nobody trained on: what reading them in would be.
        """
        clients = self.victims(trial, setting)
        total = summed(updates_of(self.imprinted(trial, bins), clients))
        found = self.read(total, bins)
        strangers = self.images.victims(
            setting.own, seed=self.seed + trial, first=setting.images
        )
        return share(found, clients), share(found, [strangers])

    def trap_weights(self, trial: int, setting: Setting) -> tuple[float, float]:
        """Send the allowed network with a trap to everybody.

        Returns:
            The share of all images, and of the first client's.
        """
        clients = self.victims(trial, setting)
        total = summed(updates_of(self.trapped(trial), clients))
        found = self.read(total, HIDDEN)
        return share(found, clients), share(found, clients[:1])

    def honest_weights(self, trial: int, setting: Setting) -> float:
        """Send the allowed network as it should be; return the share of all images."""
        clients = self.victims(trial, setting)
        total = summed(updates_of(self.allowed(trial), clients))
        layer = first_layer(total, units=HIDDEN, pixels=self.pixels)
        return share(read_rows(*layer, step=1 / make_params(2).scale), clients)

    def different_models(
        self, trial: int, setting: Setting
    ) -> tuple[float, float, float]:
        """Send a trap to the first client, and dead layers to all others.

        Returns:
            The share of the first client's images; how well its first layer's update
            is known, in dB, from the sum and from the sum of equal models.
        """
        clients = self.victims(trial, setting)
        target, trapped = clients[:1], self.trapped(trial)
        alone = updates_of(trapped, target)
        silent = updates_of(self.silent(trial), clients[1:])
        total = summed([*alone, *silent])
        equal = summed(updates_of(trapped, clients)) / setting.clients
        return (
            share(self.read(total, HIDDEN), target),
            self.likeness(total, alone[0]),
            self.likeness(equal, alone[0]),
        )

    def likeness(self, guess: Rows, update: Vector) -> float:
        """Return how well a first layer's update is known: its size over the error's.

        In dB; 0 for a guess that is as far away as no guess.
        """
        end = HIDDEN * (self.pixels + 1)
        error = np.linalg.norm(guess[:end] - update[:end])
        return float(20 * np.log10(np.linalg.norm(update[:end]) / error))

    def nearest(self, trial: int, count: int) -> NDArray[np.bool_]:
        """Tell for which images the nearest public one would do: the null."""
        truth = self.images.victims(count, seed=self.seed + trial)
        near = nearest_guess(truth, self.images.public)
        return np.asarray(psnrs(near, truth.pixels) > GOOD_DB)


def share(found: Rows, clients: Sequence[Images]) -> float:
    """Return the share of the clients' images that were found, above 30 dB."""
    good = [qualities(found, images) > GOOD_DB for images in clients]
    return float(np.mean(good))


def summed(updates: Sequence[Vector]) -> Rows:
    """Return the sum the server gets; one client's update comes as it is."""
    if len(updates) == 1:
        return updates[0].astype(np.float64)
    return quantised_total(updates)
