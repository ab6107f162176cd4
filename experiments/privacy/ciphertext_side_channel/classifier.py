"""Learn to tell an encrypted zero from an encrypted word by the bits alone.

The attacker knows the public key and the parameters, so it makes as many uploads of its
own as it likes to learn from. That it fails proves nothing: that Paillier and ring-LWE
hide the message rests on reductions. It is a test against mistakes in what is encoded,
blinded and packed, and so it is run on broken encryptions too, where it must succeed.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.bitpack import pack_bits, unpack_bits
from crypto.identity import Identity
from crypto.layout import TRAIN, make_layout
from crypto.manifest import Manifest
from crypto.packing import pack
from crypto.params import NOISE_BOUND, AggregationParams
from crypto.rlwe import num_coefficients
from crypto.sealing import seal
from crypto.vector import Contribution, encode
from crypto.wire import Upload, pack_ciphertexts, unpack_ciphertexts
from experiments.privacy.numbers import auc, auc_null_error
from experiments.privacy.sealed_round import make_group
from experiments.privacy.words.mails import Vector

_CONTEXT: Final = bytes(range(32))
_REGULARISATION: Final = 1e-3  # more features than samples: keep the weights small

Bits = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Pieces of uploads.

    Attributes:
        bits: Shape (samples, features), 0 or 1.
        has_word: Shape (samples,): whether a word that moved is inside.
    """

    bits: Bits
    has_word: NDArray[np.bool_]


@dataclass(frozen=True)
class Judgement:
    """How well a classifier tells pieces with a word from those without.

    Attributes:
        auc: On pieces that it has not seen.
        error: Standard error of an AUC of 0.5 with as many pieces.
        shuffled: The AUC against shuffled answers.
        samples: Pieces judged.
    """

    auc: float
    error: float
    shuffled: float
    samples: int


def group_of(params: AggregationParams) -> Manifest:
    """Return the public facts of a group under the fixed primes."""
    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        prepared, _ = make_group(Path(folder) / "keys", params)
        return prepared.manifest


def seal_all(updates: Sequence[Vector], manifest: Manifest) -> list[Upload]:
    """Seal every update as a client does, all for the same round."""
    layout = make_layout(manifest.params, phase=TRAIN, dim=updates[0].size, metrics=())
    identity = Identity.create(1)
    return [
        seal(
            Contribution(update, 1, {}),
            manifest=manifest,
            layout=layout,
            context=_CONTEXT,
            identity=identity,
        )
        for update in updates
    ]


def without_blinding(upload: Upload, update: Vector, manifest: Manifest) -> Upload:
    """Return the upload as a client would send it that forgot to hide anything.

    Ciphertexts without their random factor, ``1 + n M``; the bulk of mode hybrid with
    its small noise, but without the one-time key.
    """
    params, key = manifest.params, manifest.keys.public_key
    layout = make_layout(params, phase=TRAIN, dim=update.size, metrics=())
    values = encode(Contribution(update, 1, {}), params, layout)
    if params.mode == "hybrid":
        return replace(upload, bulk=_noise_only(values, params))
    plaintexts = pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
    bare = [(1 + key.n * m) % key.n_squared for m in plaintexts]
    return replace(upload, ciphertexts=pack_ciphertexts(bare, key))


def _noise_only(values: NDArray[np.int64], params: AggregationParams) -> bytes:
    rho = params.values_per_coefficient
    size = num_coefficients(values.size, params)
    columns = np.zeros((size, rho), dtype=np.int64)
    columns.reshape(-1)[: values.size] = values
    packed = columns @ (1 << (np.arange(rho, dtype=np.int64) * params.sum_bits))
    noise = np.random.default_rng(0).integers(-NOISE_BOUND, NOISE_BOUND + 1, size)
    noisy = (packed << params.noise_bits) + noise
    return pack_bits(
        (noisy & ((1 << params.modulus_bits) - 1)).view(np.uint64), params.modulus_bits
    )


def pieces(
    uploads: Sequence[Upload], updates: Sequence[Vector], manifest: Manifest
) -> Samples:
    """Cut uploads into what can be told apart: ciphertexts, or ring coefficients.

    The last ciphertext is left out: it also has the counts, which are never zero. In
    mode hybrid the ciphertexts hold a one-time key and no word.
    """
    is_hybrid = manifest.params.mode == "hybrid"
    cut: Callable[..., Samples] = _coefficients if is_hybrid else _ciphertexts
    parts = [cut(*pair, manifest) for pair in zip(uploads, updates, strict=True)]
    return Samples(
        np.concatenate([one.bits for one in parts]),
        np.concatenate([one.has_word for one in parts]),
    )


def _ciphertexts(upload: Upload, update: Vector, manifest: Manifest) -> Samples:
    params, key = manifest.params, manifest.keys.public_key
    layout = make_layout(params, phase=TRAIN, dim=update.size, metrics=())
    count = params.num_ciphertexts(layout.num_values)
    whole = update.size // params.slots_per_plaintext
    sealed = unpack_ciphertexts(upload.ciphertexts, count, key)[:whole]
    rows = [_features(c, key.n, key.n_bytes) for c in sealed]
    slots = update[: whole * params.slots_per_plaintext].reshape(whole, -1)
    return Samples(np.stack(rows), np.any(slots != 0, axis=1))


def _features(ciphertext: mpz, n: mpz, n_bytes: int) -> Bits:
    """Return the bits of c and of c mod n, and the Jacobi symbol of c."""
    data = int(ciphertext).to_bytes(2 * n_bytes, "big")
    data += int(ciphertext % n).to_bytes(n_bytes, "big")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8)).astype(np.float32)
    return np.append(bits, np.float32(gmpy2.jacobi(ciphertext, n)))


def _coefficients(upload: Upload, update: Vector, manifest: Manifest) -> Samples:
    params = manifest.params
    rho, width = params.values_per_coefficient, params.modulus_bits
    layout = make_layout(params, phase=TRAIN, dim=update.size, metrics=())
    size = num_coefficients(layout.num_values, params)
    whole = update.size // rho
    words = unpack_bits(upload.bulk, size, width)[:whole]
    # Beside the bits those of the distance from 0: small numbers have either sign.
    distance = np.minimum(words, (np.uint64(1) << np.uint64(width)) - words)
    places = np.arange(width, dtype=np.uint64)
    bits = [(part[:, None] >> places) & np.uint64(1) for part in (words, distance)]
    slots = update[: whole * rho].reshape(whole, rho)
    return Samples(
        np.concatenate(bits, axis=1).astype(np.float32), np.any(slots != 0, axis=1)
    )


def judge(known: Samples, unknown: Samples, *, seed: int) -> Judgement:
    """Train on pieces of the attacker's own, and judge those of others.

    Args:
        known: What the attacker made itself.
        unknown: What it received.
        seed: Of the shuffled answers.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second

    model = LogisticRegression(C=_REGULARISATION, class_weight="balanced")
    model.fit(known.bits, known.has_word)
    scores = model.decision_function(unknown.bits)
    truth = unknown.has_word
    shuffled = np.random.default_rng(seed).permutation(truth)
    return Judgement(
        auc=auc(scores[truth], scores[~truth]),
        error=auc_null_error(int(truth.sum()), int((~truth).sum())),
        shuffled=auc(scores[shuffled], scores[~shuffled]),
        samples=truth.size,
    )
