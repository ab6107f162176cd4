"""The attack over sizes of the group, over drift, and over many rounds.

On quantised sums, which are equal to the opened ones; key holders decide for real which
sets of the participation matrix are opened.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.differencing.plans import (
    Numbers,
    Sets,
    difference_plan,
    patient_plan,
    recovered,
    relative_error,
)
from experiments.privacy.differencing.server import CuriousServer, Rules
from experiments.privacy.numbers import average_precision
from experiments.privacy.sealed_round import Vector, make_params, quantised_total
from experiments.privacy.words.mails import CLIP, RATE, contains, summed
from models.local import LocalTraining
from models.shards import Shard
from models.tasks.words import SPAM_BOOK

_TAKES_PART: Final = 0.8  # of the rounds
_MINI_BATCH: Final = 10
_PARTS: Final = 10  # of a step are told apart


@dataclass(frozen=True, eq=False)
class Guesses:
    """How good guesses of several victims' updates are, shape (victims,) each.

    Attributes:
        errors: Relative error of the guess.
        words: Average precision of its largest coordinates as the victim's words.
        steps: Largest error of a coordinate, in quantisation steps.
    """

    errors: Numbers
    words: Numbers
    steps: Numbers

    @classmethod
    def joined(cls, parts: Sequence["Guesses"]) -> "Guesses":
        """Put victims together."""
        return cls(
            np.concatenate([one.errors for one in parts]),
            np.concatenate([one.words for one in parts]),
            np.concatenate([one.steps for one in parts]),
        )


def updates_at(model: Vector, shards: Sequence[Shard]) -> NDArray[np.float32]:
    """Return every client's update, one step on all its mails: shape (clients, dim)."""
    return np.stack([summed(shard, model) for shard in shards]).astype(np.float32)


def quantised(updates: NDArray[np.float32]) -> Numbers:
    """Return the updates as they are in an opened sum, shape (clients, dim)."""
    nothing = np.zeros_like(updates[0])
    return np.stack([quantised_total([own, nothing], clip=CLIP) for own in updates])


def sums_of(sets: Sets, updates: Numbers) -> list[Numbers]:
    """Return the opened sum of every set."""
    return [updates[sorted(members)].sum(axis=0) for members in sets]


def judge(
    guesses: Sequence[Numbers],
    truths: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    shards: Sequence[Shard],
) -> Guesses:
    """Compare guesses with updates, and with the words of the mails behind them."""
    step = 1 / make_params(2, clip=CLIP).scale
    pairs = list(zip(guesses, truths, strict=True))
    # Rounded, as the dust of floating point would rank words, too.
    moved = [np.rint(np.abs(guess) / step * _PARTS) for guess in guesses]
    present = [contains(shard, len(guesses[0])) for shard in shards]
    return Guesses(
        np.array([relative_error(*pair) for pair in pairs]),
        np.array(list(map(average_precision, moved, present))),
        np.array([np.abs(guess - own).max() / step for guess, own in pairs]),
    )


def mean_of_others(updates: NDArray[np.float32]) -> Numbers:
    """Return for each client the mean update of all others: the null."""
    total = updates.sum(axis=0, dtype=np.float64)
    return np.asarray((total - updates) / (len(updates) - 1))


def by_plan(shards: Sequence[Shard], dim: int) -> dict[str, Guesses]:
    """Attack the first client on one and the same model, by every plan.

    Args:
        shards: One a client.
        dim: Length of the model.
    """
    clients, updates = len(shards), updates_at(np.zeros(dim, np.float32), shards)
    smallest = make_params(clients).min_contributors
    plans = {
        "two sets": difference_plan(clients, 0),
        "min-set-change 2": patient_plan(
            clients, 0, smallest=smallest, min_set_change=2
        ),
        "one set": [frozenset(range(clients))],
    }
    kept = quantised(updates)
    found = {
        name: recovered(sets, sums_of(sets, kept), clients)[0]
        for name, sets in plans.items()
    }
    found["plain"] = updates[0].astype(np.float64)
    found["null"] = mean_of_others(updates)[0]
    found["another client"] = kept[1]
    return {
        name: judge([guess], updates[:1], shards[:1]) for name, guess in found.items()
    }


def among_colluders(shards: Sequence[Shard], dim: int, colluders: int) -> Guesses:
    """Attack the first client in the smallest set, some of which is the server's own.

    The server subtracts what its own clients sent; the rest it divides evenly.

    Args:
        shards: One a client.
        dim: Length of the model.
        colluders: Clients of the set that are the server's.
    """
    size = make_params(len(shards)).min_contributors
    updates = updates_at(np.zeros(dim, np.float32), shards[:size])
    kept = quantised(updates)
    rest = kept[: size - colluders].sum(axis=0)
    return judge([rest / (size - colluders)], updates[:1], shards[:1])


