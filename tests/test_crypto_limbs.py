"""Extras split into limbs recombine exactly after the sum."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crypto.layout import (
    EVALUATE,
    Layout,
    make_layout,
)
from crypto.params import AggregationParams
from crypto.vector import Contribution, IntVector, decode, encode
from tests.crypto_group import make_params


def _sum(vectors: list[IntVector]) -> IntVector:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total += vector
    return total


def _evaluation(**changes: Any) -> tuple[AggregationParams, Layout]:
    params = make_params(**changes)
    return params, make_layout(
        params, phase=EVALUATE, dim=0, metrics=sorted(params.metrics)
    )


def _no_update() -> NDArray[np.float32]:
    return np.zeros(0, dtype=np.float32)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
@pytest.mark.parametrize("w_max", [1, 1000, 2**20, 2**28])
@pytest.mark.parametrize("bits", range(4, 25))
def test_limbs_of_the_largest_values_recombine_exactly(
    bits: int, w_max: int, sign: float
) -> None:
    clients = 10_000
    bound = 2.0**34 / w_max  # the widest metric: 50 bits with its weight
    params, layout = _evaluation(
        value_bits=bits, w_max=w_max, max_contributors=clients, metrics={"m": bound}
    )
    one = encode(Contribution(_no_update(), w_max, {"m": sign * bound}), params, layout)

    opened = decode(clients * one, clients, params, layout)

    assert opened.num_examples == clients * w_max
    assert opened.metrics == {"m": sign * bound}


@given(st.data())
def test_limbs_of_any_clients_recombine_exactly(data: st.DataObject) -> None:
    params, layout = _evaluation(
        value_bits=data.draw(st.integers(4, 24)), metrics={"m": 2.0**20}
    )
    clients = [
        Contribution(
            _no_update(),
            data.draw(st.integers(1, 1024)),
            # Multiples of 2**-16 are exact, so the mean must be.
            {"m": data.draw(st.integers(-(2**36), 2**36)) / 2**16},
        )
        for _ in range(data.draw(st.integers(1, 5)))
    ]

    total = _sum([encode(one, params, layout) for one in clients])
    opened = decode(total, len(clients), params, layout)

    examples = sum(one.num_examples for one in clients)
    weighted = sum(
        one.num_examples * Fraction(one.metrics["m"]) * 2**16 for one in clients
    )
    assert opened.num_examples == examples
    assert opened.metrics["m"] == int(weighted) / 2**16 / examples
