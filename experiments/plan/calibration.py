"""How fast this machine is at the small pieces that every round is made of.

Half a second of real work: long powers and products at the run's key size, and the
product's own encoding, masking, packing and decoding of a short vector. Everything is
CPU time of one core, so that a busy machine looks no slower than it is.
"""

import secrets
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from gmpy2 import mpz

from crypto import packing, rlwe
from crypto.bitpack import BitSum
from crypto.identity import Identity, verify_signature
from crypto.layout import Layout
from crypto.multiexp import multi_exponentiation
from crypto.params import AggregationParams
from crypto.powers import public_power, secret_power
from crypto.public_key import PublicKey
from crypto.randomness import upload_info
from crypto.sealing import pack_plain, unpack_plain
from crypto.vector import Contribution, IntVector, decode, encode
from crypto.wire import DIGEST_BYTES, SIGNATURE_BYTES, Upload, bulk_digest

MANY: Final = 64  # ciphertexts in a proof that is measured; more are extrapolated
# The RLWE part works in chunks that fit a processor's cache; a vector this long shows
# what the arrays cost that do not.
_LARGEST_SAMPLE: Final = 1 << 18
_CHALLENGE_BITS: Final = 128
_LEAST_SECONDS: Final = 0.005  # of a sample
_FAST_SAMPLES: Final = 5
_SLOW_SAMPLES: Final = 2
_LONG_SECONDS: Final = 0.2  # a call that takes longer is not made again
_CONTEXT: Final = bytes(DIGEST_BYTES)
_EXAMPLES: Final = 100


@dataclass(frozen=True, kw_only=True)
class BigNumbers:
    """Seconds of big-integer work at one key size.

    Attributes:
        product: Two ciphertexts, mod n**2.
        power: An exponent of |n| bits, mod n.
        secret_power: The same in constant time.
        wide_power: An exponent of |n| bits, mod n**2.
        signature: Made and verified.
    """

    product: float
    power: float
    secret_power: float
    wide_power: float
    signature: float


@dataclass(frozen=True, kw_only=True)
class ProofWork:
    """Seconds of the product of powers that checks a proof.

    Attributes:
        num_proved: Ciphertexts in the proof.
        wide: Of ciphertexts, mod n**2.
        narrow: Of as many integers mod n: the check of the binding powers.
    """

    num_proved: int
    wide: float
    narrow: float


def stand_in_key(params: AggregationParams) -> PublicKey:
    """Return a key of the run's size that nobody can open: a random odd modulus."""
    top = mpz(1) << (params.key_bits - 1)
    n = top | mpz(secrets.randbits(params.key_bits - 1)) | 1
    return PublicKey(n, params.num_holders, params.threshold, bytes(32), mpz(4), ())


def measure_big_numbers(key: PublicKey) -> BigNumbers:
    """Time long powers and products under a key of which only the size matters."""
    n, n_squared = key.n, key.n_squared
    left, right = (mpz(secrets.randbelow(int(n_squared))) for _ in range(2))
    exponent = mpz(secrets.randbits(key.key_bits - 1)) | 1
    return BigNumbers(
        product=cpu_seconds(lambda: left * right % n_squared),
        power=cpu_seconds(lambda: public_power(left % n, exponent, n)),
        secret_power=cpu_seconds(lambda: secret_power(left % n, exponent, n)),
        wide_power=cpu_seconds(lambda: public_power(left, exponent, n_squared)),
        signature=cpu_seconds(_sign_and_verify()),
    )


def measure_proof(key: PublicKey, num_ciphertexts: int) -> ProofWork:
    """Time the product of powers over a proof's ciphertexts, `MANY` of them at most."""
    count = max(1, min(num_ciphertexts, MANY))
    weights = [secrets.randbits(_CHALLENGE_BITS) for _ in range(count)]

    def product(modulus: mpz) -> Callable[[], object]:
        bases = [mpz(secrets.randbelow(int(modulus))) for _ in range(count)]
        return lambda: multi_exponentiation(
            bases, weights, modulus, exponent_bits=_CHALLENGE_BITS
        )

    return ProofWork(
        num_proved=count,
        wide=cpu_seconds(product(key.n_squared)),
        narrow=cpu_seconds(product(key.n)),
    )


def _sign_and_verify() -> Callable[[], None]:
    identity, message = Identity.create(1), bytes(DIGEST_BYTES)

    def call() -> None:
        verify_signature(identity.signing_public, identity.sign(message), message)

    return call


