"""Everything the experiment runs, small or large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.privacy.differencing.plans import Numbers, determined
from experiments.privacy.differencing.scenarios import (
    CLIENTS,
    DEFAULT,
    TARGET,
    TWO_APART,
    Found,
    drop_out,
    group_params,
    try_plans,
)
from experiments.privacy.differencing.sweeps import (
    Guesses,
    among_colluders,
    by_drift,
    by_many_rounds,
    by_plan,
    opened_under,
    participation,
    trained_anew,
    updates_at,
)
from experiments.privacy.experiment import Options
from experiments.privacy.sealed_round import Vector, make_params, seal_round
from experiments.privacy.words.mails import CLIP, Mails, draw
from models.shards import Shard

FEW: Final = 10  # mails of a client
LATE: Final = 20  # rounds after which the model has settled a little
_DRIFTING: Final = 10  # clients
_MANY: Final = {True: 100, False: 50}  # mails of a client, with real data and without


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        clients: Of the groups that are attacked on one model.
        groups: Of each size; the first client of each is a victim.
        many: Mails of a client that has many.
        distances: Rounds between the two sums.
        drifting: Groups of ten whose model moves; everybody in them is a victim.
        matrix: Clients and rounds of the participation matrix; all are victims.
        few_plans: Whether real key holders see the main plans only.
        key_bits: Of the key that real key holders share.
    """

    clients: tuple[int, ...]
    groups: int
    many: int
    distances: tuple[int, ...]
    drifting: int
    matrix: tuple[int, int]
    few_plans: bool
    key_bits: int

    @classmethod
    def of(cls, options: Options) -> "Sizes":
        """Choose them."""
        many = _MANY[options.data is not None]
        if options.quick:
            return cls((5, 10, 20), 5, many, (0, 1, 5, 20), 1, (7, 12), True, 2048)
        distances = (0, 1, 2, 5, 10, 20, 40)
        return cls((5, 7, 10, 20, 50), 20, many, distances, 2, (20, 40), False, 3072)


@dataclass(frozen=True, eq=False)
class Drift:
    """What sums tell that lie some rounds apart.

    Attributes:
        name: The setting, for people.
        guesses: By distance.
        null: The mean update of the others.
    """

    name: str
    guesses: Sequence[Guesses]
    null: Guesses


@dataclass(frozen=True, eq=False)
class ManyRounds:
    """What all the sums of a run tell.

    Attributes:
        name: The setting, for people.
        opened: Rounds that the key holders opened.
        told: Clients whose update the sums tell, if it is the same in every round.
        guesses: One a client.
        null: The mean update of the others.
    """

    name: str
    opened: int
    told: int
    guesses: Guesses
    null: Guesses


@dataclass(frozen=True, eq=False)
class Campaign:
    """What was run.

    Attributes:
        updates: Shape (clients, dim): of the real group.
        found: What its target lost to each plan, under the rules.
        collusion: Shape (dim,): its upload, opened by server and committee.
        plans: By number of clients, what every plan gives.
        colluders: By clients of the smallest set that are the server's.
        drift: The settings in which the model moves.
        anew: Guesses where clients train in another order, and their null.
        matrix: The settings of many rounds.
    """

    updates: NDArray[np.float32]
    found: Sequence[Found]
    collusion: Numbers
    plans: Mapping[int, Mapping[str, Guesses]]
    colluders: Mapping[int, Guesses]
    drift: Sequence[Drift]
    anew: tuple[Guesses, Guesses]
    matrix: Sequence[ManyRounds]


def run(options: Options, mails: Mails, sizes: Sizes) -> Campaign:
    """Run everything."""
    seed, dim = options.seed, mails.num_words
    options.tell(f"{CLIENTS} clients with real key holders, rules off and on")
    updates, found = _real(mails, sizes, seed)
    options.tell(f"groups of {sizes.clients} clients, {sizes.groups} of each")
    plans = {n: _over_groups(mails, n, sizes.groups, seed) for n in sizes.clients}
    tolerated = make_params(CLIENTS).max_corrupt
    colluders = {
        count: Guesses.joined(
            [
                among_colluders(shards, dim, count)
                for shards in _groups(mails, (CLIENTS, FEW), sizes.groups, seed)
            ]
        )
        for count in (tolerated, tolerated + 1)
    }
    options.tell("sums that lie rounds apart, and sums of many rounds")
    return Campaign(
        updates=updates,
        found=found,
        collusion=seal_round(list(updates), clip=CLIP, key_bits=sizes.key_bits).collude(
            TARGET
        ),
        plans=plans,
        colluders=colluders,
        drift=_drift(mails, sizes, seed),
        anew=_anew(mails, sizes, seed),
        matrix=_matrix(mails, sizes, seed),
    )


