"""Other ways to add up a vector of parameters, timed on a part of it and scaled.

Naive and packed Paillier come with the project; the two libraries of the optional extra
`bench` are measured where they are installed. All at 3,072 bits. What cannot be equal
is in the notes: who can open what, and whether the sum is exact.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from crypto import memo, paillier
from crypto.binding import binding_powers
from crypto.randomness import RandomStream
from crypto.threshold import combine
from experiments.bench.scene import (
    SET_DIGEST,
    deal_fixed_primes,
    default_params,
    encrypt,
    fixed_primes,
    pack,
)
from experiments.settings import default
from experiments.timing import Measurement, Sample, alternate, middle

_KEY_BITS: Final[int] = default("key-bits")
_CIPHERTEXTS: Final = 4  # in a sample: the cost grows in proportion
_CKKS_DEGREE: Final = 8192
_CKKS_MODULI: Final = (60, 40, 40, 60)  # bits
_CKKS_SCALE: Final = 2.0**40
_ONE_KEY: Final = "one key opens every upload; "


@dataclass(frozen=True)
class OtherWay:
    """What one way costs for the whole vector, in CPU seconds.

    Attributes:
        name: What the report calls it.
        client_seconds: A client's, up to the bytes it sends; None if not installed.
        add_seconds: The server's for one more upload.
        open_seconds: Of everybody who opens the sum, together.
        upload_bytes: What a client sends.
        note: What a reader must know to compare.
    """

    name: str
    client_seconds: float | None = None
    add_seconds: float = 0.0
    open_seconds: float = 0.0
    upload_bytes: float = 0.0
    note: str = ""

    def figures(self, parameters: int) -> dict[str, Any]:
        """Return the figures, as the JSON report has them."""
        return {
            "name": self.name,
            "client_seconds": self.client_seconds,
            "add_seconds": self.add_seconds,
            "open_seconds": self.open_seconds,
            "bytes_per_parameter": self.upload_bytes / parameters,
            "note": self.note,
        }


@dataclass(frozen=True)
class _Sampled:
    """A way on a part of the vector: three calls, and what the first one sends."""

    parameters: int
    client: Callable[[], object]
    add: Callable[[], object]
    open: Callable[[], object]
    upload_bytes: int
    note: str

    def scaled(self, name: str, parameters: int, taken: Sequence[Sample]) -> OtherWay:
        """Scale the times of the three calls to the whole vector."""
        client, add, opening = (one.cpu_seconds * parameters for one in taken)
        return OtherWay(
            name,
            client_seconds=client,
            add_seconds=add,
            open_seconds=opening,
            upload_bytes=self.upload_bytes * parameters / self.parameters,
            note=f"{self.note}scaled from {self.parameters:,} parameters",
        )

    def measurements(self) -> list[Measurement]:
        """Return the three calls; their times are per parameter."""
        return [
            Measurement(name, call, items=self.parameters)
            for name, call in (
                ("client", self.client),
                ("add", self.add),
                ("open", self.open),
            )
        ]


def other_ways(
    parameters: int, *, max_clients: int, repetitions: int
) -> list[OtherWay]:
    """Time every other way; one that is not installed has no times.

    Args:
        parameters: To scale to.
        max_clients: Widths are made for so many.
        repetitions: Of each call.
    """
    ways = []
    for name, make in (
        ("phe, naive", _naive_phe),
        ("Unseen, paillier", lambda: _packed_paillier(max_clients)),
        ("TenSEAL CKKS", _tenseal),
        ("HEU ZPaillier", _heu),
    ):
        try:
            sampled = make()
        except ImportError:
            ways.append(OtherWay(name, note='pip install -e ".[bench]" measures it'))
            continue
        samples = alternate(sampled.measurements(), repetitions=repetitions)
        taken = [middle(one) for one in samples.values()]
        ways.append(sampled.scaled(name, parameters, taken))
    return ways


def _naive_phe() -> _Sampled:
    """One parameter a ciphertext, as `phe` does it out of the box."""
    p, q = fixed_primes(_KEY_BITS)
    public = PaillierPublicKey(int(p * q))
    private = PaillierPrivateKey(public, int(p), int(q))
    values = range(1, 1 + _CIPHERTEXTS)
    ciphertexts = [public.raw_encrypt(value) for value in values]
    return _Sampled(
        parameters=_CIPHERTEXTS,
        client=lambda: [public.raw_encrypt(value) for value in values],
        add=lambda: [c * c % public.nsquare for c in ciphertexts],
        open=lambda: [private.raw_decrypt(c) for c in ciphertexts],
        upload_bytes=_CIPHERTEXTS * 2 * _KEY_BITS // 8,
        note=f"one parameter a ciphertext; {_ONE_KEY}",
    )


def _packed_paillier(max_clients: int) -> _Sampled:
    """This project's mode paillier, without proof and signature."""
    params = replace(default_params(_KEY_BITS), max_contributors=max_clients)
    key, holders = deal_fixed_primes(_KEY_BITS)
    values = np.arange(_CIPHERTEXTS * params.slots_per_plaintext, dtype=np.int64)
    stream = RandomStream(os.urandom(32))
    ciphertexts = encrypt(pack(params, values), key, stream)
    powers = binding_powers(key, SET_DIGEST, _CIPHERTEXTS)

    def open_sum() -> object:
        partials = {}
        for holder in holders[: params.threshold]:
            memo.forget()  # every holder is a process of its own
            answer = holder.partials(ciphertexts, SET_DIGEST, powers)
            partials[holder.index] = answer
        return combine(ciphertexts, partials, key, SET_DIGEST)

    return _Sampled(
        parameters=len(values),
        client=lambda: encrypt(pack(params, values), key, stream),
        add=lambda: paillier.add(ciphertexts, ciphertexts, key),
        open=open_sum,
        upload_bytes=_CIPHERTEXTS * 2 * _KEY_BITS // 8,
        note=f"{params.slots_per_plaintext} parameters a ciphertext; ",
    )


