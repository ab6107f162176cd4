"""A broadcast carries the model and gives every reader the same facts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crypto.context import RoundFacts, model_digest
from crypto.encoding import canon, decode
from crypto.errors import MalformedMessageError
from crypto.wire import (
    Broadcast,
    pack_arrays,
)

ARRAYS: list[tuple[str, Any]] = [
    ("weight", np.arange(6, dtype="<f4").reshape(2, 3)),
    ("bias", np.array(0.5, dtype="<f8")),
    ("empty", np.zeros((0, 4), dtype="<f2")),
]
BROADCAST = Broadcast(
    run_id=bytes(16),
    round=1,
    phase=1,
    metrics=["loss"],
    arrays_key="arrays",
    arrays=pack_arrays(ARRAYS),
    records={"config": {"lr": 0.1, "names": ["a"], "on": True}},
)


@pytest.mark.parametrize(
    "array",
    [
        None,
        "four",
        [],
        ["w", "<f4", [1]],
        [1, "<f4", [1], bytes(4)],
        ["w", ">f4", [1], bytes(4)],
        ["w", "<i8", [1], bytes(8)],
        ["w", "|O", [1], bytes(8)],
        ["w", "<f4", [2], bytes(4)],
        ["w", "<f4", [1], bytes(3)],
        ["w", "<f4", [-1], bytes(4)],
        ["w", "<f4", [1.0], bytes(4)],
        ["w", "<f4", [True], bytes(4)],
        ["w", "<f4", b"", bytes(4)],
        ["w", "<f4", "", bytes(4)],
        ["w", "<f4", {}, bytes(4)],
        ["w", "<f4", [10**19], b""],
        ["w", "<f4", [1] * 100, bytes(4)],
        ["w", "<f4", [1], "data"],
        ["w", "<f4", [1], None],
    ],
    ids=repr,
)
def test_array_that_is_none_is_malformed(array: Any) -> None:
    values: Any = decode(BROADCAST.to_bytes())

    with pytest.raises(MalformedMessageError):
        Broadcast.from_bytes(canon(values | {"arrays": [array]}))


def test_arrays_arrive_with_name_shape_type_and_values() -> None:
    arrived = Broadcast.from_bytes(BROADCAST.to_bytes()).named_arrays()

    for (name, sent), (arrived_name, array) in zip(ARRAYS, arrived, strict=True):
        assert (arrived_name, array.shape) == (name, sent.shape)
        assert (array.dtype, array.tobytes()) == (sent.dtype, sent.tobytes())


def test_arrays_arrive_writable() -> None:
    assert all(array.flags.writeable for _, array in BROADCAST.named_arrays())


def test_big_endian_array_is_sent_little_endian() -> None:
    little = np.array([1.5, -2.0], dtype="<f4")

    assert pack_arrays([("w", little.astype(">f4"))]) == pack_arrays([("w", little)])


def test_facts_of_a_training_broadcast() -> None:
    facts = BROADCAST.facts({"seed": 1})

    assert facts == RoundFacts(
        run_id=bytes(16),
        round=1,
        phase=1,
        model=model_digest(ARRAYS),
        dim=7,
        metrics=("loss",),
        run_config=facts.run_config,
        records=facts.records,
    )


def test_evaluation_carries_no_coordinates() -> None:
    assert replace(BROADCAST, phase=2).facts({}).dim == 0


def test_name_of_the_array_record_changes_the_facts() -> None:
    renamed = replace(BROADCAST, arrays_key="model")

    assert renamed.facts({}) != BROADCAST.facts({})
