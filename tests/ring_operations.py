"""What the scenarios of `ring_vectors` call: the bulk part of mode hybrid."""

import hashlib
import secrets
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from crypto import gaussian, rlwe
from crypto.bitpack import BitSum, pack_bits, unpack_bits
from crypto.params import RING_DEGREE, AggregationParams
from crypto.randomness import RandomStream, upload_info
from crypto.ring import Polynomials
from tests.crypto_group import make_params


def _params(given: dict[str, Any]) -> AggregationParams:
    return make_params(
        mode="hybrid",
        max_contributors=given["clients"],
        min_contributors=2,
        max_corrupt=0,
        value_bits=given["value_bits"],
    )


def _hashed(words: NDArray[Any]) -> str:
    return hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()


def _hex(words: NDArray[Any]) -> list[str]:
    return [f"{word:x}" for word in words]


def _polynomial(context: str, number: int, bits: int) -> NDArray[np.uint64]:
    words = rlwe.public_words(bytes.fromhex(context), number, 1, bits=bits)
    return words.reshape(-1)


def polynomial(given: dict[str, Any]) -> Any:
    a = _polynomial(given["context"], given["number"], given["bits"])
    return {"first": _hex(a[:4]), "sha256": _hashed(a)}


def sample(given: dict[str, Any]) -> Any:
    stream = RandomStream(bytes.fromhex(given["stream_key"]))
    samples = gaussian.sample(given["count"], stream).astype(np.int64)
    return {"first": samples[:16].tolist(), "sha256": _hashed(samples + 63)}


def product(given: dict[str, Any]) -> Any:
    bits = given["bits"]
    small = np.resize(np.array(given["small"], dtype=np.int64), RING_DEGREE)
    a = _polynomial(given["context"], 0, bits)
    large = Polynomials(a[None, :], bits=bits, mean_bound=given["mean_bound"])
    (result,) = large.times(small)
    result &= np.uint64((1 << bits) - 1)
    return {"first": _hex(result[:4]), "sha256": _hashed(result)}


def packed_bits(given: dict[str, Any]) -> Any:
    return pack_bits(np.array(given["values"], dtype=np.uint64), given["bits"]).hex()


def unpacked_bits(given: dict[str, Any]) -> Any:
    packed = bytes.fromhex(given["packed"])
    return unpack_bits(packed, given["count"], given["bits"]).tolist()


def _mask(
    values: NDArray[np.int64], given: dict[str, Any], client_id: int
) -> tuple[bytes, NDArray[np.int64]]:
    context, entropy = bytes.fromhex(given["context"]), bytes.fromhex(given["entropy"])
    info = upload_info(context, client_id, values)
    with mock.patch.object(secrets, "token_bytes", return_value=entropy):
        return rlwe.mask(values, context=context, params=_params(given), info=info)


def bulk(given: dict[str, Any]) -> Any:
    values = np.resize(np.array(given["values"], dtype=np.int64), given["count"])
    masked, key = _mask(values, given, given["client_id"])
    return {
        "bits": _params(given).modulus_bits,
        "key": key[:16].tolist(),
        "first": masked[:32].hex(),
        "bytes": len(masked),
        "sha256": hashlib.sha256(masked).hexdigest(),
    }


def open_bulk(given: dict[str, Any]) -> Any:
    params, rows = _params(given), given["rows"]
    size = rlwe.num_coefficients(len(rows[0]), params)
    total, keys = BitSum(size, params.modulus_bits), np.zeros(RING_DEGREE, np.int64)
    for client_id, row in enumerate(rows, start=1):
        masked, key = _mask(np.array(row, dtype=np.int64), given, client_id)
        total.add(masked)
        keys += key
    keys[0] += given["added_to_the_key"]
    opened, _ = rlwe.unmask(
        total,
        keys,
        count=len(rows),
        num_values=given["num_values"],
        context=bytes.fromhex(given["context"]),
        params=params,
    )
    return opened.tolist()


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "polynomial": polynomial,
    "sample": sample,
    "product": product,
    "pack-bits": packed_bits,
    "unpack-bits": unpacked_bits,
    "bulk": bulk,
    "open-bulk": open_bulk,
}