def _tenseal() -> _Sampled:
    """CKKS as TenSEAL's own examples set it up."""
    tenseal = importlib.import_module("tenseal")
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=_CKKS_DEGREE,
        coeff_mod_bit_sizes=list(_CKKS_MODULI),
    )
    context.global_scale = _CKKS_SCALE
    values = np.random.default_rng(0).normal(size=_CKKS_DEGREE // 2)
    total = tenseal.ckks_vector(context, values)
    upload = total.serialize()

    def add() -> None:
        total.add_(tenseal.ckks_vector_from(context, upload))

    return _Sampled(
        parameters=len(values),
        client=lambda: tenseal.ckks_vector(context, values).serialize(),
        add=add,
        open=total.decrypt,
        upload_bytes=len(upload),
        note=f"N = {_CKKS_DEGREE}; the sum is approximate; {_ONE_KEY}",
    )


def _heu() -> _Sampled:
    """SecretFlow's fastest Paillier, one parameter a ciphertext."""
    heu = importlib.import_module("heu")
    with _stdout_on_stderr():
        kit = heu.numpy.setup(heu.phe.SchemaType.ZPaillier, _KEY_BITS)
        numbers = np.arange(_CIPHERTEXTS, dtype=np.int64)
        values = kit.array(numbers, kit.integer_encoder(1))
        encryptor, evaluator = kit.encryptor(), kit.evaluator()
        upload = encryptor.encrypt(values)
    best = heu.numpy.MatrixSerializeFormat.Best
    return _Sampled(
        parameters=_CIPHERTEXTS,
        client=lambda: encryptor.encrypt(values).serialize(best),
        add=lambda: evaluator.add(upload, upload),
        open=lambda: kit.decryptor().decrypt(upload),
        upload_bytes=len(upload.serialize(best)),
        note=f"one parameter a ciphertext; {_ONE_KEY}",
    )


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Keep a library's log lines, written below Python, out of the JSON report."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
