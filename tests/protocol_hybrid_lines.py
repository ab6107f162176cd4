"""The lines of crypto/PROTOCOL.md about mode hybrid, as the document writes them."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from crypto import gaussian, packing, rlwe
from crypto.bitpack import unpack_bits
from crypto.params import RING_DEGREE
from crypto.randomness import RandomStream
from crypto.threshold import combine
from tests.protocol_example import CONTRIBUTIONS, OPENED_BY, Example


def hybrid_lines(example: Example) -> Iterator[tuple[str, str]]:
    """Yield every name and value about samples, bulk parts and their sum."""
    yield from _sampler_lines()
    yield "params in mode hybrid", example.params.digest().hex()
    yield "ctx in mode hybrid", example.context.hex()
    yield "first of a_0", _first(_polynomial(example), 4)
    for client_id in CONTRIBUTIONS:
        yield from _client_lines(example, client_id)
    yield from _sum_lines(example)


def _first(values: NDArray[Any], count: int) -> str:
    return str(values[:count].tolist())


def _polynomial(example: Example) -> NDArray[Any]:
    bits = example.params.modulus_bits
    return rlwe.public_words(example.context, 0, 1, bits=bits).reshape(-1)


def _sampler_lines() -> Iterator[tuple[str, str]]:
    boundaries = gaussian._boundaries()
    for place in (-63, -1, 0, 62):
        yield f"F_{place}", str(boundaries[place + 63])
    samples = gaussian.sample(16, RandomStream(bytes(range(32))))
    yield "first samples under the AES key 000102..1f", _first(samples, 16)


def _client_lines(example: Example, client_id: int) -> Iterator[tuple[str, str]]:
    name, upload = f"client {client_id}", example.upload(client_id)
    bits = example.params.modulus_bits
    plaintexts = example.plaintexts(client_id)
    errors = gaussian.sample(RING_DEGREE, example.stream(client_id, "e"))
    packed = rlwe._pack_values(example.vector(client_id), example.params)
    yield f"first of m_0 of {name}", _first(packed, 5)
    yield f"first of s of {name}", _first(example.one_time_key(client_id), 12)
    yield f"first of e_0 of {name}", _first(errors, 12)
    masked = unpack_bits(upload.bulk, RING_DEGREE, bits)
    yield f"first of c_0 of {name}", _first(masked, 4)
    yield f"first bytes of the bulk part of {name}", upload.bulk[:25].hex()
    yield f"bytes of the bulk part of {name}", str(len(upload.bulk))
    yield f"D_c of {name}", sha256(upload.bulk).hexdigest()
    yield f"first of M of {name} in mode hybrid", str([int(m) for m in plaintexts[:2]])
    yield f"ciphertexts of {name} in mode hybrid", str(len(plaintexts))
    octets = upload.to_bytes()
    digest = sha256(octets).hexdigest()
    yield f"SHA-256 of the upload of {name} in mode hybrid", digest


def _sum_lines(example: Example) -> Iterator[tuple[str, str]]:
    round_sum, key = example.round_sum, example.dealt[0]
    partials = {}
    for holder in OPENED_BY:
        reply = example.opener(holder).answer(round_sum.open_request(), None)
        partials[holder] = round_sum.check_partial(reply, holder)
    digest = round_sum._set_digest()
    opened = combine(round_sum._ciphertexts(), partials, key, digest)
    key_sum = packing.unpack(
        opened,
        count=RING_DEGREE,
        slot_bits=example.params.slot_bits,
        slots_per_plaintext=example.params.slots_per_plaintext,
    )
    yield "SD in mode hybrid", digest.hex()
    yield "first of the sum of s", _first(key_sum, 12)
    yield "sum of x in mode hybrid", str(round_sum.total(partials).tolist())
