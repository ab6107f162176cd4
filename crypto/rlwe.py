"""One-time keys for the bulk of an update: ring-LWE that adds up with its keys.

A client encrypts its vector under a fresh key s that it uses once, and sends s under
Paillier. Ciphertexts and keys add up alike, so the committee opens only the sum of the
keys, and that opens only the sum of the vectors. Every client derives the same public
polynomials from the round's context, so a client that saw another model, task or round
contributes noise. Implements PROTOCOL.md section 4.2; the pattern is that of ACORN
(ePrint 2022/1461) and Willow (ePrint 2024/936).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import shake_128
from itertools import islice
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from crypto.bitpack import BitSum, pack_bits, packed_size
from crypto.encoding import u32
from crypto.errors import NoiseError, SumRangeError
from crypto.gaussian import sample
from crypto.params import NOISE_BOUND, RING_DEGREE, AggregationParams
from crypto.randomness import hedged_stream
from crypto.ring import Polynomials, transformed_size
from crypto.vector import IntVector

_BLOCKS = 32  # polynomials at once: half a megabyte
_KEY_MEAN_BOUND = 8  # absolute coefficients of a key have a mean of 5.19 +- 0.09
_KEPT_SPANS = 40  # of transformed public polynomials: those of 2.6 million values

Words = NDArray[np.uint64]


def num_coefficients(num_values: int, params: AggregationParams) -> int:
    """Return the coefficients that carry this many values: whole polynomials."""
    per_block = RING_DEGREE * params.values_per_coefficient
    return -(-num_values // per_block) * RING_DEGREE


def bulk_size(num_values: int, params: AggregationParams) -> int:
    """Return the bytes of the bulk part."""
    return packed_size(num_coefficients(num_values, params), params.modulus_bits)


def mask(
    values: IntVector,
    *,
    context: bytes,
    params: AggregationParams,
    info: bytes,
) -> tuple[bytes, IntVector]:
    """Encrypt a vector under a fresh one-time key.

    Args:
        values: Shape (num_values,), each at most `max_value` in absolute value.
        context: The round's context; the public polynomials follow from it.
        params: The run's parameters.
        info: Of this upload's randomness (`crypto.randomness.upload_info`).

    Returns:
        The ciphertext's bytes, and the one-time key, shape (N,): to be sent under
        Paillier and forgotten.
    """
    key = sample(RING_DEGREE, hedged_stream(info, "s")).astype(np.int64)
    size = num_coefficients(len(values), params)
    errors = sample(size, hedged_stream(info, "e"))
    rho, bits = params.values_per_coefficient, params.modulus_bits
    below = np.int64((1 << bits) - 1)
    bulk = []
    for span in _spans(size):
        part = _pack_values(values[span.start * rho : span.stop * rho], params)
        part <<= np.int64(params.noise_bits)
        part += errors[span]
        public = shared_polynomials(
            context, *_numbers(span), bits=bits, mean_bound=_KEY_MEAN_BOUND
        )
        part += public.times(key).reshape(-1).view(np.int64)
        part &= below
        bulk.append(pack_bits(part.view(np.uint64), bits))
    return b"".join(bulk), key


def unmask(
    total: BitSum,
    key_sum: IntVector,
    *,
    count: int,
    num_values: int,
    context: bytes,
    params: AggregationParams,
    prepared: Sequence[Polynomials] = (),
) -> tuple[IntVector, float]:
    """Decrypt a sum with the sum of the one-time keys.

    Args:
        total: The added bulk parts.
        key_sum: Shape (N,), the opened sum of the keys.
        count: Contributors.
        num_values: Length of the vector.
        context: The round's context.
        params: The run's parameters.
        prepared: What `prepare` made for this sum, if it did.

    Returns:
        Shape (num_values,), the exact sum; and the largest absolute noise.

    Raises:
        SumRangeError: If the keys are not those of this many honest clients.
        NoiseError: If keys and bulk parts do not belong together.
    """
    if np.abs(key_sum).max() > count * NOISE_BOUND:
        raise SumRangeError("the sum of the keys is larger than its contributors give")
    rho = params.values_per_coefficient
    values = np.empty((total.count, rho), dtype=np.int64)
    ends = []
    spans = _spans(total.count)
    for span, public in _publics_for_sum(spans, key_sum, context, params, prepared):
        noisy = total.total(span.start, span.stop)
        noisy -= public.times(key_sum).reshape(-1)
        sums, noise = _split(noisy, params)
        ends += [int(noise.min()), int(noise.max())]
        _unpack_values(sums, values[span], params)
    peak = _check_noise(min(ends), max(ends), count)
    flat = values.reshape(-1)
    if flat[num_values:].any():
        raise SumRangeError("the vector goes on behind its last value")
    return flat[:num_values], peak


def prepare(
    num_values: int, context: bytes, params: AggregationParams
) -> list[Polynomials]:
    """Make what `unmask` needs of the context, while the keys are still on their way.

    Returns:
        The first public polynomials, at most `_KEPT_SPANS` spans of them.
    """
    spans = islice(_spans(num_coefficients(num_values, params)), _KEPT_SPANS)
    mean_bound = _honest_mean_bound(params)
    return [_public_for_sum(span, context, params, mean_bound) for span in spans]


def prepared_size(num_values: int, params: AggregationParams) -> int:
    """Return the bytes of what `prepare` makes."""
    most = _KEPT_SPANS * _BLOCKS * RING_DEGREE
    count = min(num_coefficients(num_values, params), most)
    return transformed_size(count, params.modulus_bits, _honest_mean_bound(params))


def _publics_for_sum(
    spans: Iterator[slice],
    key_sum: IntVector,
    context: bytes,
    params: AggregationParams,
    prepared: Sequence[Polynomials],
) -> Iterator[tuple[slice, Polynomials]]:
    """Yield every span with public polynomials whose products with this sum are exact.

    A malicious client can make the sum larger than was prepared for.
    """
    mean_bound = _honest_mean_bound(params)
    if np.abs(key_sum).sum() > RING_DEGREE * mean_bound:
        mean_bound, prepared = params.max_contributors * NOISE_BOUND, ()
    for number, span in enumerate(spans):
        if number < len(prepared):
            yield span, prepared[number]
        else:
            yield span, _public_for_sum(span, context, params, mean_bound)


def _public_for_sum(
    span: slice, context: bytes, params: AggregationParams, mean_bound: int
) -> Polynomials:
    bits = params.modulus_bits
    return public_polynomials(
        context, *_numbers(span), bits=bits, mean_bound=mean_bound
    )


def _honest_mean_bound(params: AggregationParams) -> int:
    """Return the bound for a sum of keys that were drawn as they should be."""
    return isqrt(_KEY_MEAN_BOUND**2 * params.max_contributors - 1) + 1


def _check_noise(lowest: int, highest: int, count: int) -> float:
    """Return the largest noise; the carries of the sum, up to ``count - 1``, are in it.

    Raises:
        NoiseError: If it is more than this many clients give.
    """
    carries = count - 1
    if lowest < -count * NOISE_BOUND or highest > count * NOISE_BOUND + carries:
        raise NoiseError("the sum has more noise than its contributors give")
    return max(highest - carries / 2, carries / 2 - lowest)  # half is their mean


def _spans(size: int) -> Iterator[slice]:
    """Cut coefficients into a few polynomials at a time.

    One thread does them all: hashing keeps the interpreter to itself, and two threads
    take half as much CPU time again without ending earlier.
    """
    for start in range(0, size, _BLOCKS * RING_DEGREE):
        yield slice(start, min(start + _BLOCKS * RING_DEGREE, size))


def _numbers(span: slice) -> tuple[int, int]:
    """Return the number of the first polynomial in a span, and how many there are."""
    first = span.start // RING_DEGREE
    return first, span.stop // RING_DEGREE - first


def public_words(context: bytes, first: int, count: int, *, bits: int) -> Words:
    """Hash the context to the polynomials ``a_first, ..``.

    Args:
        context: The round's context.
        first: Number of the first polynomial.
        count: How many.
        bits: k.

    Returns:
        Shape (count, N), uniform mod ``2**bits``: a power of two needs no rejection.
    """
    words = np.empty((count, RING_DEGREE), dtype=np.uint64)
    below = np.uint64((1 << bits) - 1)
    for j, row in enumerate(words, start=first):
        stream = shake_128(b"SA/v1/a" + context + u32(j)).digest(8 * RING_DEGREE)
        np.bitwise_and(np.frombuffer(stream, dtype="<u8"), below, out=row)
    return words


def public_polynomials(
    context: bytes, first: int, count: int, *, bits: int, mean_bound: int
) -> Polynomials:
    """Make `public_words` ready for products with keys, or sums of keys."""
    words = public_words(context, first, count, bits=bits)
    return Polynomials(words, bits=bits, mean_bound=mean_bound)


# Virtual clients in one process all need the same ones.
shared_polynomials = lru_cache(maxsize=_KEPT_SPANS)(public_polynomials)


def _split(noisy: Words, params: AggregationParams) -> tuple[IntVector, IntVector]:
    """Split coefficients into sums and noise."""
    # Centred mod 2**k: the top bit becomes the sign.
    unused = np.uint64(64 - params.modulus_bits)
    noisy <<= unused
    noise = noisy.view(np.int64)
    noise >>= np.int64(unused)
    sums = noise + np.int64(1 << (params.noise_bits - 1))
    sums >>= np.int64(params.noise_bits)
    noise -= sums << np.int64(params.noise_bits)
    return sums, noise


def _pack_values(values: IntVector, params: AggregationParams) -> IntVector:
    """Put rho signed values into each coefficient, zeros behind the last."""
    rho = params.values_per_coefficient
    columns = np.zeros((num_coefficients(len(values), params), rho), dtype=np.int64)
    columns.reshape(-1)[: len(values)] = values
    packed = columns[:, 0].copy()
    for place in range(1, rho):
        packed += columns[:, place] << np.int64(place * params.sum_bits)
    return packed


def _unpack_values(
    sums: IntVector, columns: IntVector, params: AggregationParams
) -> None:
    """Take the signed values out of each coefficient again, lowest first."""
    rho, width = params.values_per_coefficient, params.sum_bits
    rest, unused = sums, np.int64(64 - width)
    for place in range(rho - 1):
        columns[:, place] = (rest << unused) >> unused
        rest = (rest - columns[:, place]) >> np.int64(width)
    columns[:, rho - 1] = rest
