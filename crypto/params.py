"""The public parameters of a run, checked together, and every width that follows.

Implements PROTOCOL.md section 2. Widths are derived, never chosen, so that
no sum of `max_contributors` clients can overflow its slot.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any, Final

from crypto.encoding import canon
from crypto.errors import ParameterError

VERSION: Final = 1
MODES: Final = ("plain", "paillier", "hybrid")
METRIC_FRACTION_BITS: Final = 16
RING_DEGREE: Final = 2048  # N
NOISE_BOUND: Final = 63  # B: no coefficient of a one-time key or error is larger
# At N = 2048 and sigma 6.5, 53 bits meet the 128-bit row against quantum computers, 54
# that against classical ones (PROTOCOL.md section 4.2).
_GOOD_MODULUS_BITS: Final = 53
_MAX_MODULUS_BITS: Final = 54
_MAX_LIMB_BITS: Final = 14
_MAX_METRIC: Final = 1 << 50  # z is made in float64, exact up to 2**53
_MIN_CLIP: Final = 2.0**-126  # smallest normal float32: updates are float32


@dataclass(frozen=True, kw_only=True)
class AggregationParams:
    """What server, clients and key holders agree on before a run.

    Attributes:
        mode: ``plain``, ``paillier`` or ``hybrid``: what a client sends.
        key_bits: Bits of the Paillier modulus n.
        num_holders: Key holders of the committee (nc); 1 means one whole key.
        threshold: Partial decryptions that open a sum (t).
        max_corrupt: Actively malicious parties tolerated (f).
        min_contributors: Smallest set that is opened (k_min).
        max_contributors: Largest set that is opened (K); widths are made for it.
        value_bits: Bits of one encoded coordinate, sign included (b).
        clip: Bound on one coordinate of an update, in the update's units.
        w_max: Number of examples that counts as weight 1; more are clamped to it.
        metrics: Largest absolute value of every metric that may travel.
        version: Version of the protocol.
    """

    mode: str
    key_bits: int
    num_holders: int
    threshold: int
    max_corrupt: int
    min_contributors: int
    max_contributors: int
    value_bits: int
    clip: float
    w_max: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        self._check_values()
        self._check_committee()
        if self.mode == "hybrid" and self.modulus_bits > _MAX_MODULUS_BITS:
            raise ParameterError(
                f"value-bits {self.value_bits} with {self.max_contributors} clients "
                f"needs a ring modulus of {self.noise_bits} bits for noise and "
                f"{self.sum_bits} for sums: {self.modulus_bits} bits, and at most "
                f"{_MAX_MODULUS_BITS} are safe; use fewer value-bits or clients"
            )
        if self.slots_per_plaintext < 1:
            raise ParameterError(
                f"a key of {self.key_bits} bits holds no slot of {self.slot_bits} "
                f"bits; use a larger key or fewer value-bits"
            )

    def _check_values(self) -> None:
        _within("version", self.version, VERSION, VERSION)
        if self.mode not in MODES:
            raise ParameterError(f"unknown mode {self.mode!r}; known: {list(MODES)}")
        _within("key-bits", self.key_bits, 64, 16384)
        if self.key_bits % 16:
            raise ParameterError(
                f"key-bits must be a multiple of 16, got {self.key_bits}"
            )
        _within("value-bits", self.value_bits, 4, 24)
        _within("w-max", self.w_max, 1, 1 << 28)
        if not _MIN_CLIP <= self.clip <= 1 / _MIN_CLIP:
            raise ParameterError(
                f"clip must be {_MIN_CLIP:.0e} to {1 / _MIN_CLIP:.0e}, got {self.clip}"
            )
        for name, bound in self.metrics.items():
            if not (math.isfinite(bound) and bound > 0):
                raise ParameterError(f"metric {name!r} needs a positive bound")
            if bound * self.w_max * 2**METRIC_FRACTION_BITS > _MAX_METRIC:
                raise ParameterError(
                    f"metric {name!r} with bound {bound:g} and w-max {self.w_max} "
                    f"needs more than 50 bits; lower one of them"
                )

    def _check_committee(self) -> None:
        _within("number of key holders", self.num_holders, 1, 255)
        _within("threshold", self.threshold, 1, self.num_holders)
        _within("max-corrupt", self.max_corrupt, 0, 255)
        _within("max-contributors", self.max_contributors, 1, 10_000)
        self._check_quorum()
        _within(
            "min-contributors",
            self.min_contributors,
            self.max_corrupt + 2,  # two honest clients in every opened sum
            self.max_contributors,
        )

    def _check_quorum(self) -> None:
        if 2 * self.threshold - self.num_holders <= self.max_corrupt:
            raise ParameterError(
                f"threshold {self.threshold} of {self.num_holders} does not stop "
                f"{self.max_corrupt} malicious key holders from opening two sets "
                f"(needs 2 * threshold - holders > malicious); raise threshold"
            )

    @property
    def max_value(self) -> int:
        """Largest absolute value of one encoded coordinate, ``2**(b-1) - 1``."""
        return (1 << (self.value_bits - 1)) - 1

    @property
    def scale(self) -> float:
        """Integer steps per unit of an update."""
        return self.max_value / self.clip

    @property
    def sum_bits(self) -> int:
        """Bits that hold any sum of `max_contributors` coordinates, sign included (v).

        PROTOCOL.md section 2.2.
        """
        return (self.max_contributors * self.max_value).bit_length() + 1

    @property
    def noise_bits(self) -> int:
        """Bits that hold any sum of `max_contributors` errors, or keys, with carries.

        L of PROTOCOL.md section 4.2; adding long integers carries at most
        ``max_contributors - 1`` into a coefficient.
        """
        return (2 * self.max_contributors * (NOISE_BOUND + 1) - 1).bit_length()

    @property
    def values_per_coefficient(self) -> int:
        """Values in one coefficient of a ring polynomial (rho)."""
        room = (_GOOD_MODULUS_BITS - self.noise_bits) // self.sum_bits
        return max(1, room)

    @property
    def modulus_bits(self) -> int:
        """Bits of the ring's modulus ``2**k``."""
        return self.noise_bits + self.values_per_coefficient * self.sum_bits

    @property
    def slot_bits(self) -> int:
        """Bits of one slot of a plaintext: a coordinate's, or a one-time key's."""
        return self.noise_bits if self.mode == "hybrid" else self.sum_bits

    @property
    def slots_per_plaintext(self) -> int:
        """Slots in one plaintext; 3 bits stay free so that |M| < n/3 (phe's range)."""
        return (self.key_bits - 3) // self.slot_bits

    @property
    def limb_bits(self) -> int:
        """Bits of one balanced digit of an extra; a digit never exceeds `max_value`."""
        return min(_MAX_LIMB_BITS, self.value_bits - 1)

    def num_sealed(self, num_values: int) -> int:
        """Count the integers that travel under Paillier: the values, or a key."""
        return RING_DEGREE if self.mode == "hybrid" else num_values

    def num_ciphertexts(self, num_values: int) -> int:
        """Count the ciphertexts of an upload of this many values."""
        return -(-self.num_sealed(num_values) // self.slots_per_plaintext)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as a manifest stores them."""
        return asdict(self) | {"metrics": dict(self.metrics)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AggregationParams":
        """Rebuild parameters from a manifest.

        Raises:
            ParameterError: If fields are missing, unknown or do not work together.
        """
        known = {item.name for item in fields(cls)}
        names = set(values) if isinstance(values, dict) else set()
        if names != known:
            raise ParameterError(
                f"parameters differ from this version's: {sorted(names ^ known)}"
            )
        try:
            return cls(**values)
        except (TypeError, AttributeError, OverflowError):
            raise ParameterError("a parameter has the wrong type") from None

    def digest(self) -> bytes:
        """Hash all fields: ``params`` of PROTOCOL.md section 2.3."""
        return sha256(b"SA/v1/params" + canon(self.to_dict())).digest()


def _within(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParameterError(f"{name} must be an integer, got {value!r}")
    if not low <= value <= high:
        raise ParameterError(f"{name} must be {low} to {high}, got {value}")