def _groups(
    mails: Mails, counts: tuple[int, int], groups: int, seed: int
) -> list[list[Shard]]:
    """Draw groups; counts are clients, and mails of each."""
    return [draw(mails.private, counts, seed=seed + group) for group in range(groups)]


def _real(
    mails: Mails, sizes: Sizes, seed: int
) -> tuple[NDArray[np.float32], Sequence[Found]]:
    dim, params = mails.num_words, group_params(key_bits=sizes.key_bits)
    shards = draw(mails.private, (CLIENTS, FEW), seed=seed)
    updates = updates_at(np.zeros(dim, np.float32), shards)

    def update(client: int, model: Vector) -> Vector:
        return np.asarray(updates_at(model, [shards[client - 1]])[0])

    rules = (TWO_APART,) if sizes.few_plans else (DEFAULT, TWO_APART)
    return updates, [
        *try_plans(list(updates), params, few=sizes.few_plans),
        *(drop_out(update, dim, one, params) for one in rules),
    ]


def _over_groups(
    mails: Mails, clients: int, groups: int, seed: int
) -> Mapping[str, Guesses]:
    found = [
        by_plan(shards, mails.num_words)
        for shards in _groups(mails, (clients, FEW), groups, seed)
    ]
    return {plan: Guesses.joined([one[plan] for one in found]) for plan in found[0]}


def _drift(mails: Mails, sizes: Sizes, seed: int) -> Sequence[Drift]:
    found = []
    for each, first in ((FEW, 0), (sizes.many, 0), (sizes.many, LATE)):
        parts = [
            by_drift(shards, mails.num_words, first=first, distances=sizes.distances)
            for shards in _groups(mails, (_DRIFTING, each), sizes.drifting, seed)
        ]
        by_distance = zip(*(guesses for guesses, _ in parts), strict=True)
        found.append(
            Drift(
                f"{each} mails each, from round {first + 1}",
                [Guesses.joined(same) for same in by_distance],
                Guesses.joined([null for _, null in parts]),
            )
        )
    return found


def _anew(mails: Mails, sizes: Sizes, seed: int) -> tuple[Guesses, Guesses]:
    groups = _groups(mails, (_DRIFTING, sizes.many), sizes.drifting, seed)
    parts = [
        trained_anew(shards, mails.num_words, seed=seed + place)
        for place, shards in enumerate(groups)
    ]
    guesses, nulls = zip(*parts, strict=True)
    return Guesses.joined(guesses), Guesses.joined(nulls)


def _matrix(mails: Mails, sizes: Sizes, seed: int) -> Sequence[ManyRounds]:
    clients, rounds = sizes.matrix
    sets = participation(clients, rounds, seed=seed)
    shards = draw(mails.private, (clients, FEW), seed=seed)
    smallest = make_params(clients).min_contributors
    everything = [len(members) >= smallest for members in sets]
    refused = opened_under(TWO_APART, sets, clients)
    found = []
    for name, opened, first, moves in (
        ("same model, no rule", everything, 0, False),
        (f"same model, {TWO_APART.name}", refused, 0, False),
        ("model moves, no rule", everything, 0, True),
        (f"model moves from round {LATE + 1}, no rule", everything, LATE, True),
        (f"model moves from round {LATE + 1}, {TWO_APART.name}", refused, LATE, True),
    ):
        guesses, null = by_many_rounds(
            shards, mails.num_words, sets, opened=opened, model_moves=moves, first=first
        )
        used = [
            members for members, is_open in zip(sets, opened, strict=True) if is_open
        ]
        told = int(determined(used, clients).sum())
        found.append(ManyRounds(name, sum(opened), told, guesses, null))
    return found
