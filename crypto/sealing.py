"""A client seals its contribution to a round.

Called by the mod, once per round and phase. Every mode encodes alike, so that all
give the same integer sum. Implements PROTOCOL.md sections 3 to 7.
"""

import struct
from collections.abc import Mapping

import numpy as np

from crypto import packing, paillier
from crypto.errors import MalformedMessageError
from crypto.identity import Identity
from crypto.knowledge import Statement, prove
from crypto.layout import RESERVED, Layout
from crypto.manifest import Manifest
from crypto.randomness import upload_stream
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import Upload, bulk_digest, pack_ciphertexts, upload_signed_bytes


def seal(
    contribution: Contribution,
    *,
    manifest: Manifest,
    layout: Layout,
    context: bytes,
    identity: Identity,
) -> Upload:
    """Encode, encrypt, prove knowledge of, and sign a contribution.

    Args:
        contribution: Update, example count and metrics of this client.
        manifest: The run's pinned keys and parameters; they decide the mode.
        layout: The round's layout.
        context: The round's context as this client computed it.
        identity: Signs the upload.

    Raises:
        NonFiniteError: If the update or a metric is NaN or infinite.
        ParameterError: If the contribution does not fit the layout.
    """
    values = encode(contribution, manifest.params, layout)
    client_id = identity.client_id
    bulk = ciphertexts = proof = b""
    if manifest.params.mode == "plain":
        bulk = pack_plain(contribution, layout)
    else:
        ciphertexts, proof = _encrypt(values, manifest, context, client_id)
    signed = upload_signed_bytes(
        context, client_id, bulk_digest(bulk), ciphertexts, proof
    )
    return Upload(
        client_id, context, bulk, ciphertexts, proof, signature=identity.sign(signed)
    )


def _encrypt(
    values: IntVector, manifest: Manifest, context: bytes, client_id: int
) -> tuple[bytes, bytes]:
    """Return the ciphertexts side by side, and the proof over all of them."""
    params, public_key = manifest.params, manifest.keys.public_key
    plaintexts = packing.pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
    blinding = upload_stream(context, client_id, values, "alpha")
    alphas = paillier.draw_alphas(len(plaintexts), public_key, blinding)
    ciphertexts = pack_ciphertexts(
        paillier.encrypt(plaintexts, alphas, public_key), public_key
    )
    statement = Statement(context, client_id, bulk_digest(b""), ciphertexts)
    masks = upload_stream(context, client_id, values, "popk")
    return ciphertexts, prove(statement, plaintexts, alphas, public_key, masks)


def pack_plain(contribution: Contribution, layout: Layout) -> bytes:
    """Write a contribution in the clear, for the baseline mode.

    Layout: u64 example count, the layout's own metrics as float64 in layout order
    (big-endian both), then the update as little-endian float32.
    """
    names = _metric_names(layout)
    head = struct.pack(
        f">Q{len(names)}d",
        contribution.num_examples,
        *(contribution.metrics.get(name, float("nan")) for name in names),
    )
    return head + contribution.update.astype("<f4").tobytes()


def unpack_plain(bulk: bytes, layout: Layout) -> Contribution:
    """Read a contribution in the clear.

    Raises:
        MalformedMessageError: If it does not have the layout's size.
    """
    names = _metric_names(layout)
    head = struct.Struct(f">Q{len(names)}d")
    if len(bulk) != head.size + 4 * layout.dim:
        raise MalformedMessageError
    num_examples, *values = head.unpack_from(bulk)
    metrics: Mapping[str, float] = dict(zip(names, values, strict=True))
    update = np.frombuffer(bulk, dtype="<f4", offset=head.size).astype(np.float32)
    return Contribution(update, num_examples, metrics)


def _metric_names(layout: Layout) -> list[str]:
    return [extra.name for extra in layout.extras if extra.name not in RESERVED]
