"""Parameters that cannot work together are refused, with the numbers that clash."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CryptoError, ParameterError
from crypto.layout import (
    CLIPPED_SHARE,
    EVALUATE,
    NUM_EXAMPLES,
    TRAIN,
    UPDATE_PEAK,
    make_layout,
)
from crypto.params import AggregationParams
from tests.crypto_group import make_params

IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"version": 2}, "version must be 1 to 1, got 2"),
    (
        {"mode": "ckks"},
        "unknown mode 'ckks'; known: ['plain', 'paillier', 'hybrid']",
    ),
    (
        {"mode": "hybrid", "value_bits": 20, "max_contributors": 10_000},
        "value-bits 20 with 10000 clients needs a ring modulus of 21 bits for noise "
        "and 34 for sums: 55 bits, and at most 54 are safe; use fewer value-bits or "
        "clients",
    ),
    ({"key_bits": 48}, "key-bits must be 64 to 16384, got 48"),
    ({"key_bits": 32768}, "key-bits must be 64 to 16384, got 32768"),
    ({"key_bits": 250}, "key-bits must be a multiple of 16, got 250"),
    ({"key_bits": 256.0}, "key-bits must be an integer, got 256.0"),
    ({"key_bits": True}, "key-bits must be an integer, got True"),
    ({"value_bits": 3}, "value-bits must be 4 to 24, got 3"),
    ({"value_bits": 25}, "value-bits must be 4 to 24, got 25"),
    ({"w_max": 0}, "w-max must be 1 to 268435456, got 0"),
    ({"w_max": 2**28 + 1}, "w-max must be 1 to 268435456, got 268435457"),
    ({"clip": 0.0}, "clip must be 1e-38 to 9e+37, got 0.0"),
    ({"clip": -1.0}, "clip must be 1e-38 to 9e+37, got -1.0"),
    ({"clip": math.nan}, "clip must be 1e-38 to 9e+37, got nan"),
    ({"clip": math.inf}, "clip must be 1e-38 to 9e+37, got inf"),
    ({"clip": 1e-320}, "clip must be 1e-38 to 9e+37, got 1e-320"),
    ({"metrics": {"loss": 0.0}}, "metric 'loss' needs a positive bound"),
    ({"metrics": {"loss": math.nan}}, "metric 'loss' needs a positive bound"),
    ({"metrics": {"loss": math.inf}}, "metric 'loss' needs a positive bound"),
    (
        {"metrics": {"loss": 2.0**25}, "w_max": 1024},
        "metric 'loss' with bound 3.35544e+07 and w-max 1024 needs more than 50 bits; "
        "lower one of them",
    ),
    ({"num_holders": 0}, "number of key holders must be 1 to 255, got 0"),
    ({"num_holders": 256}, "number of key holders must be 1 to 255, got 256"),
    ({"threshold": 0}, "threshold must be 1 to 5, got 0"),
    ({"threshold": 6}, "threshold must be 1 to 5, got 6"),
    ({"max_corrupt": -1}, "max-corrupt must be 0 to 255, got -1"),
    ({"max_contributors": 0}, "max-contributors must be 1 to 10000, got 0"),
    ({"max_contributors": 10_001}, "max-contributors must be 1 to 10000, got 10001"),
    ({"min_contributors": 1}, "min-contributors must be 4 to 5, got 1"),
    ({"min_contributors": 3}, "min-contributors must be 4 to 5, got 3"),
    ({"min_contributors": 6}, "min-contributors must be 4 to 5, got 6"),
    (
        {"threshold": 3},
        "threshold 3 of 5 does not stop 2 malicious key holders from opening two sets "
        "(needs 2 * threshold - holders > malicious); raise threshold",
    ),
]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE, ids=repr)
def test_impossible_parameters_are_refused_with_the_numbers(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        make_params(**changes)

    assert str(caught.value) == message


def test_smallest_key_holds_the_widest_slot() -> None:
    params = make_params(key_bits=64, value_bits=24, max_contributors=10_000)

    assert (params.slot_bits, params.slots_per_plaintext) == (38, 1)


def test_key_too_small_for_a_slot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # No legal combination reaches this: 64 bits hold the widest slot of 38.
    monkeypatch.setattr(AggregationParams, "slot_bits", 254)

    with pytest.raises(ParameterError, match="a key of 256 bits holds no slot of 254"):
        make_params()


@pytest.mark.parametrize(
    ("num_holders", "threshold", "tolerated"),
    [(1, 1, 0), (3, 2, 0), (3, 3, 2), (4, 3, 1), (5, 3, 0), (5, 4, 2), (7, 5, 2)],
)
def test_committee_tolerates_what_the_table_says(
    num_holders: int, threshold: int, tolerated: int
) -> None:
    committee: dict[str, Any] = {
        "num_holders": num_holders,
        "threshold": threshold,
        "min_contributors": 5,
        "max_contributors": 10,
    }
    make_params(max_corrupt=tolerated, **committee)

    with pytest.raises(ParameterError, match="does not stop"):
        make_params(max_corrupt=tolerated + 1, **committee)


@given(st.integers(4, 24), st.integers(2, 10_000))
def test_slot_holds_every_sum_and_not_a_bit_more(bits: int, clients: int) -> None:
    params = make_params(
        value_bits=bits,
        max_contributors=clients,
        min_contributors=2,
        max_corrupt=0,
    )
    largest = params.max_contributors * params.max_value

    assert largest < 1 << (params.slot_bits - 1) <= 2 * largest


@given(st.integers(4, 24))
def test_limb_never_exceeds_a_coordinate(bits: int) -> None:
    params = make_params(value_bits=bits)

    assert 1 << (params.limb_bits - 1) <= params.max_value


def test_number_of_ciphertexts_rounds_up() -> None:
    params = make_params()
    slots = params.slots_per_plaintext

    assert [params.num_ciphertexts(n) for n in (1, slots, slots + 1)] == [1, 1, 2]


def test_params_survive_the_trip_through_json() -> None:
    params = make_params()

    again = AggregationParams.from_dict(json.loads(json.dumps(params.to_dict())))

    assert (again, again.digest()) == (params, params.digest())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 1}, r"\['noise'\]"),
        ({"clip": "2"}, "wrong type"),
        ({"clip": None}, "wrong type"),
        ({"metrics": ["loss"]}, "wrong type"),
        ({"metrics": {"loss": "1"}}, "wrong type"),
        ({"metrics": {"loss": 10**400}}, "wrong type"),
    ],
)
def test_stored_params_of_another_form_are_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        AggregationParams.from_dict(make_params().to_dict() | change)


def test_missing_field_is_refused_by_name() -> None:
    values = make_params().to_dict()
    del values["clip"]

    with pytest.raises(ParameterError, match=r"differ from this version's: \['clip'\]"):
        AggregationParams.from_dict(values)


@pytest.mark.parametrize("values", [None, [], "mode", 5])
def test_params_that_are_no_map_are_refused(values: Any) -> None:
    with pytest.raises(ParameterError, match="differ from this version's"):
        AggregationParams.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "plain"},
        {"mode": "hybrid"},
        {"key_bits": 512},
        {"num_holders": 6, "max_corrupt": 1},
        {"threshold": 5},
        {"max_corrupt": 1},
        {"min_contributors": 5},
        {"max_contributors": 6},
        {"value_bits": 16},
        {"clip": math.nextafter(2.0, 3)},
        {"w_max": 1023},
        {"metrics": {"loss": 1024.0}},
        {"metrics": {"loss": 1023.0, "accuracy": 1.0}},
    ],
    ids=repr,
)
def test_every_parameter_changes_the_digest(change: dict[str, Any]) -> None:
    assert make_params(**change).digest() != make_params().digest()


def test_default_key_has_at_least_3072_bits() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    config = tomllib.loads(project.read_text())["tool"]["flwr"]["app"]["config"]

    assert config["key-bits"] >= 3072


def test_training_layout_lists_its_extras_by_name() -> None:
    layout = make_layout(make_params(), phase=TRAIN, dim=3, metrics=["loss"])

    names = [extra.name for extra in layout.extras]
    assert names == [CLIPPED_SHARE, "loss", NUM_EXAMPLES, UPDATE_PEAK]


def test_evaluation_layout_has_only_count_and_metrics() -> None:
    layout = make_layout(make_params(), phase=EVALUATE, dim=0, metrics=["accuracy"])

    assert [extra.name for extra in layout.extras] == ["accuracy", NUM_EXAMPLES]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": 0}, "unknown phase 0"),
        ({"phase": 3}, "unknown phase 3"),
        ({"dim": 0}, "phase 1 cannot have 0 coordinates"),
        ({"phase": EVALUATE}, "phase 2 cannot have 3 coordinates"),
        ({"metrics": ["loss", "loss"]}, "a metric is named twice"),
        ({"metrics": ["other"]}, r"metric 'other' is not among the run's"),
        ({"metrics": [NUM_EXAMPLES]}, "metric 'num-examples' is not among the run's"),
    ],
    ids=repr,
)
def test_layout_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    values: dict[str, Any] = {"phase": TRAIN, "dim": 3, "metrics": ["loss"]}

    with pytest.raises(ParameterError, match=message):
        make_layout(make_params(), **(values | changes))


@pytest.mark.parametrize("name", [CLIPPED_SHARE, NUM_EXAMPLES, UPDATE_PEAK])
def test_metric_cannot_take_a_reserved_name(name: str) -> None:
    params = make_params(metrics={name: 1.0})

    with pytest.raises(ParameterError, match=f"metric '{name}' is not among"):
        make_layout(params, phase=TRAIN, dim=3, metrics=[name])


@given(
    st.integers(4, 24),
    st.integers(1, 2**28),
    st.floats(1e-9, 2.0**50, allow_subnormal=False),
)
def test_limbs_hold_the_largest_value_of_the_extra(
    bits: int, w_max: int, bound: float
) -> None:
    try:
        params = make_params(value_bits=bits, w_max=w_max, metrics={"m": bound})
    except CryptoError:
        return
    layout = make_layout(params, phase=EVALUATE, dim=0, metrics=["m"])

    for extra in layout.extras:
        assert extra.largest <= 1 << (params.limb_bits * extra.limbs - 2)
