"""What E3 measured, as numbers with their nulls, controls and a conclusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from experiments.privacy.experiment import Outcome
from experiments.privacy.images.victims import Numbers
from experiments.privacy.labels.plot import Curves, draw
from experiments.privacy.labels.views import (
    LEARNING_RATE,
    UNTRAINED,
    Model,
    SealedView,
    SumView,
)
from experiments.privacy.numbers import Control, Measure, measure

_METRIC: Final = "share"
_ERRORS: Final = 4.0  # standard errors that a null may be off: one run in 16,000


@dataclass
class Findings:
    """Shares of labels got right; each array has one number a client or group.

    Attributes:
        models: The networks attacked: two, untrained and trained.
        group_batch: Images of a client in a group.
        sealed_clients: In a really sealed round.
        plain: By model and number of images.
        chance: By number of images: a guess without any message.
        harder: By name: attack on a plain update and guess.
        permuted: Clients with random labels: read, and drawn from all classes.
        sums: By model and number of clients: the opened sums.
        alike: By number of clients, all of them with the same classes.
        guessed: By number of clients: a guess without any message.
        sealed: Really sealed rounds.
    """

    models: Sequence[Model]
    group_batch: int
    sealed_clients: int
    plain: dict[tuple[str, int], Numbers] = field(default_factory=dict)
    chance: dict[int, Numbers] = field(default_factory=dict)
    harder: dict[str, tuple[Numbers, Numbers]] = field(default_factory=dict)
    permuted: tuple[Numbers, Numbers] = (np.zeros(0), np.zeros(0))
    sums: dict[tuple[str, int], list[SumView]] = field(default_factory=dict)
    alike: dict[int, list[SumView]] = field(default_factory=dict)
    guessed: dict[int, Numbers] = field(default_factory=dict)
    sealed: list[SealedView] = field(default_factory=list)

    @property
    def first(self) -> str:
        """Name of the model of the headline: the LeNet with its first parameters."""
        return self.models[0].name

    @property
    def late(self) -> str:
        """Name of the same network after training."""
        return self.models[1].name

    @property
    def clients(self) -> list[int]:
        """Sizes of the groups."""
        return list(self.alike)


def outcome(findings: Findings, setup: Mapping[str, Any], *, seed: int) -> Outcome:
    """Summarise."""
    plain = [
        measure(
            f"{name}, B = {size}",
            found,
            view="plain",
            metric=_METRIC,
            null=findings.chance[size],
            seed=seed,
        )
        for (name, size), found in findings.plain.items()
    ]
    harder = [
        measure(name, found, view="plain", metric=_METRIC, null=null, seed=seed)
        for name, (found, null) in findings.harder.items()
    ]
    curves = _curves(findings, seed)
    return Outcome(
        measures=[*plain, *harder, *_sums(findings, seed), *_sealed(findings, seed)],
        controls=_controls(findings),
        conclusion=_conclusion(findings, curves),
        setup={
            "learning_rate": LEARNING_RATE,
            "accuracy": {one.name: one.accuracy for one in findings.models},
            **setup,
        },
        plot=lambda: draw(curves),
        series=_series(findings, curves, seed),
    )


def _sums(findings: Findings, seed: int) -> list[Measure]:
    few, most = findings.clients[0], findings.clients[-1]
    where = f"B = {findings.group_batch}"
    measures = []
    for (name, num), views in findings.sums.items():
        row = f"{name}, {where}, n = {num}"
        # The rest of the trained network's is in the plot's numbers.
        if name == findings.first or num in (few, most):
            measures.append(_own(row, views, seed, "encrypted"))
        if num == most:
            measures.append(_own(row, views, seed, "key holder"))
            measures.append(_group(f"{row}: of all labels", views, seed))
    for num in (few, most):
        row = f"{findings.first}, {where}, n = {num}, clients alike"
        measures.append(_own(row, findings.alike[num], seed, "encrypted"))
    return measures


def _own(name: str, views: Sequence[SumView], seed: int, view: str) -> Measure:
    return measure(
        name,
        [one.own for one in views],
        view=view,
        metric=_METRIC,
        null=[one.mix for one in views],
        seed=seed,
        note="the null knows the true mix of the group's labels",
    )


def _group(name: str, views: Sequence[SumView], seed: int) -> Measure:
    return measure(
        name,
        [one.group for one in views],
        view="encrypted",
        metric=_METRIC,
        seed=seed,
        note="the histogram of all labels together, which the sum is meant to tell",
    )


def _sealed(findings: Findings, seed: int) -> list[Measure]:
    num, batch = findings.sealed_clients, findings.group_batch
    where = f"{findings.first}, B = {batch}, n = {num}, sealed"
    opened = [one.opened for one in findings.sealed]
    return [
        _own(where, opened, seed, "encrypted"),
        _colluded(findings, seed),
    ]


def _colluded(findings: Findings, seed: int) -> Measure:
    num, batch = findings.sealed_clients, findings.group_batch
    return measure(
        f"{findings.first}, B = {batch}, n = {num}, sealed",
        np.concatenate([one.colluded for one in findings.sealed]),
        view="collusion",
        metric=_METRIC,
        null=findings.chance[batch],
        seed=seed,
    )


def _controls(findings: Findings) -> list[Control]:
    untrained = [one.name for one in findings.models if one.name.endswith(UNTRAINED)]
    single = [findings.plain[name, 1].mean() for name in untrained]
    several = [
        found.mean()
        for (name, size), found in findings.plain.items()
        if name in untrained and size > 1
    ]
    same = [one for view in findings.sealed for one in view.same]
    largest = findings.sums[findings.first, max(findings.clients)]
    read, drawn = findings.permuted
    apart = read - drawn
    margin = _ERRORS * float(apart.std() / np.sqrt(apart.size))
    gained = float(np.mean([one.own - one.mix for one in largest]))
    return [
        Control("one image, untrained: its label", True, float(min(single)), low=1),
        Control(
            "2 and more images, untrained: labels, worst case",
            True,
            float(min(several)),
            low=0.97,  # the pilot's lowest
        ),
        Control(
            "collusion reads the same labels as a plain server",
            True,
            float(np.mean(same)),
            low=1,
        ),
        Control(
            f"sum of {max(findings.clients)}: the labels of the whole group",
            True,
            float(np.mean([one.group for one in largest])),
            low=0.95,
        ),
        Control(
            "client with random labels: its true ones, above chance",
            False,
            float(apart.mean()),
            low=-margin,
            high=margin,
        ),
        Control(
            f"sum of {max(findings.clients)}: one client's labels, above the true mix",
            False,
            gained,
            low=-0.02,
            high=0.02,
        ),
    ]


def _curves(findings: Findings, seed: int) -> Curves:
    batch = findings.group_batch

    def guess(num: int) -> Measure:
        found = findings.guessed[num]
        return measure(f"n = {num}", found, view="none", metric=_METRIC, seed=seed)

    def plain(name: str) -> Measure:
        return measure(
            f"{name}, B = {batch}",
            findings.plain[name, batch],
            view="plain",
            metric=_METRIC,
            null=findings.chance[batch],
            seed=seed,
        )

    def sums(name: str) -> list[Measure]:
        return [
            _own(f"n = {num}", findings.sums[name, num], seed, "encrypted")
            for num in findings.clients
        ]

    return Curves(
        clients=findings.clients,
        plain=plain(findings.first),
        late=plain(findings.late),
        sums=sums(findings.first),
        late_sums=sums(findings.late),
        alike=[
            _own(f"n = {num}", views, seed, "encrypted")
            for num, views in findings.alike.items()
        ],
        guessed=[guess(num) for num in findings.clients],
        colluded=_colluded(findings, seed),
        colluded_clients=findings.sealed_clients,
    )


def _conclusion(findings: Findings, curves: Curves) -> str:
    batch, most = findings.group_batch, max(findings.clients)
    last, alike, guess = curves.sums[-1], curves.alike[-1], curves.guessed[-1]
    single = findings.plain[findings.first, 1].mean()
    chance = findings.chance[1].mean()
    return (
        f"From one client's update the server reads the label of a single image in "
        f"{single:.0%} of cases (guessing gives {chance:.0%}) and "
        f"{curves.plain.value:.0%} of the labels of {batch} images "
        f"({curves.late.value:.0%} once the network is trained); the encrypted sum of "
        f"{most} clients tells how often each label occurs among all of them, and "
        f"about one client {last.value:.0%}, which is what knowing that mix gives "
        f"({last.null:.0%}; a blind guess {guess.value:.0%}). Where all clients have "
        f"the same few classes, the mix alone gives {alike.value:.0%} away, encrypted "
        f"or not."
    )


def _series(findings: Findings, curves: Curves, seed: int) -> dict[str, Any]:
    sums: dict[str, list[dict[str, Any]]] = {}
    for (name, num), views in findings.sums.items():
        one = _own(f"n = {num}", views, seed, "encrypted")
        sums.setdefault(name, []).append(one.to_dict())
    return {
        "clients": list(curves.clients),
        "plain": [curves.plain.to_dict(), curves.late.to_dict()],
        "encrypted": sums,
        "alike": [one.to_dict() for one in curves.alike],
        "guessed": [one.to_dict() for one in curves.guessed],
        "collusion": curves.colluded.to_dict(),
    }
