"""The bulk part of mode hybrid: sums are exact, and what does not fit is refused."""

import secrets
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import rlwe
from crypto.bitpack import BitSum, pack_bits
from crypto.errors import NoiseError, SumRangeError
from crypto.params import NOISE_BOUND, RING_DEGREE, AggregationParams
from crypto.randomness import upload_info
from tests import ring_reference as reference
from tests.crypto_group import always, make_params

CONTEXT = bytes(range(32))
OTHER = bytes(32)

Integers = NDArray[np.int64]


def _params(clients: int = 5, value_bits: int = 20) -> AggregationParams:
    return make_params(
        mode="hybrid",
        max_contributors=clients,
        min_contributors=2,
        max_corrupt=0,
        value_bits=value_bits,
    )


# Values in a coefficient: 1, 2, 3 and 6 for five clients; 1 and the widest for 1,000.
GROUPS = [(5, 20), (5, 16), (5, 10), (5, 4), (1000, 16), (1000, 24)]

_FOUR: dict[str, Any] = {"count": 4, "size": RING_DEGREE}


def _values(params: AggregationParams, size: int, seed: int = 0) -> Integers:
    generator = np.random.default_rng(seed)
    largest = params.max_value
    return generator.integers(-largest, largest + 1, size)


def _sizes(params: AggregationParams) -> list[int]:
    block = RING_DEGREE * params.values_per_coefficient
    return [1, block - 1, block, block + 1, 2 * block + 17]


def _mask(
    values: Integers,
    params: AggregationParams,
    *,
    client_id: int = 1,
    context: bytes = CONTEXT,
) -> tuple[bytes, Integers]:
    info = upload_info(context, client_id, values)
    return rlwe.mask(values, context=context, params=params, info=info)


def _sum(bulks: list[bytes], params: AggregationParams, size: int) -> BitSum:
    total = BitSum(rlwe.num_coefficients(size, params), params.modulus_bits)
    for bulk in bulks:
        total.add(bulk)
    return total


def _unmask(
    total: BitSum,
    key_sum: Integers,
    params: AggregationParams,
    *,
    count: int,
    size: int,
    context: bytes = CONTEXT,
) -> tuple[Integers, float]:
    return rlwe.unmask(
        total, key_sum, count=count, num_values=size, context=context, params=params
    )


def test_public_polynomial_is_a_fixed_function_of_the_context() -> None:
    (first,) = rlwe.public_words(CONTEXT, 0, 1, bits=33)

    assert first[:4].tolist() == reference.public_polynomial(CONTEXT, 0, 33)[:4]
    assert first[:4].tolist() == [1596037820, 3851151900, 6133499289, 4575325437]


def test_public_polynomials_agree_with_the_reference() -> None:
    count = 2 * rlwe._BLOCKS + 1
    spans = list(rlwe._spans(count * RING_DEGREE))
    pieces = [
        rlwe.public_words(CONTEXT, *rlwe._numbers(span), bits=33) for span in spans
    ]

    words = np.concatenate(pieces).tolist()
    for j in (0, 1, rlwe._BLOCKS - 1, rlwe._BLOCKS, count - 1):
        assert words[j] == reference.public_polynomial(CONTEXT, j, 33), j
    assert spans[-1].stop == count * RING_DEGREE
    assert len({tuple(row[:4]) for row in words}) == count


def test_clients_of_one_process_share_the_public_polynomials() -> None:
    params, cache = _params(), rlwe.shared_polynomials
    cache.cache_clear()
    values = _values(params, rlwe._BLOCKS * RING_DEGREE + 1)

    for client_id in range(3):
        _mask(values, params, client_id=client_id)
    assert (cache.cache_info().misses, cache.cache_info().hits) == (2, 4)

    _mask(values, params, context=OTHER)
    assert cache.cache_info().misses == 4


@pytest.mark.parametrize(("clients", "value_bits"), GROUPS)
def test_bulk_part_and_key_agree_with_the_reference(
    clients: int, value_bits: int
) -> None:
    params = _params(clients, value_bits)
    for size in _sizes(params):
        values = _values(params, size)
        with mock.patch.object(secrets, "token_bytes", always(b"\7")):
            bulk, key = _mask(values, params, client_id=3)

        expected = reference.mask(
            values.tolist(),
            context=CONTEXT,
            client_id=3,
            widths=reference.Widths.of(clients, value_bits),
            entropy=bytes([7] * 32),
        )
        assert (bulk, key.tolist()) == expected
        assert len(bulk) == rlwe.bulk_size(size, params)


