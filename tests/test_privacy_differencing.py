"""E6: two sums that differ by one client, and the rules against it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from experiments.privacy.differencing.campaign import (
    Campaign,
    Drift,
    ManyRounds,
    Sizes,
)
from experiments.privacy.differencing.controls import controls_of
from experiments.privacy.differencing.plans import (
    Sets,
    decibels,
    determined,
    difference_plan,
    patient_plan,
    recovered,
)
from experiments.privacy.differencing.scenarios import (
    DEFAULT,
    FORGETFUL,
    SECOND_SET,
    TARGET,
    TWO_APART,
    Found,
    one_set_ever,
)
from experiments.privacy.differencing.server import CuriousServer, Rules
from experiments.privacy.differencing.sweeps import (
    Guesses,
    by_drift,
    by_many_rounds,
    by_plan,
    participation,
    trained_anew,
)
from experiments.privacy.experiment import Options
from experiments.privacy.sealed_round import Vector, make_params
from experiments.privacy.words.mails import Mails, draw, load_mails

CLIENTS = 7


@pytest.fixture(scope="module")
def mails() -> Mails:
    return load_mails(None)


def keeps_apart(sets: Sets, change: int) -> bool:
    """Whether the rule of PROTOCOL.md section 8.7 allows all these sets."""
    return not any(0 < len(a - b) < change for a, b in permutations(sets, 2))


@pytest.mark.parametrize("clients", [7, 8, 10, 20, 51])
@pytest.mark.parametrize("change", [2, 3])
def test_sets_that_keep_to_the_rule_give_one_client_all_the_same(
    clients: int, change: int
) -> None:
    sets = patient_plan(clients, 2, smallest=4, min_set_change=change)
    assert keeps_apart(sets, change)
    assert all(len(members) >= 4 for members in sets)
    updates = np.random.default_rng(1).normal(size=(clients, 30))
    sums = [updates[sorted(members)].sum(axis=0) for members in sets]
    assert np.allclose(recovered(sets, sums, clients)[2], updates[2])


@pytest.mark.parametrize(("clients", "smallest", "change"), [(5, 4, 2), (7, 4, 4)])
def test_a_rule_beyond_all_drop_outs_leaves_one_set(
    clients: int, smallest: int, change: int
) -> None:
    everybody = frozenset(range(clients))
    plan = patient_plan(clients, 0, smallest=smallest, min_set_change=change)
    assert plan == [everybody]
    others = (everybody - {out} for out in range(clients))
    assert not any(keeps_apart([everybody, other], change) for other in others)


def test_one_sum_gives_everybody_the_mean_and_two_give_one_client() -> None:
    updates = np.random.default_rng(1).normal(size=(5, 30))
    plan = difference_plan(5, 3)
    sums = [updates[sorted(members)].sum(axis=0) for members in plan]
    assert np.allclose(recovered(plan[:1], sums[:1], 5), updates.mean(axis=0))
    assert np.allclose(recovered(plan, sums, 5)[3], updates[3])
    assert determined(plan, 5).tolist() == [False, False, False, True, False]
    assert not determined(plan[:1], 5).any()


def test_decibels_are_those_of_the_error() -> None:
    assert decibels(np.array([1.0, 0.1, 0.0])).tolist() == [0, 20, 120]


def update(client: int, _: Vector) -> Vector:
    return np.array([0.01 * client, -0.02, 0.0], np.float32)


def opened(
    folder: Path, rules: Rules, *asked: tuple[int, set[int]]
) -> tuple[list[bool], Counter[str]]:
    """Ask real key holders for sets of numbered rounds."""
    params = make_params(CLIENTS, mode="paillier", key_bits=2048)
    server = CuriousServer(folder, params, update, rules)
    nothing = np.zeros(3, np.float32)
    found, rounds = [], {}
    for number, clients in asked:
        if number not in rounds:
            everybody = range(1, CLIENTS + 1)
            rounds[number] = server.collect(number, nothing, everybody)
        total = server.open(rounds[number], clients)
        found.append(total is not None)
        if total is not None:
            expected = np.sum([update(i, nothing) for i in clients], axis=0)
            assert np.allclose(total, expected, atol=1e-5)
    return found, server.refusals


EVERYBODY = set(range(1, CLIENTS + 1))
WITHOUT = EVERYBODY - {1}


@pytest.mark.parametrize(
    ("rules", "asked", "expected", "reason"),
    [
        (FORGETFUL, [(1, EVERYBODY), (1, WITHOUT)], [True, True], None),
        (DEFAULT, [(1, EVERYBODY), (1, WITHOUT)], [True, False], "SecondSetError"),
        (DEFAULT, [(1, {1}), (1, WITHOUT)], [False, True], "DecryptionRefusedError"),
        (DEFAULT, [(1, EVERYBODY), (2, WITHOUT)], [True, True], None),
        (
            TWO_APART,
            [(1, EVERYBODY), (2, WITHOUT), (3, WITHOUT - {2})],
            [True, False, True],
            "DecryptionRefusedError",
        ),
    ],
)
def test_key_holders_decide_as_their_rules_say(
    tmp_path: Path,
    rules: Rules,
    asked: list[tuple[int, set[int]]],
    expected: list[bool],
    reason: str | None,
) -> None:
    found, refusals = opened(tmp_path, rules, *asked)
    assert found == expected
    assert set(refusals) == ({reason} if reason else set())


def test_the_strictest_rule_refuses_every_other_set_that_is_large_enough() -> None:
    params = make_params(CLIENTS)
    rules = one_set_ever(params)
    assert rules.min_set_change > CLIENTS - params.min_contributors


def test_plans_find_the_update_and_its_words_and_another_client_does_not(
    mails: Mails,
) -> None:
    shards = draw(mails.private, (10, 10), seed=1)
    found = by_plan(shards, mails.num_words)
    for plan in ("two sets", "min-set-change 2"):
        assert found[plan].errors < 0.001
        assert found[plan].words == pytest.approx(found["plain"].words)
        assert found[plan].steps < 0.51
    assert found["another client"].errors > 0.9
    assert found["null"].words < 0.6 < found["plain"].words


def test_drift_and_training_anew_blur_the_difference(mails: Mails) -> None:
    shards = draw(mails.private, (4, 30), seed=1)
    (same, near, far), _ = by_drift(
        shards, mails.num_words, first=0, distances=(0, 1, 10)
    )
    assert same.errors.max() < 0.001 < near.errors.min()
    assert near.errors.mean() < far.errors.mean()
    anew, null = trained_anew(shards, mails.num_words, seed=1)
    assert 0.001 < anew.errors.mean() < null.errors.mean()


def test_many_sums_of_one_model_tell_every_client_they_determine(mails: Mails) -> None:
    shards, sets = draw(mails.private, (6, 5), seed=1), participation(6, 20, seed=1)
    assert determined(sets, 6).all()
    dim, everything = mails.num_words, [True] * len(sets)
    found, null = by_many_rounds(
        shards, dim, sets, opened=everything, model_moves=False
    )
    assert found.errors.max() < 0.01 < null.errors.min()
    only_one = [True] + [False] * (len(sets) - 1)
    blurred, _ = by_many_rounds(shards, dim, sets, opened=only_one, model_moves=False)
    assert blurred.errors.min() > 0.3


SIZES = Sizes.of(Options(quick=True, seed=1, data=None, tell=print))


def guesses(error: float, words: float) -> Guesses:
    return Guesses(np.full(3, error), np.full(3, words), np.full(3, error * 500))


def campaign() -> Campaign:
    """Return what a run gives that went well."""
    updates = np.full((CLIENTS, 4), 0.01, np.float32)
    exact, null = guesses(0.0004, 0.95), guesses(1.0, 0.3)

    def found(plan: str, rules: Rules, asked: int, got: int) -> Found:
        return Found(plan, rules, asked, got, {}, updates[TARGET].astype(float))

    plans = {"two sets": exact, "plain": exact, "one set": null}
    plans |= {"null": null, "another client": guesses(1.3, 0.3)}
    return Campaign(
        updates=updates,
        found=[
            found("two", FORGETFUL, 2, 2),
            found(SECOND_SET, DEFAULT, 3, 1),
            found("drop-out", TWO_APART, 2, 1),
        ],
        collusion=updates[TARGET].astype(float),
        plans={10: plans},
        colluders={},
        drift=[Drift("", [exact], null)],
        anew=(exact, null),
        matrix=[ManyRounds("", 14, 3, exact, null)],
    )


def garbled(one: Campaign) -> Campaign:
    bad = [replace(found, guess=found.guess * 1.1) for found in one.found]
    return replace(one, found=bad)


def with_plan(name: str, found: Guesses) -> Callable[[Campaign], Campaign]:
    return lambda one: replace(one, plans={10: {**one.plans[10], name: found}})


def too_much_opened(place: int) -> Callable[[Campaign], Campaign]:
    def change(one: Campaign) -> Campaign:
        found = list(one.found)
        found[place] = replace(found[place], opened=2)
        return replace(one, found=found)

    return change


def test_controls_hold_for_what_must_come_out() -> None:
    assert all(control.holds for control in controls_of(SIZES, campaign()))


@pytest.mark.parametrize(
    "change",
    [
        garbled,
        lambda one: replace(one, collusion=one.collusion * 1.1),
        lambda one: replace(
            one, matrix=[replace(one.matrix[0], guesses=guesses(0.5, 0.9))]
        ),
        with_plan("two sets", guesses(0.0004, 0.9)),
        with_plan("another client", guesses(0.1, 0.3)),
        with_plan("one set", guesses(1.0, 0.5)),
        too_much_opened(1),
        too_much_opened(2),
    ],
)
def test_a_run_that_went_wrong_fails_a_control(
    change: Callable[[Campaign], Campaign],
) -> None:
    found = controls_of(SIZES, change(campaign()))
    assert sum(not control.holds for control in found) == 1
