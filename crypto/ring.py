"""Exact products in ``Z_q[X] / (X**N + 1)`` with a small factor, by floating-point FFT.

The large factor is cut into digits, so few bits each that every sum of products stays
far below the 53 bits of a float. The digits are balanced, each around zero by its own
width. Implements PROTOCOL.md section 4.4.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from crypto.params import RING_DEGREE as DEGREE

# Of a sum of N products, sign aside: five fewer than a float has, for what rounding
# loses in the transforms: at most an eighth with the worst factors known.
_EXACT_BITS = 48
_ROWS = 8  # polynomials in one FFT call: measured fastest with one thread

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]
Spectrum = NDArray[np.complex128]


class Polynomials:
    """Polynomials ready to be multiplied with many small ones.

    Args:
        coefficients: Shape (count, N), each in ``[0, 2**bits)``.
        bits: k: products are taken mod ``2**k``.
        mean_bound: Largest mean of the absolute coefficients of a small one.
    """

    def __init__(self, coefficients: Words, *, bits: int, mean_bound: int) -> None:
        self._cuts = digit_cuts(bits, mean_bound)
        self._mean_bound = mean_bound
        # Half of every digit's range is added, with carries, and taken away from
        # each digit by itself: a digit is then a field in two's complement.
        centre = np.uint64(sum(1 << (at + width - 1) for at, width in self._cuts))
        shape = (len(self._cuts), len(coefficients), DEGREE // 2)
        self._spectra = np.empty(shape, dtype=np.complex128)
        for rows in _row_spans(len(coefficients)):
            balanced = coefficients[rows] + centre
            balanced ^= centre
            for spectra, (at, width) in zip(self._spectra, self._cuts, strict=True):
                _forward(_signed_field(balanced, at, width), out=spectra[rows])

    def times(self, small: Integers) -> Words:
        """Multiply every polynomial by a small one.

        Args:
            small: Shape (N,).

        Returns:
            Shape (count, N), mod 2**64; the low `bits` bits are the product.

        Raises:
            ValueError: If it is larger than was said: the product might be wrong.
        """
        if np.abs(small).sum() > DEGREE * self._mean_bound:
            raise ValueError("the factor is too large for an exact product")
        count, half = self._spectra.shape[1:]
        factor = _forward(small[None, :], out=np.empty((1, half), dtype=np.complex128))
        product = np.zeros((count, DEGREE), dtype=np.uint64)
        for rows in _row_spans(count):
            for spectra, (at, _) in zip(self._spectra, self._cuts, strict=True):
                near = _backward(spectra[rows] * factor)
                part = np.rint(near, out=near).astype(np.int64).view(np.uint64)
                part <<= np.uint64(at)
                product[rows, :half] += part[..., 0]
                product[rows, half:] += part[..., 1]
        return product


def digit_cuts(bits: int, mean_bound: int) -> list[tuple[int, int]]:
    """Cut coefficients into as few digits as products stay exact with.

    Args:
        bits: Of a coefficient.
        mean_bound: Largest mean of the absolute coefficients of the other factor.

    Returns:
        Lowest bit and number of bits of every digit.
    """
    # A digit is at most 2**(width - 1) in absolute value.
    widest = _EXACT_BITS + 1 - (DEGREE * mean_bound - 1).bit_length()
    width = -(-bits // -(-bits // widest))
    return [(at, min(width, bits - at)) for at in range(0, bits, width)]


def transformed_size(count: int, bits: int, mean_bound: int) -> int:
    """Return the bytes of polynomials of so many coefficients, ready for products."""
    per_digit = count // 2 * np.dtype(np.complex128).itemsize
    return len(digit_cuts(bits, mean_bound)) * per_digit


def _row_spans(count: int) -> Iterator[slice]:
    for start in range(0, count, _ROWS):
        yield slice(start, start + _ROWS)


def _signed_field(words: Words, at: int, width: int) -> Integers:
    """Return `width` bits of every word, in two's complement."""
    field = (words << np.uint64(64 - at - width)).view(np.int64)
    field >>= np.int64(64 - width)
    return field


def _forward(polynomials: Integers, *, out: Spectrum) -> Spectrum:
    """Evaluate at half of the roots of ``X**N + 1``; the others are conjugates."""
    half = DEGREE // 2
    out.real, out.imag = polynomials[:, :half], polynomials[:, half:]
    out *= _twist()
    return np.fft.ifft(out, axis=1, norm="forward", out=out)


def _backward(spectrum: Spectrum) -> NDArray[np.float64]:
    """Return coefficients t and t + N/2 side by side, shape (count, N/2, 2)."""
    folded = np.fft.fft(spectrum, axis=1, norm="forward", out=spectrum)
    folded *= _untwist()
    return folded.view(np.float64).reshape(*folded.shape, 2)


@cache
def _twist() -> Spectrum:
    """Return ``exp(i*pi*t/N)`` for t below N/2."""
    twist: Spectrum = np.exp(1j * np.pi * np.arange(DEGREE // 2) / DEGREE)
    return twist


@cache
def _untwist() -> Spectrum:
    """Return what takes the twist out again."""
    return np.conj(_twist())
