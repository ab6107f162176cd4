"""Plays every attack on every view and writes down what came out."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from experiments.privacy.images.victims import Images, Numbers, nearest_guess, psnrs
from experiments.privacy.reconstruction.attempts import (
    Matcher,
    by_division,
    candidates,
    score,
)
from experiments.privacy.reconstruction.division import best_of
from experiments.privacy.reconstruction.findings import (
    DIVIDED,
    DIVIDED_TRAINED,
    MATCHED,
    MATCHED_TRAINED,
    SINGLE,
    Findings,
)
from experiments.privacy.reconstruction.rounds import (
    Opened,
    as_gradient,
    open_sums,
    send,
    singles,
)

_LOCAL_STEPS = 5
_SEVERAL = 8  # images of a client that has several
_UNRELATED = 5  # others in a sum without the victim


def divide(
    findings: Findings,
    untrained: nn.Module,
    trained: nn.Module,
    groups: Sequence[Images],
    clients: Sequence[int],
) -> None:
    """Divide plain updates, sums, opened uploads, and sums without the victim.

    Args:
        findings: Takes the results.
        untrained: The MLP with its first parameters.
        trained: Another one after training.
        groups: A victim and the others that may be in a round with it, each.
        clients: In the sums.
    """
    truth = findings.truth
    for name, network in ((DIVIDED, untrained), (DIVIDED_TRAINED, trained)):
        sent = [send(network, singles(group)) for group in groups]
        alone = by_division([one[0] for one in sent], truth)
        findings.attempts[name, SINGLE] = alone
        for num in clients:
            is_sealed = name == DIVIDED and num == findings.sealed_clients
            sealed = findings.sealed if is_sealed else 0
            opened = open_sums([one[:num] for one in sent], sealed=sealed)
            findings.attempts[name, num] = by_division(opened.totals, truth)
            if sealed:
                uploads = _collude(findings, opened)
                attempt = by_division(uploads, truth.take(slice(0, sealed)))
                findings.colluded[name] = attempt
        if name == DIVIDED:
            others = [one[1 : 1 + _UNRELATED].sum(axis=0) for one in sent]
            row = f"divided, sum of {_UNRELATED} without the victim"
            findings.unrelated[row] = by_division(others, truth)
    _divide_several(findings, untrained, groups)


def _divide_several(
    findings: Findings, network: nn.Module, groups: Sequence[Images]
) -> None:
    """Divide updates of clients with several images, and after several local steps."""
    clients = [group.take(slice(0, _SEVERAL)) for group in groups]
    chance = [
        psnrs(nearest_guess(c, findings.public), c.pixels).mean() for c in clients
    ]
    for steps in (1, _LOCAL_STEPS):
        found = []
        for client, update in zip(
            clients, send(network, clients, epochs=steps), strict=True
        ):
            rows = candidates(update, client)
            found.append(np.mean([best_of(rows, true)[1] for true in client.pixels]))
        row = f"{DIVIDED}, {_SEVERAL} images, {steps} local step{'s' * (steps > 1)}"
        findings.other[row] = np.array(found), np.array(chance)


def match_alone(findings: Findings, untrained: Matcher, trained: Matcher) -> None:
    """Match the gradients of plain updates, also after several local steps."""
    truth = findings.truth
    clients = singles(truth)
    once = send(untrained.network, clients)
    often = send(untrained.network, clients, epochs=_LOCAL_STEPS)
    views = [as_gradient(one) for one in once]
    views += [as_gradient(one, steps=_LOCAL_STEPS) for one in often]
    twice = Images(np.tile(truth.pixels, (2, 1, 1, 1)), np.tile(truth.labels, 2))
    both = untrained.attack(views, twice)
    first, second = (score(half, truth) for half in np.split(both.pixels, 2))
    findings.attempts[MATCHED, SINGLE] = first
    row = f"{MATCHED}, {_LOCAL_STEPS} local steps taken for one"
    findings.other[row] = second.psnr, findings.nearest.psnr
    # Every victim gets the image rebuilt for its neighbour.
    findings.unrelated["matched, another client's update"] = score(
        np.roll(first.pixels, 1, axis=0), truth
    )
    late = [as_gradient(one) for one in send(trained.network, clients)]
    findings.attempts[MATCHED_TRAINED, SINGLE] = trained.attack(late, truth)


def match_sums(
    findings: Findings, matcher: Matcher, groups: Sequence[Images], num: int
) -> None:
    """Match the gradient of sums of so many clients, and of opened uploads."""
    sent = [
        send(matcher.network, singles(group.take(slice(0, num)))) for group in groups
    ]
    sealed = findings.sealed if num == findings.sealed_clients else 0
    opened = open_sums(sent, sealed=sealed)
    views = [as_gradient(total, clients=num) for total in opened.totals]
    findings.attempts[MATCHED, num] = matcher.attack(views, findings.truth, count=num)
    if sealed:
        uploads = [as_gradient(one) for one in _collude(findings, opened)]
        victims = findings.truth.take(slice(0, sealed))
        findings.colluded[MATCHED] = matcher.attack(uploads, victims)


def _collude(findings: Findings, opened: Opened) -> list[Numbers]:
    """Open the victims' uploads; note how far they are from the plain updates."""
    uploads = []
    for one in opened.sealed:
        upload = one.collude(0)
        off = float(np.abs(upload - one.updates[0]).max() / one.step)
        findings.colluded_off = max(findings.colluded_off, off)
        uploads.append(upload)
    return uploads
