"""The same attacks on real rounds: 3,072-bit keys, real clients, a real committee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.imprint.attack import GOOD_DB, qualities
from experiments.privacy.imprint.network import HIDDEN, updates_of
from experiments.privacy.imprint.platform import Attempt, Server, attempt
from experiments.privacy.imprint.trial import Scene, Setting
from experiments.privacy.numbers import Control, Measure, proportion
from experiments.privacy.sealed_round import SealedRound, quantised_total, seal_round

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.privacy.images.victims import Images
    from experiments.privacy.sealed_round import Vector

_Numbers = NDArray[np.floating]
_Row = tuple[str, str, _Numbers | None, int, "Sequence[Images]"]
"""Name, view, opened sum, units of the trap, and the images that count."""

SETTING: Final = Setting(clients=4, own=8)
BINS: Final = 64


@dataclass(frozen=True, eq=False)
class Rounds:
    """What came of every attempt.

    Attributes:
        clients: The clients' images.
        updates: Of the imprinted network, in plain.
        sealed: The same round once more, with a server and members that collude.
        unlisted: The imprinted network, where policies list none.
        listed: The same where they list the allowed network.
        trapped: The allowed network with a trap, where they list it.
        split: A trap for the first client and dead layers for the others, on a
            platform without the model's digest.
        bound: The same with it, as it is.
    """

    clients: Sequence[Images]
    updates: Sequence[Vector]
    sealed: SealedRound
    unlisted: Attempt
    listed: Attempt
    trapped: Attempt
    split: Attempt
    bound: Attempt


def run_rounds(scene: Scene) -> Rounds:
    """Attempt everything once, on the victims of trial 0."""
    clients = scene.victims(0, SETTING)
    allowed, silent = scene.allowed(0), scene.silent(0)
    imprinted, trapped = scene.imprinted(0, BINS), scene.trapped(0)
    updates = updates_of(imprinted, clients)
    return Rounds(
        clients=clients,
        updates=updates,
        sealed=seal_round(updates),
        unlisted=attempt(Server(network=imprinted), clients),
        listed=attempt(Server(network=imprinted, allowed=allowed), clients),
        trapped=attempt(Server(network=trapped, allowed=allowed), clients),
        split=attempt(
            Server(network=trapped, others=silent, allowed=allowed, digests=False),
            clients,
        ),
        bound=attempt(Server(network=trapped, others=silent, allowed=allowed), clients),
    )


def measures(scene: Scene, rounds: Rounds, null: Measure) -> list[Measure]:
    """Return the shares of the images that every real round gave away."""
    clients, own = rounds.clients, rounds.clients[:1]
    first = rounds.sealed.collude(0)
    rows: list[_Row] = [
        ("imprint layer, no list", "encrypted", rounds.unlisted.total, BINS, clients),
        ("imprint layer, no list", "key holder", rounds.sealed.total, BINS, clients),
        ("imprint layer, first client", "plain", rounds.updates[0], BINS, own),
        ("imprint layer, first client", "collusion", first, BINS, own),
        ("imprint layer, list on", "encrypted", rounds.listed.total, BINS, clients),
        ("trap weights, list on", "encrypted", rounds.trapped.total, HIDDEN, clients),
        ("different models, no digest", "encrypted", rounds.split.total, HIDDEN, own),
        ("different models, digest on", "encrypted", rounds.bound.total, HIDDEN, own),
    ]
    return [_measure(scene, row, null) for row in rows]


def controls(rounds: Rounds) -> list[Control]:
    """Return what must have come of the real rounds."""
    step, num = rounds.sealed.step, SETTING.clients
    swept = quantised_total(rounds.updates)
    collusion = np.abs(rounds.sealed.collude(0) - rounds.updates[0]).max() / step
    return [
        Control(
            "the real sum differs from the swept one, in steps",
            False,
            _difference(rounds.unlisted, swept) / step,
            high=num,  # parameters are float32: a step of rounding a client, at most
        ),
        Control(
            "collusion differs from the plain update, in steps",
            False,
            float(collusion),
            high=0.51,  # half a step, and float32
        ),
        *_refusals(rounds, num),
    ]


def _refusals(rounds: Rounds, num: int) -> list[Control]:
    """Return which rounds must be opened, which not, and who must have refused."""
    policy = rounds.listed.refusals.get("PolicyError", 0)
    kinds = [
        ("an imprint layer, no list", rounds.unlisted, True),
        ("an imprint layer, list on", rounds.listed, False),
        ("trap weights, list on: it does not see them", rounds.trapped, True),
        ("different models, no digest", rounds.split, True),
        ("different models, digest on", rounds.bound, False),
    ]
    return [
        *(
            Control(
                f"rounds opened of {name}",
                opens,
                _opened(one),
                float(opens),
                float(opens),
            )
            for name, one, opens in kinds
        ),
        Control(
            f"clients of {num} that refuse the imprint layer by their policy",
            True,
            policy,
            low=num,
        ),
        Control(
            f"key holders of {num} that refuse to open different models",
            True,
            sum(rounds.bound.refusals.values()),
            low=num,
        ),
    ]


def _opened(one: Attempt) -> float:
    return float(one.total is not None)


def _difference(one: Attempt, total: _Numbers) -> float:
    if one.total is None:
        return float("nan")
    return float(np.abs(one.total - total).max())


def _measure(
    scene: Scene,
    row: _Row,
    null: Measure,
) -> Measure:
    """Score what was opened; an attacker who gets no sum is left with the null."""
    name, view, total, units, clients = row
    images = sum(map(len, clients))
    if total is None:
        note = "nothing is opened: what is left is the null, or trap weights"
        value, low, high = null.value, null.low, null.high
    else:
        note, found = "", scene.read(total, units)
        good = sum(int((qualities(found, one) > GOOD_DB).sum()) for one in clients)
        value, low, high = proportion(good, images)
    chance = (null.value, null.low, null.high)
    title = f"real round, {name}"
    return Measure(title, view, "share", value, low, high, images, *chance, note)
