"""The bulk part of mode hybrid a second time, with Python's big integers.

Imports nothing of crypto/ and no numpy: products are one multiplication of two huge
integers, the distribution function comes from decimal arithmetic. Section numbers are
those of crypto/PROTOCOL.md.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache

from tests.crypto_reference import counter_mode, hedged_key, upload_info

DEGREE = 2048
BOUND = 63
_LIMB = 12  # bytes of a coefficient in a product: 54 + 21 + 11 bits and some to spare


@dataclass(frozen=True)
class Widths:
    """The widths of section 2.2 for K contributors and b value bits."""

    noise: int
    sum: int
    per_coefficient: int

    @classmethod
    def of(cls, clients: int, value_bits: int) -> "Widths":
        """Find the smallest widths that hold every sum."""
        largest = clients * (2 ** (value_bits - 1) - 1)
        noise = next(w for w in range(1, 64) if 2**w >= 2 * clients * (BOUND + 1))
        total = next(w for w in range(1, 64) if 2 ** (w - 1) > largest)
        fitting = [rho for rho in range(1, 54) if noise + rho * total <= 53]
        return cls(noise, total, max(fitting, default=1))

    @property
    def modulus(self) -> int:
        """Bits of the ring's modulus."""
        return self.noise + self.per_coefficient * self.sum


def times(a: Sequence[int], s: Sequence[int], bits: int) -> list[int]:
    """Multiply mod X^N + 1 and 2^bits by Kronecker substitution.

    Args:
        a: Coefficients in ``[0, 2**bits)``.
        s: Small coefficients, signed.
        bits: Of the modulus.
    """
    plus, minus = ([max(0, sign * x) for x in s] for sign in (1, -1))
    pairs = zip(_convolve(a, plus), _convolve(a, minus), strict=True)
    product = [x - y for x, y in pairs]
    size = len(a)
    folded = [product[i] - product[size + i] for i in range(size)]
    return [c % (1 << bits) for c in folded]


def _convolve(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Multiply polynomials with coefficients of 0 or more."""
    one, two = (
        int.from_bytes(b"".join(c.to_bytes(_LIMB, "little") for c in poly), "little")
        for poly in (a, b)
    )
    octets = (one * two).to_bytes(2 * len(a) * _LIMB, "little")
    return [
        int.from_bytes(octets[at : at + _LIMB], "little")
        for at in range(0, len(octets), _LIMB)
    ]


def public_polynomial(context: bytes, j: int, bits: int) -> list[int]:
    """Return a_j of section 4.2."""
    data = b"SA/v1/a" + context + struct.pack(">I", j)
    octets = hashlib.shake_128(data).digest(8 * DEGREE)
    return [word % (1 << bits) for word in struct.unpack(f"<{DEGREE}Q", octets)]


@cache
def boundaries() -> list[int]:
    """Return F_-63 .. F_62 of section 4.3, with a hundred decimal digits."""
    with localcontext() as context:
        context.prec = 100
        weights = weights_of_sigma()
        scale, below, found = Decimal(2) ** 80 / sum(weights), Decimal(0), []
        for weight in weights[:-1]:
            below += weight
            found.append(int((below * scale).to_integral_value(ROUND_HALF_EVEN)))
        return found


def weights_of_sigma() -> list[Decimal]:
    """Return exp(-i^2 / (2 * 6.5^2)) for i = -63 .. 63, in the current precision."""
    return [(Decimal(-i * i) / Decimal("84.5")).exp() for i in range(-BOUND, BOUND + 1)]


def sample(key: bytes, count: int) -> list[int]:
    """Draw from the Gaussian of section 4.3 with the stream under an AES key."""
    short = struct.unpack(f"<{count}H", counter_mode(key, 2 * count))
    split = {boundary >> 64 for boundary in boundaries()}
    undecided = sum(prefix in split for prefix in short)
    octets = counter_mode(key, 2 * count + 8 * undecided)[2 * count :]
    rest = iter(struct.unpack(f"<{undecided}Q", octets))
    samples = []
    for prefix in short:
        uniform = (prefix << 64) + (next(rest) if prefix in split else 0)
        samples.append(sum(f <= uniform for f in boundaries()) - BOUND)
    return samples


def pack_bits(values: Sequence[int], bits: int) -> bytes:
    """Write integers side by side, the first one lowest (section 4.5)."""
    total = sum(value << (bits * i) for i, value in enumerate(values))
    return total.to_bytes(len(values) * bits // 8, "little")


def unpack_bits(octets: bytes, bits: int) -> list[int]:
    total = int.from_bytes(octets, "little")
    count = len(octets) * 8 // bits
    return [total >> (bits * i) & ((1 << bits) - 1) for i in range(count)]


def pack_values(values: Sequence[int], widths: Widths) -> list[int]:
    """Put values into the coefficients of whole polynomials, lowest first."""
    rho = widths.per_coefficient
    rows = [values[at : at + rho] for at in range(0, len(values), rho)]
    packed = [sum(x << (widths.sum * i) for i, x in enumerate(row)) for row in rows]
    return packed + [0] * (-len(packed) % DEGREE)


def mask(
    values: Sequence[int],
    *,
    context: bytes,
    client_id: int,
    widths: Widths,
    entropy: bytes,
) -> tuple[bytes, list[int]]:
    """Encrypt a vector under the one-time key that follows from the entropy."""
    info = upload_info(context, client_id, values)
    s = sample(hedged_key(entropy, info, "s"), DEGREE)
    packed = pack_values(values, widths)
    e = sample(hedged_key(entropy, info, "e"), len(packed))
    k, masked = widths.modulus, []
    for at in range(0, len(packed), DEGREE):
        hiding = times(public_polynomial(context, at // DEGREE, k), s, k)
        for product, error, x in zip(hiding, e[at:], packed[at:], strict=False):
            masked.append((product + error + (x << widths.noise)) % (1 << k))
    return pack_bits(masked, k), s


def unmask(
    bulk: Sequence[int], key_sum: Sequence[int], *, context: bytes, widths: Widths
) -> tuple[list[int], list[int]]:
    """Return the summed values, all slots of them, and the noise."""
    k, values, noise = widths.modulus, [], []
    for at in range(0, len(bulk), DEGREE):
        hiding = times(public_polynomial(context, at // DEGREE, k), key_sum, k)
        for c, product in zip(bulk[at:], hiding, strict=False):
            d = _centred(c - product, k)
            noise.append(_centred(d, widths.noise))
            rest = (d - noise[-1]) >> widths.noise
            for _ in range(widths.per_coefficient):
                values.append(_centred(rest, widths.sum))
                rest = (rest - values[-1]) >> widths.sum
    return values, noise


def _centred(value: int, bits: int) -> int:
    """Return the representative mod 2^bits in [-2^(bits-1), 2^(bits-1))."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half