@pytest.mark.parametrize(("clients", "value_bits"), GROUPS)
def test_reference_opens_a_bulk_part(clients: int, value_bits: int) -> None:
    params, widths = (
        _params(clients, value_bits),
        reference.Widths.of(clients, value_bits),
    )
    size = _sizes(params)[-1]
    values = _values(params, size)
    bulk, key = _mask(values, params)

    opened, noise = reference.unmask(
        reference.unpack_bits(bulk, widths.modulus),
        key.tolist(),
        context=CONTEXT,
        widths=widths,
    )

    assert opened[:size] == values.tolist()
    assert not any(opened[size:])
    assert max(map(abs, noise)) <= NOISE_BOUND
    assert np.std(noise) == pytest.approx(6.5, abs=0.3)


@pytest.mark.parametrize(("clients", "value_bits"), GROUPS)
def test_sum_of_five_is_exact_for_every_length(clients: int, value_bits: int) -> None:
    params = _params(clients, value_bits)
    for size in _sizes(params):
        rows = [_values(params, size, seed) for seed in range(5)]
        masked = [_mask(row, params, client_id=i) for i, row in enumerate(rows)]
        total = _sum([bulk for bulk, _ in masked], params, size)
        keys = np.sum([key for _, key in masked], axis=0)

        opened, peak = _unmask(total, keys, params, count=5, size=size)

        assert (opened == np.sum(rows, axis=0)).all()
        assert 0 < peak <= 5 * NOISE_BOUND


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_sum_is_exact_whatever_was_prepared(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlwe, "_KEPT_SPANS", kept)
    params, size = _params(), 2 * rlwe._BLOCKS * RING_DEGREE + 17
    values = _values(params, size)
    bulk, key = _mask(values, params)

    prepared = rlwe.prepare(size, CONTEXT, params)
    opened, _ = rlwe.unmask(
        _sum([bulk], params, size),
        key,
        count=1,
        num_values=size,
        context=CONTEXT,
        params=params,
        prepared=prepared,
    )

    assert (opened == values).all()
    assert len(prepared) == kept
    taken = sum(one._spectra.nbytes for one in prepared)
    assert taken == rlwe.prepared_size(size, params)


@pytest.mark.parametrize("sign", [1, -1, 0], ids=["upper", "lower", "both"])
@pytest.mark.parametrize(("clients", "value_bits"), GROUPS)
def test_sum_of_as_many_extremes_as_fit_is_exact(
    clients: int, value_bits: int, sign: int
) -> None:
    # A bulk part is linear: as many times the same one is what as many clients add.
    params = _params(clients, value_bits)
    size = RING_DEGREE * params.values_per_coefficient + 3
    signs = np.full(size, sign or 1)
    if not sign:
        signs[1::2] = -1
    bulk, key = _mask(signs * params.max_value, params)
    total = _sum([bulk] * clients, params, size)

    opened, _ = _unmask(total, clients * key, params, count=clients, size=size)

    assert (opened == clients * params.max_value * signs).all()


def test_sum_of_a_thousand_clients_is_exact() -> None:
    params, size = _params(1000, 16), RING_DEGREE + 100
    total, expected = _sum([], params, size), np.zeros(size, dtype=np.int64)
    keys = np.zeros(RING_DEGREE, dtype=np.int64)
    for client_id in range(1000):
        values = _values(params, size, client_id)
        bulk, key = _mask(values, params, client_id=client_id)
        total.add(bulk)
        keys += key
        expected += values

    opened, peak = _unmask(total, keys, params, count=1000, size=size)

    assert (opened == expected).all()
    assert peak < 12 * 6.5 * 1000**0.5


def _made(
    sums: list[int], key_sum: Integers, noise: list[int], params: AggregationParams
) -> BitSum:
    """Encrypt one polynomial of sums with given sums of keys and, in turn, errors."""
    k, errors = params.modulus_bits, np.resize(noise, RING_DEGREE).tolist()
    a = reference.public_polynomial(CONTEXT, 0, k)
    hiding = reference.times(a, key_sum.tolist(), k)
    made = [
        (product + error + (x << params.noise_bits)) % (1 << k)
        for product, error, x in zip(hiding, errors, sums, strict=True)
    ]
    total = BitSum(RING_DEGREE, k)
    total.add(pack_bits(np.array(made, dtype=np.uint64), k))
    return total


@pytest.mark.parametrize("key", [63_000, -63_000])
@pytest.mark.parametrize("value_bits", [16, 20, 24])
def test_largest_sums_of_a_thousand_keys_errors_and_values_are_exact(
    value_bits: int, key: int
) -> None:
    params = _params(1000, value_bits)
    key_sum = np.full(RING_DEGREE, key, dtype=np.int64)
    key_sum[::3] *= -1
    largest = 1000 * params.max_value
    sums = np.resize([largest, -largest, 0, 1, -1], RING_DEGREE)
    total = _made(sums.tolist(), key_sum, [63_000, -63_000], params)

    opened, peak = _unmask(total, key_sum, params, count=1000, size=RING_DEGREE)

    assert (opened == sums).all()
    assert peak == 63_000 + 999 / 2  # from the mean of a thousand clients' carries