class VectorWork:
    """What a vector costs outside of Paillier: the product's own code on a short one.

    Args:
        params: The run's parameters.
        layout: Of the short vector.
    """

    def __init__(self, params: AggregationParams, layout: Layout) -> None:
        self._params = params
        self._layout = layout
        update = np.random.default_rng(0).normal(0, params.clip / 4, layout.dim)
        metrics = {extra.name: min(0.5, extra.limit) for extra in layout.extras}
        self._contribution = Contribution(update.astype(np.float32), _EXAMPLES, metrics)
        self._total: BitSum | None = self._empty_sum()
        self._sealed, self._values = self._upload()

    def seal(self) -> None:
        """Do what a client does to its vector."""
        rlwe.shared_polynomials.cache_clear()  # every client for itself
        self._upload()

    def add(self) -> None:
        """Do what the server does to an upload."""
        upload = Upload.from_bytes(self._sealed)
        upload.entry()
        if self._total is not None:
            self._total.add(upload.bulk)
        elif self._params.mode == "plain":
            contribution = unpack_plain(upload.bulk, self._layout)
            encode(contribution, self._params, self._layout)

    def open(self) -> None:
        """Do what the server does with the opened sum of one upload."""
        params, total = self._params, self._values
        if params.mode != "plain":
            total = packing.unpack(
                self._pack(total),
                count=len(total),
                slot_bits=params.slot_bits,
                slots_per_plaintext=params.slots_per_plaintext,
            )
        bulk = self._empty_sum()
        if bulk is not None:
            bulk.add(Upload.from_bytes(self._sealed).bulk)
            total, _ = rlwe.unmask(
                bulk,
                total,
                count=1,
                num_values=self._layout.num_values,
                context=_CONTEXT,
                params=params,
            )
        decode(total, 1, params, self._layout)

    def _upload(self) -> tuple[bytes, IntVector]:
        """Return an upload without ciphertexts, and what they would hold."""
        params, bulk = self._params, b""
        values = encode(self._contribution, params, self._layout)
        if params.mode == "plain":
            bulk = pack_plain(self._contribution, self._layout)
        else:
            info = upload_info(_CONTEXT, 1, values)
            if params.mode == "hybrid":
                bulk, values = rlwe.mask(
                    values, context=_CONTEXT, params=params, info=info
                )
            self._pack(values)
        bulk_digest(bulk)  # for the proof's statement, and again for the signature
        bulk_digest(bulk)
        upload = Upload(1, _CONTEXT, bulk, b"", b"", bytes(SIGNATURE_BYTES))
        return upload.to_bytes(), values

    def _pack(self, values: IntVector) -> list[mpz]:
        params = self._params
        return packing.pack(
            values,
            slot_bits=params.slot_bits,
            slots_per_plaintext=params.slots_per_plaintext,
        )

    def _empty_sum(self) -> BitSum | None:
        params = self._params
        if params.mode != "hybrid":
            return None
        count = rlwe.num_coefficients(self._layout.num_values, params)
        return BitSum(count, params.modulus_bits)


@dataclass(frozen=True, kw_only=True)
class VectorCosts:
    """Seconds, and bytes of memory at the peak, for a vector of any length."""

    seal: float
    add: float
    open: float
    client_memory: int
    server_memory: int


def measure_vector(params: AggregationParams, layout: Layout) -> VectorCosts:
    """Time a vector's encoding, masking and decoding; long ones are extrapolated."""
    short = replace(layout, dim=min(layout.dim, _LARGEST_SAMPLE))
    work, half = (
        VectorWork(params, replace(short, dim=dim))
        for dim in (short.dim, short.dim // 2)
    )
    times = layout.num_values / short.num_values
    work.add()  # fills the caches that every process fills once
    work.open()

    def peak(part: str) -> int:
        whole = _peak_bytes(getattr(work, part))
        if times == 1:
            return whole
        grows = whole - _peak_bytes(getattr(half, part))  # what chunks need does not
        return round(whole + 2 * (times - 1) * grows)

    prepared = 0
    if params.mode == "hybrid":
        prepared = rlwe.prepared_size(layout.num_values, params)
    return VectorCosts(
        seal=times * cpu_seconds(work.seal),
        add=times * cpu_seconds(work.add),
        open=times * cpu_seconds(work.open),
        client_memory=peak("seal"),
        server_memory=peak("open") + prepared,
    )


def cpu_seconds(call: Callable[[], object]) -> float:
    """Time a call: the fastest of a few samples, for other work only slows one down."""
    first = _cpu(call, 1)
    if first > _LONG_SECONDS:
        return first
    calls = max(1, min(1000, round(_LEAST_SECONDS / max(first, 1e-6))))
    samples = _FAST_SAMPLES if calls > 1 else _SLOW_SAMPLES
    return min(first, *(_cpu(call, calls) for _ in range(samples)))


def _cpu(call: Callable[[], object], calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls


def _peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
