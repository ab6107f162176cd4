"""Whatever must be the same for all changes the context when it changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crypto.context import RoundFacts, model_digest, records_digest
from crypto.errors import ContextMismatchError
from crypto.manifest import DEPLOYMENT, KeySet, Manifest
from crypto.roster import Roster
from tests.crypto_group import (
    dealt,
    identities,
    make_facts,
    make_manifest,
    make_params,
)

MANIFEST = make_manifest(make_params())
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.zeros(3, dtype=np.float32)
MODEL: list[tuple[str, Any]] = [("weight", WEIGHT), ("bias", BIAS)]
RUN_CONFIG: dict[str, Any] = {"lr": 0.1, "epochs": 1, "task": "digits", "dp": False}


def _manifest(**changes: Any) -> Manifest:
    keys = replace(MANIFEST.keys, **changes)
    return replace(MANIFEST, keys=keys)


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": bytes([1] * 16)},
        {"round": 2},
        {"phase": 2, "dim": 0},
        {"model": bytes(32)},
        {"dim": 11},
        {"metrics": ("loss",)},
        {"metrics": ()},
        {"run_config": bytes(32)},
        {"records": bytes(32)},
        {"run_config": bytes([3] * 32), "records": bytes([2] * 32)},
    ],
    ids=repr,
)
def test_every_fact_changes_the_context(change: dict[str, Any]) -> None:
    assert make_facts(**change).context(MANIFEST) != make_facts().context(MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "plain"},
        {"max_corrupt": 1},
        {"min_contributors": 5},
        {"max_contributors": 6},
        {"value_bits": 19},
        {"clip": 2.5},
        {"w_max": 1023},
        {"metrics": {"loss": 1024.0, "accuracy": 1.5}},
        {"metrics": {"loss": 1024.0, "accuracy": 1.0, "other": 1.0}},
    ],
    ids=repr,
)
def test_every_parameter_changes_the_context(change: dict[str, Any]) -> None:
    other = replace(MANIFEST, params=make_params(**change))

    assert make_facts().context(other) != make_facts().context(MANIFEST)


@pytest.mark.parametrize("part", ["v_1", "y_seed"])
def test_every_part_of_the_key_changes_the_context(part: str) -> None:
    key = MANIFEST.keys.public_key
    changed = {
        "v_1": replace(key, verification=(key.v, *key.verification[1:])),
        "y_seed": replace(key, y_seed=bytes(32)),
    }[part]

    context = make_facts().context(_manifest(public_key=changed))

    assert context != make_facts().context(MANIFEST)


def test_another_committee_of_the_same_key_changes_the_context() -> None:
    key, _ = dealt(6, 4)
    roster = Roster.of(identities(6), 6)
    params = make_params(num_holders=6, max_corrupt=1)
    other = Manifest(KeySet(key, roster, DEPLOYMENT), params)

    assert make_facts().context(other) != make_facts().context(MANIFEST)


def _rosters() -> dict[str, Roster]:
    roster = MANIFEST.keys.roster
    keys, holders = dict(roster.clients), roster.holders
    return {
        "a client more": replace(roster, clients=keys | {7: bytes(32)}),
        "another client key": replace(roster, clients=keys | {6: bytes(32)}),
        "another client id": replace(
            roster, clients={i if i < 6 else 60: key for i, key in keys.items()}
        ),
        "another order of holders": replace(roster, holders=holders[::-1]),
        "another holder": replace(roster, holders=(*holders[:4], (6, holders[4][1]))),
        "another sealing key": replace(roster, holders=(*holders[:4], (5, bytes(32)))),
    }


@pytest.mark.parametrize("name", _rosters())
def test_every_change_of_the_roster_changes_the_context(name: str) -> None:
    other = _manifest(roster=_rosters()[name])

    assert make_facts().context(other) != make_facts().context(MANIFEST)


def test_roster_in_another_order_gives_the_same_context() -> None:
    roster = MANIFEST.keys.roster
    clients = {i: roster.clients[i] for i in (3, 1, 6, 2, 5, 4)}

    context = make_facts().context(_manifest(roster=replace(roster, clients=clients)))

    assert context == make_facts().context(MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        {"lr": np.nextafter(0.1, 1).item()},
        {"lr": "0.1"},
        {"epochs": 2},
        {"epochs": 1.0},
        {"epochs": True},
        {"task": "spam"},
        {"task": b"digits"},
        {"dp": 0},
        {"more": None},
    ],
    ids=repr,
)
def test_every_value_of_the_configuration_changes_its_digest(
    change: dict[str, Any],
) -> None:
    assert records_digest(RUN_CONFIG | change) != records_digest(RUN_CONFIG)


def test_configuration_in_another_order_has_the_same_digest() -> None:
    reordered = dict(reversed(RUN_CONFIG.items()))

    assert records_digest(reordered) == records_digest(RUN_CONFIG)


def _models() -> dict[str, list[tuple[str, Any]]]:
    ulp = WEIGHT.copy()
    ulp[1, 2] = np.nextafter(ulp[1, 2], np.float32(np.inf))
    return {
        "name": [("Weight", WEIGHT), ("bias", BIAS)],
        "type": [("weight", WEIGHT.astype(np.float64)), ("bias", BIAS)],
        "type of the same bytes": [("weight", WEIGHT.view(np.int32)), ("bias", BIAS)],
        "shape": [("weight", WEIGHT.reshape(3, 2)), ("bias", BIAS)],
        "one more dimension": [("weight", WEIGHT), ("bias", BIAS.reshape(3, 1))],
        "order": [("bias", BIAS), ("weight", WEIGHT)],
        "order of the values": [("weight", WEIGHT[::-1]), ("bias", BIAS)],
        "one unit in the last place": [("weight", ulp), ("bias", BIAS)],
        "negative zero": [("weight", WEIGHT), ("bias", -BIAS)],
        "an array less": [("weight", WEIGHT)],
        "an empty array more": [*MODEL, ("none", BIAS[:0])],
    }


@pytest.mark.parametrize("name", _models())
def test_every_change_of_the_model_changes_its_digest(name: str) -> None:
    assert model_digest(_models()[name]) != model_digest(MODEL)


def test_byte_order_of_an_array_does_not_change_the_digest() -> None:
    swapped = [(name, array.astype(">f4")) for name, array in MODEL]

    assert model_digest(swapped) == model_digest(MODEL)


def test_memory_layout_of_an_array_does_not_change_the_digest() -> None:
    fortran = [("weight", np.asfortranarray(WEIGHT)), ("bias", BIAS)]

    assert model_digest(fortran) == model_digest(MODEL)


def test_scalar_and_array_of_one_have_different_digests() -> None:
    scalar = [("x", np.array(1.0, dtype=np.float32))]
    array = [("x", np.array([1.0], dtype=np.float32))]

    assert model_digest(scalar) != model_digest(array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_id": bytes(15)}, "run id or round"),
        ({"round": 0}, "run id or round"),
        ({"round": 1 << 63}, "run id or round"),
        ({"phase": 3}, "unknown phase 3"),
        ({"phase": 2}, "phase 2 cannot have 10 coordinates"),
        ({"metrics": ("other",)}, "metric 'other'"),
    ],
    ids=repr,
)
def test_fact_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    facts: RoundFacts = make_facts(**change)

    with pytest.raises(ContextMismatchError, match=message):
        facts.context(MANIFEST)


def test_last_round_has_a_context() -> None:
    assert len(make_facts(round=(1 << 63) - 1).context(MANIFEST)) == 32
