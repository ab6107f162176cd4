"""Secrets and errors of the RLWE part: a discrete Gaussian, sampled without floats.

D(Z, 6.5) cut at 63: the mass outside is below 2**-72. A sample takes 16 bits of the
stream, which index a table; the few table entries that a boundary of the distribution
runs through take 64 bits more and are decided against the 80-bit distribution function.
The statistical distance of a sample is below 2**-75. Table lookups are indexed by
secrets, so not constant time. Implements PROTOCOL.md section 4.3.
"""

from bisect import bisect_right
from functools import cache
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpfr, mpz
from numpy.typing import NDArray

from crypto.params import NOISE_BOUND as BOUND
from crypto.randomness import RandomStream

SIGMA: Final = "6.5"

_SHORT_BITS = 16
_LONG_BITS = 64
_UNDECIDED = BOUND + 1
_PRECISION = 256  # bits, for the distribution function


def sample(count: int, stream: RandomStream) -> NDArray[np.int8]:
    """Draw independent samples.

    Args:
        count: How many.
        stream: ``2*count`` bytes are taken, then 8 for every undecided sample, in
            order; all little-endian.

    Returns:
        Shape (count,), each in ``[-BOUND, BOUND]``.
    """
    short = np.frombuffer(stream.take(2 * count), dtype="<u2")
    # No index is outside; mode "clip" says so and saves looking first.
    samples: NDArray[np.int8] = _table().take(short, mode="clip")
    (undecided,) = np.nonzero(samples == _UNDECIDED)
    long = np.frombuffer(stream.take(8 * len(undecided)), dtype="<u8")
    boundaries = _boundaries()
    for place, low in zip(undecided, long, strict=True):
        uniform = (int(short[place]) << _LONG_BITS) + int(low)
        samples[place] = bisect_right(boundaries, uniform) - BOUND
    return samples


@cache
def _boundaries() -> list[mpz]:
    """Return ``rint(2**80 * P(X <= i))`` for i = -63 .. 62."""
    with gmpy2.context(precision=_PRECISION):
        sigma = mpfr(SIGMA)
        weights = [
            gmpy2.exp(-mpfr(i) * i / (2 * sigma * sigma))
            for i in range(-BOUND, BOUND + 1)
        ]
        scale = (mpz(1) << (_SHORT_BITS + _LONG_BITS)) / gmpy2.fsum(weights)
        below = mpfr(0)
        boundaries = []
        for weight in weights[:-1]:
            below += weight
            boundaries.append(mpz(gmpy2.rint(below * scale)))
    return boundaries


@cache
def _table() -> NDArray[np.int8]:
    """Return the sample for every 16-bit prefix, or `_UNDECIDED`."""
    boundaries = _boundaries()
    table = np.empty(1 << _SHORT_BITS, dtype=np.int8)
    for prefix in range(1 << _SHORT_BITS):
        first = prefix << _LONG_BITS
        low, high = (
            bisect_right(boundaries, first + offset)
            for offset in (0, (1 << _LONG_BITS) - 1)
        )
        table[prefix] = low - BOUND if low == high else _UNDECIDED
    table.setflags(write=False)
    return table
