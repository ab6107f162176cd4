"""Scenarios for tests/vectors/ about the bulk part of mode hybrid."""

import hashlib
from collections.abc import Sequence
from typing import Any

from tests import ring_reference as reference
from tests.message_vectors import DIGEST, Y_SEED, Scenario, scenario

KEY = bytes(range(32))
_ORIGIN = "tests/ring_reference.py: big integers and decimals of plain Python"


def ring_scenarios() -> dict[str, Scenario]:
    """Compute every scenario of the ring, with where it comes from."""
    made = {
        **_polynomial_scenarios(),
        **_sample_scenarios(),
        **_product_scenarios(),
        **_bit_scenarios(),
        **_bulk_scenarios(),
        **_sum_scenarios(),
    }
    for one in made.values():
        one["origin"] = _ORIGIN
    return made


def hashed(words: Sequence[int]) -> str:
    """Hash integers below 2^64, 8 little-endian bytes each."""
    return hashlib.sha256(b"".join(w.to_bytes(8, "little") for w in words)).hexdigest()


def resized(pattern: Sequence[int], count: int) -> list[int]:
    """Repeat a pattern up to a length."""
    return [pattern[i % len(pattern)] for i in range(count)]


def _hex(words: Sequence[int]) -> list[str]:
    return [f"{word:x}" for word in words]


def _polynomial_scenarios() -> dict[str, Scenario]:
    made = {}
    for name, number, bits in (
        ("first", 0, 41),
        ("second", 1, 41),
        ("last_of_two_million_values", 1023, 54),
    ):
        a = reference.public_polynomial(DIGEST, number, bits)
        given = {"context": DIGEST.hex(), "number": number, "bits": bits}
        output = {"first": _hex(a[:4]), "sha256": hashed(a)}
        made[f"public_polynomial_{name}"] = scenario("polynomial", given, output)
    return made


def _sample_scenarios() -> dict[str, Scenario]:
    made = {}
    for name, count in (("sixteen_samples", 16), ("twenty_thousand_samples", 20_000)):
        samples = reference.sample(KEY, count)
        output = {"first": samples[:16], "sha256": hashed([s + 63 for s in samples])}
        given = {"stream_key": KEY.hex(), "count": count}
        made[name] = scenario("sample", given, output)
    return made


def _product_scenarios() -> dict[str, Scenario]:
    cases: dict[str, tuple[int, int, list[int]]] = {
        "product_of_31_bits": (31, 8, [8, -8]),
        "product_of_43_bits": (43, 63, [63]),
        "product_of_51_bits": (51, 8, [1, -6, 5, 0, 13]),
        "product_of_54_bits": (54, 63, [63, -63]),
        "product_of_53_bits_with_a_sum_of_keys": (53, 63_000, [63_000]),
        "product_of_54_bits_with_a_sum_of_keys": (54, 63_000, [63_000, -63_000, 1]),
    }
    made = {}
    for name, (bits, mean_bound, pattern) in cases.items():
        a = reference.public_polynomial(Y_SEED, 0, bits)
        product = reference.times(a, resized(pattern, reference.DEGREE), bits)
        given = {
            "context": Y_SEED.hex(),
            "bits": bits,
            "mean_bound": mean_bound,
            "small": pattern,
        }
        output = {"first": _hex(product[:4]), "sha256": hashed(product)}
        made[name] = scenario("product", given, output)
    return made


def _bit_scenarios() -> dict[str, Scenario]:
    values = [1, 2**41 - 1, 0, 2**40, 12345678901, 2**41 - 2, 7, 2**20]
    packed = reference.pack_bits(values, 41).hex()
    given = {"bits": 41, "count": 8}
    return {
        "pack_bits_of_eight": scenario(
            "pack-bits", given | {"values": values}, output=packed
        ),
        "unpack_bits_of_eight": scenario(
            "unpack-bits", given | {"packed": packed}, output=values
        ),
        "unpack_bits_one_byte_short": scenario(
            "unpack-bits",
            given | {"packed": packed[:-2]},
            expect="MalformedMessageError",
        ),
        "unpack_bits_one_byte_long": scenario(
            "unpack-bits",
            given | {"packed": packed + "00"},
            expect="MalformedMessageError",
        ),
    }


def _bulk_scenarios() -> dict[str, Scenario]:
    """Mask updates whose blocks are not full, full, and more than one."""
    cases = {
        "bulk_of_one_value": (100, 20, [-524287], 1),
        "bulk_of_two_values_a_coefficient": (10, 16, [32767, -32767, 5], 4096),
        "bulk_of_four_values_a_coefficient": (3, 8, [127, -1, 0, -127, 64], 9000),
        "bulk_of_a_thousand_clients": (1000, 24, [8388607, -8388607], 2049),
    }
    return {name: _bulk_scenario(*case) for name, case in cases.items()}


def _bulk_scenario(
    clients: int, value_bits: int, pattern: list[int], count: int
) -> Scenario:
    widths = reference.Widths.of(clients, value_bits)
    bulk, key = reference.mask(
        resized(pattern, count),
        context=DIGEST,
        client_id=3,
        widths=widths,
        entropy=KEY,
    )
    given = {
        "clients": clients,
        "value_bits": value_bits,
        "context": DIGEST.hex(),
        "client_id": 3,
        "entropy": KEY.hex(),
        "values": pattern,
        "count": count,
    }
    output: dict[str, Any] = {
        "bits": widths.modulus,
        "key": key[:16],
        "first": bulk[:32].hex(),
        "bytes": len(bulk),
        "sha256": hashlib.sha256(bulk).hexdigest(),
    }
    return scenario("bulk", given, output)


def _sum_scenarios() -> dict[str, Scenario]:
    """Open sums of masked vectors with the sum of their keys, or with another one."""
    rows = [[1, -2, 3], [100, -127, 127], [-128 + 1, 0, 0]]
    given = {
        "clients": 3,
        "value_bits": 8,
        "context": DIGEST.hex(),
        "entropy": KEY.hex(),
        "rows": rows,
        "added_to_the_key": 0,
        "num_values": 3,
    }
    output = [sum(column) for column in zip(*rows, strict=True)]
    return {
        "open_a_sum_of_three": scenario("open-bulk", given, output),
        "open_with_another_key": scenario(
            "open-bulk", given | {"added_to_the_key": 1}, expect="NoiseError"
        ),
        "open_with_too_large_a_key": scenario(
            "open-bulk", given | {"added_to_the_key": 1000}, expect="SumRangeError"
        ),
        "open_fewer_values_than_there_are": scenario(
            "open-bulk", given | {"num_values": 2}, expect="SumRangeError"
        ),
    }
