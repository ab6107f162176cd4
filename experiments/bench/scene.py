"""What `make bench` times: a key of fixed primes, one encrypted sum, the operations.

A later row of the report is one more `Measurement` in `Scene.measurements`.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from crypto import packing, paillier
from crypto.dealer import deal
from crypto.key_holder import KeyHolder
from crypto.params import AggregationParams
from crypto.public_key import PublicKey
from crypto.randomness import RandomStream
from crypto.threshold import combine
from experiments.settings import default
from experiments.timing import Measurement

CLIENTS: Final = 5
HOLDERS: Final = 5
THRESHOLD: Final = 4
PHE: Final = "phe.raw_encrypt"
SET_DIGEST: Final = bytes(32)

# Public, so that no run waits for a prime search: a key of them protects nothing.
PRIMES: Final = Path(__file__).with_name("primes.json")


class BenchError(Exception):
    """What was about to be timed gives a wrong result."""


@dataclass(frozen=True)
class Scene:
    """A key with everything that the operations need.

    Attributes:
        params: The project's default widths at this key size.
        public_key: Of the committee.
        holders: Its key holders.
        phe_key: The same modulus in the hands of `phe`.
        table_seconds: What the table of the blinding base took.
        values: Shape (slots,): the coordinates in one plaintext.
        plaintexts: Them, packed; one.
        ciphertexts: It, encrypted by one client.
        total: The sum of all clients' ciphertexts.
        partials: Of the threshold's number of holders, for the sum.
        stream: Of blinding exponents.
    """

    params: AggregationParams
    public_key: PublicKey
    holders: Sequence[KeyHolder]
    phe_key: PaillierPublicKey
    table_seconds: float
    values: NDArray[np.int64]
    plaintexts: list[mpz]
    ciphertexts: list[mpz]
    total: list[mpz]
    partials: dict[int, list[mpz]]
    stream: RandomStream

    def measurements(self) -> list[Measurement]:
        """Return the rows of the table, in order; each handles one ciphertext."""
        key, holder, total = self.public_key, self.holders[0], self.total
        coordinate = self.params.max_value
        calls: dict[str, Callable[[], object]] = {
            "pack": lambda: pack(self.params, self.values),
            "encrypt": lambda: encrypt(self.plaintexts, key, self.stream),
            "add": lambda: paillier.add(total, self.ciphertexts, key),
            "partial": lambda: holder.partials(total, SET_DIGEST),
            "combine": lambda: combine(total, self.partials, key, SET_DIGEST),
            PHE: lambda: self.phe_key.raw_encrypt(coordinate),
        }
        return [Measurement(name, call) for name, call in calls.items()]


def make_scene(key_bits: int) -> Scene:
    """Deal the fixed primes of this size and prepare one sum.

    Raises:
        BenchError: If the sum does not open, here or with `phe`.
    """
    p, q = fixed_primes(key_bits)
    public_key, holders = deal_fixed_primes(key_bits)
    params = default_params(key_bits)
    started = time.perf_counter()
    paillier.blinding_table(public_key)
    table_seconds = time.perf_counter() - started
    stream = RandomStream(os.urandom(32))
    values = np.random.default_rng(0).integers(
        -params.max_value, params.max_value + 1, params.slots_per_plaintext
    )
    plaintexts = pack(params, values)
    ciphertexts = encrypt(plaintexts * CLIENTS, public_key, stream)
    total = ciphertexts[:1]
    for ciphertext in ciphertexts[1:]:
        total = paillier.add(total, [ciphertext], public_key)
    partials = {
        place: holder.partials(total, SET_DIGEST)
        for place, holder in enumerate(holders[:THRESHOLD], start=1)
    }
    phe_key = PaillierPublicKey(int(public_key.n))
    by_phe = PaillierPrivateKey(phe_key, int(p), int(q)).raw_decrypt(int(total[0]))
    expected = plaintexts[0] * CLIENTS
    opened = combine(total, partials, public_key, SET_DIGEST)
    if opened != [expected] or by_phe != expected % public_key.n:
        raise BenchError(f"the sum does not open at {key_bits} bits")
    return Scene(
        params=params,
        public_key=public_key,
        holders=holders,
        phe_key=phe_key,
        table_seconds=table_seconds,
        values=values,
        plaintexts=plaintexts,
        ciphertexts=ciphertexts[:1],
        total=total,
        partials=partials,
        stream=stream,
    )


def fixed_primes(key_bits: int) -> tuple[mpz, mpz]:
    """Return the stored safe primes of a key size."""
    primes = json.loads(PRIMES.read_text())["safe_primes"][str(key_bits)]
    p, q = (mpz(prime, 16) for prime in primes)
    return p, q


@cache  # so that the table of the blinding base is made once
def deal_fixed_primes(key_bits: int) -> tuple[PublicKey, list[KeyHolder]]:
    """Deal them to the committee."""
    p, q = fixed_primes(key_bits)
    return deal(p, q, num_holders=HOLDERS, threshold=THRESHOLD)


def default_params(key_bits: int) -> AggregationParams:
    """Return the project's default parameters at a key size."""
    return AggregationParams(
        mode="paillier",
        key_bits=key_bits,
        num_holders=HOLDERS,
        threshold=THRESHOLD,
        max_corrupt=2 * THRESHOLD - HOLDERS - 1,
        min_contributors=default("min-contributors"),
        max_contributors=CLIENTS,
        value_bits=default("value-bits"),
        clip=1.0,
        w_max=1024,
    )


def encrypt(
    plaintexts: Sequence[mpz], public_key: PublicKey, stream: RandomStream
) -> list[mpz]:
    """Encrypt with fresh blinding, as a client does."""
    alphas = paillier.draw_alphas(len(plaintexts), public_key, stream)
    return paillier.encrypt(plaintexts, alphas, public_key)


def pack(params: AggregationParams, values: NDArray[np.int64]) -> list[mpz]:
    """Pack one plaintext's worth of coordinates."""
    return packing.pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