def by_drift(
    shards: Sequence[Shard], dim: int, *, first: int, distances: Sequence[int]
) -> tuple[list[Guesses], Guesses]:
    """Attack every client in turn: in the sum of one round, and missing in a later one.

    Args:
        shards: One a client.
        dim: Length of the model.
        first: The round with the target, from 0; the model is that of so many rounds.
        distances: Rounds from there to the one without it; 0 for the same model again.

    Returns:
        The guesses by distance, and the null of the first round.
    """
    model, path = np.zeros(dim, np.float32), []
    for _ in range(first + max(distances) + 1):
        path.append(updates_at(model, shards))
        model = (model + path[-1].mean(axis=0)).astype(np.float32)
    truth = path[first]
    everybody = quantised(truth).sum(axis=0)
    guesses = []
    for distance in distances:
        later = quantised(path[first + distance])
        guess = everybody - (later.sum(axis=0) - later)  # a row for every target
        guesses.append(judge(list(guess), truth, shards))
    return guesses, judge(list(mean_of_others(truth)), truth, shards)


def trained_anew(
    shards: Sequence[Shard], dim: int, *, seed: int
) -> tuple[Guesses, Guesses]:
    """Attack on one model, where clients train in small batches and in another order.

    With a deployment's keys a client draws the order anew every time.

    Args:
        shards: One a client; everybody is the target once.
        dim: Length of the model.
        seed: Of the orders.

    Returns:
        The guesses, and their null.
    """
    first, again = (
        np.stack(
            [
                _in_small_batches(shard, dim, seed=2 * (seed + place) + turn)
                for place, shard in enumerate(shards)
            ]
        )
        for turn in (0, 1)
    )
    kept, later = quantised(first), quantised(again)
    guess = kept.sum(axis=0) - (later.sum(axis=0) - later)
    null = list(mean_of_others(first))
    return judge(list(guess), first, shards), judge(null, first, shards)


def _in_small_batches(shard: Shard, dim: int, *, seed: int) -> Vector:
    """Return an update of one pass in small batches, by the platform's own training."""
    from models.networks.words import WordSumNetwork  # noqa: PLC0415 - takes seconds
    from models.training import train  # noqa: PLC0415

    network = WordSumNetwork(num_words=dim)  # starts at zero
    settings = LocalTraining(
        epochs=1, batch_size=_MINI_BATCH, learning_rate=RATE * _MINI_BATCH
    )
    train(network, shard, SPAM_BOOK, settings, seed=seed, device="cpu")
    return network.words.weight.detach().numpy().ravel()


def participation(num_clients: int, num_rounds: int, *, seed: int) -> Sets:
    """Draw who takes part in each round."""
    generator = np.random.default_rng(seed)
    takes_part = generator.random((num_rounds, num_clients)) < _TAKES_PART
    return [frozenset(np.flatnonzero(row).tolist()) for row in takes_part]


def opened_under(rules: Rules, sets: Sets, num_clients: int) -> list[bool]:
    """Ask real key holders for all the sets, a round each.

    Their rules know sets and not values: updates of one number are enough, and the
    smallest of the stored keys.

    Args:
        rules: Of the key holders.
        sets: Who takes part in each round.
        num_clients: In the group.
    """
    params = make_params(num_clients, mode="paillier", key_bits=2048, clip=CLIP)
    model = np.zeros(1, np.float32)
    found = []
    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        server = CuriousServer(Path(folder), params, lambda *_: model, rules)
        for number, members in enumerate(sets, start=1):
            clients = [member + 1 for member in members]
            collected = server.collect(number, model, clients)
            found.append(server.open(collected, clients) is not None)
    return found


def by_many_rounds(
    shards: Sequence[Shard],
    dim: int,
    sets: Sets,
    *,
    opened: Sequence[bool],
    model_moves: bool,
    first: int = 0,
) -> tuple[Guesses, Guesses]:
    """Attack every client with all the sums of a run, by least squares.

    The truth is a client's mean update over the opened rounds that it was in.

    Args:
        shards: One a client.
        dim: Length of the model.
        sets: Who took part in each round.
        opened: Which rounds the key holders opened; a refused one moves nothing.
        model_moves: Whether the server goes on with the new model, as it should; else
            it sends the first one again and again.
        first: Rounds of everybody before the attack begins.

    Returns:
        The guesses, and the null: the mean of what all others were found to send.
    """
    model, sums, used = np.zeros(dim, np.float32), [], []
    totals, counts = np.zeros((len(shards), dim)), np.zeros((len(shards), 1))
    updates = updates_at(model, shards)
    for _ in range(first):
        model = (model + updates.mean(axis=0)).astype(np.float32)
        updates = updates_at(model, shards)
    for members, is_opened in zip(sets, opened, strict=True):
        if not is_opened:
            continue
        chosen = sorted(members)
        totals[chosen] += updates[chosen]
        counts[chosen] += 1
        sums.append(quantised(updates[chosen]).sum(axis=0))
        used.append(members)
        if model_moves:
            model = (model + sums[-1] / len(chosen)).astype(np.float32)
            updates = updates_at(model, shards)
    truth = (totals / np.maximum(counts, 1)).astype(np.float32)
    guesses, null = recovered(used, sums, len(shards)), mean_of_others(truth)
    present = np.flatnonzero(counts)  # the others have nothing that could be found
    mails = [shards[client] for client in present.tolist()]
    return (
        judge(list(guesses[present]), truth[present], mails),
        judge(list(null[present]), truth[present], mails),
    )
