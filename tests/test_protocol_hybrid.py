"""What crypto/PROTOCOL.md says about mode hybrid is recomputed from the code."""

import re
from hashlib import sha256

import pytest

from crypto import gaussian, params
from crypto.params import AggregationParams
from tests import ring_reference
from tests.protocol_example import CONTRIBUTIONS, Example
from tests.protocol_text import (
    DOCUMENT,
    section,
    table,
    written_integers,
    written_values,
)


def hybrid_params(clients: int, value_bits: int, key_bits: int) -> AggregationParams:
    return AggregationParams(
        mode="hybrid",
        key_bits=key_bits,
        num_holders=5,
        threshold=4,
        max_corrupt=0,
        min_contributors=2,
        max_contributors=clients,
        value_bits=value_bits,
        clip=1.0,
        w_max=100,
    )


def test_hybrid_width_examples_follow_from_the_parameters() -> None:
    rows = table("4.2", "K")
    assert len(rows) == 10
    for clients, value_bits, *derived in rows:
        small, large = (
            hybrid_params(int(clients), int(value_bits), bits) for bits in (2048, 3072)
        )
        rho, k = small.values_per_coefficient, small.modulus_bits
        widths = [small.noise_bits, small.sum_bits, rho, k]
        assert [int(cell) for cell in derived[:4]] == widths, clients
        assert float(derived[4]) == pytest.approx(k / 8 / rho, abs=0.0051)
        counts = [own.num_ciphertexts(1) for own in (small, large)]
        assert [int(cell) for cell in derived[5:]] == counts, clients


def test_constants_of_the_ring_are_as_written() -> None:
    constants = {row[0]: row[1] for row in table("4.2", "name")}

    assert int(constants["N"]) == params.RING_DEGREE
    assert int(constants["B"]) == params.NOISE_BOUND
    assert constants["sigma"] == gaussian.SIGMA
    assert constants["rho"] == f"`max(1, floor(({params._GOOD_MODULUS_BITS} - L) / v))`"
    assert constants["k"] == f"`L + rho*v`, at most {params._MAX_MODULUS_BITS}"


def test_mode_row_names_every_mode() -> None:
    (row,) = [row for row in table("2.1", "field") if row[0] == "`mode`"]

    assert re.findall(r"`(\w+)`", row[2]) == list(params.MODES)
    assert DOCUMENT.splitlines()[2].endswith("modes `plain`, `paillier` and `hybrid`.")


def test_undecided_entries_are_as_many_as_written() -> None:
    undecided = (gaussian._table() == gaussian._UNDECIDED).sum()

    assert f"These are {undecided} of the 65,536 values" in section("4.3")


def test_hybrid_opens_the_same_sum_as_paillier() -> None:
    values = written_values()

    assert values["sum of x in mode hybrid"] == values["sum of x"]


def test_hybrid_example_opens_for_the_reference() -> None:
    example, widths = Example("hybrid"), ring_reference.Widths.of(3, 8)
    sealed = [
        ring_reference.mask(
            example.vector(client_id).tolist(),
            context=bytes.fromhex(written_values()["ctx in mode hybrid"]),
            client_id=client_id,
            widths=widths,
            entropy=bytes([client_id] * 32),
        )
        for client_id in CONTRIBUTIONS
    ]
    for client_id, (bulk, _) in zip(CONTRIBUTIONS, sealed, strict=True):
        name = f"D_c of client {client_id}"
        assert sha256(bulk).hexdigest() == written_values()[name].replace(" ", "")

    columns = zip(*(ring_reference.unpack_bits(b, 49) for b, _ in sealed), strict=True)
    keys = zip(*(key for _, key in sealed), strict=True)
    opened, _ = ring_reference.unmask(
        [sum(column) for column in columns],
        [sum(pair) for pair in keys],
        context=example.context,
        widths=widths,
    )

    assert opened[:15] == written_integers("sum of x in mode hybrid")
    assert not any(opened[15:])