@pytest.mark.parametrize("clients", [5, 1000])
@pytest.mark.parametrize("mean", ["honest", "more", "most"])
def test_sum_is_exact_however_large_the_keys_are(mean: str, clients: int) -> None:
    # Above the mean that drawn keys have, what was prepared for them is not exact.
    params = _params(clients, 20)
    honest = rlwe._honest_mean_bound(params)
    assert 8 * clients**0.5 <= honest < 8 * clients**0.5 + 1
    key = {"honest": honest, "more": honest + 1, "most": clients * NOISE_BOUND}[mean]
    key_sum = np.resize(np.array([key, -key]), RING_DEGREE)
    sums = np.resize([clients * params.max_value, 0, -1], RING_DEGREE)
    total = _made(sums.tolist(), key_sum, [clients * NOISE_BOUND, 0], params)

    opened, _ = rlwe.unmask(
        total,
        key_sum,
        count=clients,
        num_values=RING_DEGREE,
        context=CONTEXT,
        params=params,
        prepared=rlwe.prepare(RING_DEGREE, CONTEXT, params),
    )

    assert (opened == sums).all()


def test_key_sum_beyond_its_contributors_is_refused() -> None:
    params, limit = _params(), 4 * NOISE_BOUND
    keys = np.zeros(RING_DEGREE, dtype=np.int64)
    for place, value in ((0, limit + 1), (RING_DEGREE - 1, -limit - 1)):
        wrong = keys.copy()
        wrong[place] = value
        with pytest.raises(SumRangeError, match="the sum of the keys is larger") as why:
            _unmask(
                _made([0] * RING_DEGREE, wrong, [0], params), wrong, params, **_FOUR
            )
        assert why.type is SumRangeError
    keys[0], keys[1] = limit, -limit

    opened, peak = _unmask(
        _made([7] * RING_DEGREE, keys, [0], params), keys, params, **_FOUR
    )

    assert (set(opened.tolist()), peak) == ({7}, 3 / 2)


@pytest.mark.parametrize(
    ("largest", "beyond"),
    [
        (4 * NOISE_BOUND + 3, 4 * NOISE_BOUND + 4),
        (-4 * NOISE_BOUND, -4 * NOISE_BOUND - 1),
    ],
    ids=["with carries", "below"],
)
def test_noise_beyond_its_contributors_is_refused(largest: int, beyond: int) -> None:
    # Five clients have room for it; the four that are in the set do not make it.
    params, keys = _params(), np.zeros(RING_DEGREE, dtype=np.int64)
    sums = [0] * RING_DEGREE
    opened, peak = _unmask(_made(sums, keys, [largest], params), keys, params, **_FOUR)
    assert not opened.any()
    assert peak == 4 * NOISE_BOUND + 3 / 2

    with pytest.raises(NoiseError, match="more noise than its contributors give"):
        _unmask(_made(sums, keys, [0, beyond], params), keys, params, **_FOUR)


@pytest.mark.parametrize("place", [0, 1, RING_DEGREE - 1])
@pytest.mark.parametrize("change", [1, -1])
def test_key_that_is_off_by_one_opens_nothing(place: int, change: int) -> None:
    params = _params()
    bulk, key = _mask(_values(params, 100), params)
    key[place] = key[place] + change
    total = _sum([bulk], params, 100)

    with pytest.raises(NoiseError):
        _unmask(total, key, params, count=1, size=100)


def test_key_of_another_context_opens_nothing() -> None:
    params, values = _params(), _values(_params(), 100)
    bulk, key = _mask(values, params, context=OTHER)
    total = _sum([bulk], params, 100)

    with pytest.raises(NoiseError):
        _unmask(total, key, params, count=1, size=100)
    opened, _ = _unmask(total, key, params, count=1, size=100, context=OTHER)
    assert (opened == values).all()


@pytest.mark.parametrize("value_bits", [20, 16, 4])
def test_value_behind_the_last_is_refused(value_bits: int) -> None:
    params = _params(5, value_bits)
    keys, sums = np.zeros(RING_DEGREE, dtype=np.int64), [0] * RING_DEGREE
    sums[-1] = 1 << (params.sum_bits * (params.values_per_coefficient - 1))
    total = _made(sums, keys, [0], params)
    size = RING_DEGREE * params.values_per_coefficient

    opened, _ = _unmask(total, keys, params, count=1, size=size)
    assert opened.tolist() == [0] * (size - 1) + [1]
    with pytest.raises(SumRangeError, match="goes on behind its last value"):
        _unmask(total, keys, params, count=1, size=size - 1)


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049])
def test_every_length_takes_whole_polynomials(size: int) -> None:
    params = _params()
    blocks = 2 if size > RING_DEGREE else 1

    assert rlwe.num_coefficients(size, params) == blocks * RING_DEGREE
    assert rlwe.bulk_size(size, params) == blocks * 256 * params.modulus_bits
