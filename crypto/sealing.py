"""A client seals its contribution to a round.

Called by the mod, once per round and phase. Every mode encodes alike, so that all
give the same integer sum. Implements PROTOCOL.md sections 3 to 7.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from crypto import packing, paillier, rlwe
from crypto.entries import proven, proven_as
from crypto.errors import MalformedMessageError
from crypto.identity import Identity
from crypto.knowledge import Statement, prove
from crypto.layout import RESERVED, Layout
from crypto.manifest import Manifest
from crypto.params import AggregationParams
from crypto.randomness import hedged_stream, upload_info
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import (
    Entry,
    Upload,
    bulk_digest,
    pack_ciphertexts,
    upload_signed_bytes,
)


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
    client_id, params = identity.client_id, manifest.params
    bulk = ciphertexts = proof = b""
    if params.mode == "plain":
        bulk = pack_plain(contribution, layout)
        digest = bulk_digest(bulk)
    else:
        info = upload_info(context, client_id, values)
        if params.mode == "hybrid":
            bulk, values = rlwe.mask(values, context=context, params=params, info=info)
        digest = bulk_digest(bulk)
        claim = Statement(context, client_id, digest, ciphertexts=b"")
        ciphertexts, proof = _encrypt(values, manifest, claim, info)
    signed = upload_signed_bytes(context, client_id, digest, ciphertexts, proof)
    signature = identity.sign(signed)
    entry = Entry(client_id, digest, ciphertexts, proof, signature)
    proven.add(proven_as(entry, context, manifest.keys.public_key))
    return Upload(client_id, context, bulk, ciphertexts, proof, signature)


def _encrypt(
    values: IntVector, manifest: Manifest, claim: Statement, info: bytes
) -> tuple[bytes, bytes]:
    """Encrypt integers under Paillier.

    Args:
        values: The vector, or the one-time key that opens it.
        manifest: The run's pinned keys and parameters.
        claim: What is proved, still without the ciphertexts.
        info: Of this upload's randomness.

    Returns:
        The ciphertexts side by side, and the proof over all of them.
    """
    params, public_key = manifest.params, manifest.keys.public_key
    plaintexts = packing.pack(
        values,
        slot_bits=params.slot_bits,
        slots_per_plaintext=params.slots_per_plaintext,
    )
    blinding = hedged_stream(info, "alpha")
    alphas = paillier.draw_alphas(len(plaintexts), public_key, blinding)
    ciphertexts = pack_ciphertexts(
        paillier.encrypt(plaintexts, alphas, public_key), public_key
    )
    statement = replace(claim, ciphertexts=ciphertexts)
    masks = hedged_stream(info, "popk")
    return ciphertexts, prove(statement, plaintexts, alphas, public_key, masks)


def bulk_size(params: AggregationParams, layout: Layout) -> int:
    """Return the bytes of an upload's bulk part: they follow from public facts."""
    if params.mode == "plain":
        return _plain_head(layout).size + 4 * layout.dim
    if params.mode == "hybrid":
        return rlwe.bulk_size(layout.num_values, params)
    return 0


def pack_plain(contribution: Contribution, layout: Layout) -> bytes:
    """Write a contribution in the clear, for the baseline mode.

    Layout: u64 example count, the layout's own metrics as float64 in layout order
    (big-endian both), then the update as little-endian float32.
    """
    names = _metric_names(layout)
    head = _plain_head(layout).pack(
        contribution.num_examples,
        *(contribution.metrics.get(name, float("nan")) for name in names),
    )
    return head + contribution.update.astype("<f4").tobytes()


def unpack_plain(bulk: bytes, layout: Layout) -> Contribution:
    """Read a contribution in the clear.

    Raises:
        MalformedMessageError: If it does not have the layout's size.
    """
    names, head = _metric_names(layout), _plain_head(layout)
    if len(bulk) != head.size + 4 * layout.dim:
        raise MalformedMessageError
    num_examples, *values = head.unpack_from(bulk)
    metrics: Mapping[str, float] = dict(zip(names, values, strict=True))
    update = np.frombuffer(bulk, dtype="<f4", offset=head.size).astype(np.float32)
    return Contribution(update, num_examples, metrics)


def _plain_head(layout: Layout) -> struct.Struct:
    return struct.Struct(f">Q{len(_metric_names(layout))}d")


def _metric_names(layout: Layout) -> list[str]:
    return [extra.name for extra in layout.extras if extra.name not in RESERVED]
