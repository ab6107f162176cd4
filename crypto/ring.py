"""Exact products in ``Z_q[X] / (X**N + 1)`` with a small factor, by floating-point FFT.

The large factor is cut into digits of half (or a third) of its bits, so that every sum
of products stays far below the 53 bits of a float. The digits are balanced, each
around zero by its own width. Implements PROTOCOL.md section 4.4.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crypto.params import RING_DEGREE as DEGREE

CLIENT_DIGITS: Final = 2  # exact for |s| <= 63
SERVER_DIGITS: Final = 3  # exact for a sum of 10,000 keys, whatever clients send

_ROWS = 8  # polynomials in one FFT call: measured fastest with one thread

Words = NDArray[np.uint64]
Spectrum = NDArray[np.complex128]


class SmallFactor:
    """A polynomial with small coefficients, ready to be multiplied with many others.

    Args:
        coefficients: Shape (N,); integers, at most 630,000 in absolute value.
        bits: k: products are taken mod ``2**k``.
        digits: Into how many the other factor is cut.
    """

    def __init__(
        self, coefficients: NDArray[np.int64], *, bits: int, digits: int
    ) -> None:
        self._spectrum = _forward(coefficients[None, :])
        width = -(-bits // digits)
        self._cuts = [
            (at, min(width, bits - at)) for at in range(0, bits, width)
        ]  # lowest bit and bits of every digit
        self._centre = np.uint64(sum(1 << (at + size - 1) for at, size in self._cuts))

    def times(self, polynomials: Words) -> Words:
        """Multiply polynomials.

        Args:
            polynomials: Shape (count, N), each coefficient in ``[0, 2**bits)``.

        Returns:
            Shape (count, N), mod 2**64; the low `bits` bits are the product.
        """
        product = np.zeros(polynomials.shape, dtype=np.uint64)
        for start in range(0, len(polynomials), _ROWS):
            rows = polynomials[start : start + _ROWS]
            # Half of every digit's range is added, with carries, and taken away from
            # each digit by itself: a digit is then a field in two's complement.
            balanced = rows + self._centre
            balanced ^= self._centre
            for at, width in self._cuts:
                digit = (balanced << np.uint64(64 - at - width)).view(np.int64)
                digit >>= np.int64(64 - width)
                part = self._times_digit(digit)
                part <<= np.uint64(at)
                product[start : start + _ROWS, : DEGREE // 2] += part[..., 0]
                product[start : start + _ROWS, DEGREE // 2 :] += part[..., 1]
        return product

    def _times_digit(self, digit: NDArray[np.int64]) -> Words:
        """Return the product, coefficients t and t + N/2 side by side."""
        spectrum = _forward(digit)
        spectrum *= self._spectrum
        near = _backward(spectrum)
        exact = np.rint(near, out=near).astype(np.int64)
        return exact.view(np.uint64)


def _forward(polynomials: NDArray[np.int64]) -> Spectrum:
    """Evaluate at half of the roots of ``X**N + 1``; the others are conjugates."""
    half = DEGREE // 2
    folded = np.empty((len(polynomials), half), dtype=np.complex128)
    folded.real, folded.imag = polynomials[:, :half], polynomials[:, half:]
    folded *= _twist()
    return np.fft.ifft(folded, axis=1, norm="forward", out=folded)


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
