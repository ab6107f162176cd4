"""The attack against real key holders: every plan under rules that try to stop it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from clients.carriage import carry
from crypto.layout import NUM_EXAMPLES
from crypto.params import AggregationParams
from experiments.privacy.differencing.plans import (
    Numbers,
    Sets,
    difference_plan,
    patient_plan,
    recovered,
)
from experiments.privacy.differencing.server import (
    CuriousServer,
    Rules,
    Update,
    refusals,
    write_rules,
)
from experiments.privacy.federation import Federation
from experiments.privacy.sealed_round import Vector, make_group, make_params
from experiments.privacy.words.mails import CLIP
from server.carriage import RECORD

CLIENTS: Final = 7
TARGET: Final = 0
DEFAULT: Final = Rules("default")
FORGETFUL: Final = Rules("rules off", one_set=False)
# The smallest change under which nobody opens the same set without one client.
TWO_APART: Final = Rules("min-set-change 2", min_set_change=2)
SECOND_SET: Final = "one round, the target alone and two sets"


@dataclass(frozen=True, eq=False)
class Found:
    """What one plan gave under some rules.

    Attributes:
        plan: What the server tried.
        rules: Of the key holders.
        asked: Sets that it asked for.
        opened: How many of them it got.
        refusals: Reasons of key holders, and how often.
        guess: Shape (dim,): its best guess of the target's update from what it got.
    """

    plan: str
    rules: Rules
    asked: int
    opened: int
    refusals: Mapping[str, int]
    guess: Numbers


def group_params(*, key_bits: int) -> AggregationParams:
    """Return the parameters of the real group: the project's defaults, but the key."""
    return make_params(CLIENTS, clip=CLIP, key_bits=key_bits)


def one_set_ever(params: AggregationParams) -> Rules:
    """Return the smallest `min-set-change` under which a run has one set for good."""
    change = params.max_contributors - params.min_contributors + 1
    return Rules(f"min-set-change {change}", min_set_change=change)


def try_plans(
    updates: Sequence[Vector], params: AggregationParams, *, few: bool
) -> Sequence[Found]:
    """Try the plans that make sense under each set of rules.

    Args:
        updates: Of the clients, the same at every request for the same model.
        params: Of the group.
        few: Whether to leave out what another plan shows nearly as well.
    """
    pair = difference_plan(CLIENTS, TARGET)
    strict, alone = one_set_ever(params), [frozenset({TARGET})]
    three = patient_plan(
        CLIENTS,
        TARGET,
        smallest=params.min_contributors,
        min_set_change=TWO_APART.min_set_change,
    )
    found = [
        _try("one round, two sets", pair, (FORGETFUL, params), updates, one_round=True),
        _try(SECOND_SET, [*alone, *pair], (DEFAULT, params), updates, one_round=True),
        _try("three sets", three, (TWO_APART, params), updates),
    ]
    if few:
        return found
    return [
        *found,
        _try("retry without the target", pair, (DEFAULT, params), updates),
        _try("three sets", three, (strict, params), updates),
    ]


def _try(
    plan: str,
    sets: Sets,
    group: tuple[Rules, AggregationParams],
    updates: Sequence[Vector],
    *,
    one_round: bool = False,
) -> Found:
    """Ask for sets, all of one round or each of a round of its own."""
    rules, params = group

    def update(client: int, _: Vector) -> Vector:
        return updates[client - 1]

    model, opened, sums = np.zeros_like(updates[0]), [], []
    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        server = CuriousServer(Path(folder), params, update, rules)
        collected = None
        for number, members in enumerate(sets, start=1):
            clients = [member + 1 for member in members]
            if collected is None or not one_round:
                asked = range(1, CLIENTS + 1) if one_round else clients
                collected = server.collect(number, model, asked)
            total = server.open(collected, clients)
            if total is not None:
                opened.append(members)
                sums.append(total)
    guess = recovered(opened, sums, len(updates))[TARGET]
    return Found(plan, rules, len(sets), len(opened), server.refusals, guess)


def drop_out(
    update: Update, dim: int, rules: Rules, params: AggregationParams
) -> Found:
    """Run two honest rounds with the real wrapper; the target misses the second.

    Nobody cheats: the model moves between the rounds, and whoever has the models has
    the sums.

    Args:
        update: What a client changes, given its id and the global model.
        dim: Length of the model.
        rules: Of the key holders.
        params: Of the group.
    """
    models: list[Vector] = []
    sent: list[int] = []

    def train(client: int, model: Vector) -> tuple[Vector, dict[str, Any]]:
        if not models or not np.array_equal(models[-1], model):
            models.append(model.copy())
        return model + update(client, model), {NUM_EXAMPLES: 1}

    def lose(client: int, reply: Message) -> Message:
        if reply.content.config_records[RECORD]["kind"] == "upload":
            sent.append(client)
            if client == TARGET + 1 and sent.count(client) > 1:
                reply.content = carry("error", b"AppError")
        return reply

    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        prepared, _ = make_group(Path(folder) / "keys", params)
        write_rules(prepared, rules)
        federation = Federation(prepared, train=train, tamper=lose)
        result, wrapper = federation.run(
            np.zeros(dim, np.float32),
            rounds=2,
            strategy=FedAvg(fraction_evaluate=0.0),
            train_metrics=(),
            deadline_seconds=120.0,
        )
    models.append(result.arrays["parameters"].numpy())
    sets = difference_plan(CLIENTS, TARGET)[: wrapper.rounds_opened]
    sums = _sums(models, sets)
    guess = recovered(sets, sums, CLIENTS)[TARGET]
    reasons = refusals(federation.received)
    reasons.pop("AppError", None)  # the target's own
    return Found("drop-out", rules, 2, len(sets), reasons, guess)


def _sums(models: Sequence[Vector], sets: Sets) -> Sequence[NDArray[np.float64]]:
    """Return the sums that moved one model to the next."""
    return [
        (after.astype(np.float64) - before) * len(members)
        for before, after, members in zip(models, models[1:], sets, strict=False)
    ]
