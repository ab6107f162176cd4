"""What the messages of a round weigh and its steps take, added up from small pieces.

For `experiments.plan.report`. Bytes follow from the parameters; seconds from the number
of powers, products and vector values of every step, as PROTOCOL.md sections 4 to 8 have
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import factorial
from typing import Final

from crypto.context import RUN_ID_BYTES
from crypto.knowledge import proof_size
from crypto.layout import EVALUATE, TRAIN, Layout
from crypto.paillier import alpha_bits
from crypto.params import AggregationParams
from crypto.public_key import PublicKey
from crypto.sealing import bulk_size
from crypto.wire import (
    DIGEST_BYTES,
    SIGNATURE_BYTES,
    Broadcast,
    Entry,
    OpenRequest,
    PartialReply,
    Upload,
)
from experiments.plan.calibration import BigNumbers, ProofWork, VectorCosts

# As `server.run` has them, which loads PyTorch.
METRICS: Final[Mapping[int, tuple[str, ...]]] = {
    TRAIN: ("train_loss",),
    EVALUATE: ("accuracy", "loss"),
}
MOST_PROVED: Final = 1 << 24  # ciphertexts in a proof (`crypto.paillier`)
FLOAT32_BYTES: Final = 4
# A proof over more ciphertexts than were measured multiplies each of the others in this
# often: 128 bits of challenge, 7 at a time (`crypto.multiexp`).
_PRODUCTS_PER_PROVED: Final = 19
_TABLE_WINDOW: Final = 256  # numbers for a byte of the exponent (`crypto.paillier`)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of each message of a phase, and what is in them.

    Attributes:
        values: Integers in a client's vector.
        ciphertexts: In one upload.
        upload: From the client with the longest id.
        model: To each client.
        partials: From each key holder that is asked.
        request: To each key holder that is asked.
        entry: Of a client's upload, what the server keeps and key holders get.
    """

    values: int
    ciphertexts: int
    upload: int
    model: int
    partials: int
    request: int
    entry: int


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Seconds of one core for each step of a phase.

    Attributes:
        seal: A client encodes, encrypts, proves and signs.
        add: The server checks one upload and adds it.
        request: The server prepares the opening.
        open: A key holder checks every client's part and opens the sum.
        combine: The server combines the partial decryptions.
        decode: The server turns the opened sum into a mean.
    """

    seal: float
    add: float
    request: float
    open: float
    combine: float
    decode: float


def sizes_of(
    params: AggregationParams, layout: Layout, key: PublicKey, *, num_parameters: int
) -> Sizes:
    """Return the bytes of a phase's messages; exact, but for the names in a model.

    Args:
        params: The run's parameters.
        layout: Of the phase.
        key: Of the run's size.
        num_parameters: Of the model that is sent.
    """
    phase = TRAIN if layout.dim else EVALUATE
    count, proof = 0, 0
    if params.mode != "plain":
        count = params.num_ciphertexts(layout.num_values)
        proof = proof_size(key, count)
    clients, digest = params.max_contributors, bytes(DIGEST_BYTES)
    signature, sealed = bytes(SIGNATURE_BYTES), count * 2 * key.n_bytes + proof
    upload = Upload(clients, digest, b"", b"", b"", signature).to_bytes()
    entries = [
        Entry(i, digest, b"", b"", signature).to_bytes() for i in range(1, clients + 1)
    ]
    partials = PartialReply(params.num_holders, digest, b"", signature).to_bytes()
    request = OpenRequest(
        run_id=bytes(RUN_ID_BYTES),
        round=1,
        phase=phase,
        model=digest,
        dim=layout.dim,
        metrics=list(METRICS[phase]),
        run_config=digest,
        records=digest,
        entries=entries,
        powers=b"",
    ).to_bytes()
    powers = count * key.n_bytes  # the binding powers, or a holder's partials
    return Sizes(
        values=layout.num_values,
        ciphertexts=count,
        upload=len(upload) + bulk_size(params, layout) + sealed,
        model=_model_bytes(num_parameters),
        partials=len(partials) + powers if count else 0,
        request=len(request) + clients * sealed + powers if count else 0,
        entry=len(entries[-1]) + sealed,
    )


def _model_bytes(num_parameters: int) -> int:
    broadcast = Broadcast(
        run_id=bytes(RUN_ID_BYTES),
        round=1,
        phase=TRAIN,
        metrics=list(METRICS[TRAIN]),
        arrays_key="arrays",
        arrays=[["parameters", "<f4", [num_parameters], b""]],
        records={"config": {"server-round": 1}},
    )
    return len(broadcast.to_bytes()) + FLOAT32_BYTES * num_parameters


def seconds_of(
    params: AggregationParams,
    key: PublicKey,
    size: Sizes,
    *,
    big: BigNumbers,
    proof: ProofWork,
    vector: VectorCosts,
) -> Seconds:
    """Add a phase's steps up."""
    count, clients = size.ciphertexts, params.max_contributors
    if not count:
        return Seconds(
            seal=vector.seal + big.signature,
            add=vector.add + big.signature,
            request=0.0,
            open=0.0,
            combine=0.0,
            decode=vector.open,
        )
    more = (count - proof.num_proved) * _PRODUCTS_PER_PROVED * big.product
    response = _response_bytes(key, count)  # one product a byte, over a fixed base
    check = proof.wide + more + (response + count) * big.product + big.signature
    narrow = (proof.wide + more) * proof.narrow / proof.wide
    encrypt = alpha_bits(key) // 8 + 2
    return Seconds(
        seal=vector.seal + (count * encrypt + response) * big.product + big.signature,
        add=vector.add + check + count * big.product,
        request=count * big.power,
        open=clients * (check + count * big.product)
        + (big.power + 2 * narrow)  # the server's binding powers
        + count * big.secret_power,
        combine=count * (big.wide_power + big.power * _share_of_powers(params)),
        decode=vector.open,
    )


def _share_of_powers(params: AggregationParams) -> float:
    """Return the powers of a combination mod n, in powers of |n| bits.

    One is that long; `threshold` and two more have the bits of ``4*delta**2`` or so.
    """
    short = (params.threshold + 2) * 2 * factorial(params.num_holders).bit_length()
    return 1 + short / params.key_bits


def table_seconds(key: PublicKey, big: BigNumbers) -> float:
    """Return what a process spends once on the table of the blinding base."""
    return _response_bytes(key, MOST_PROVED) * _TABLE_WINDOW * big.product


def table_memory(key: PublicKey) -> int:
    """Return the bytes of that table, 32 of them Python's own for each number."""
    numbers = _response_bytes(key, MOST_PROVED) * _TABLE_WINDOW
    return numbers * (2 * key.n_bytes + 32)


def _response_bytes(key: PublicKey, count: int) -> int:
    """Return the bytes of the longest exponent over the blinding base in a proof."""
    return proof_size(key, count) - 3 * key.n_bytes
