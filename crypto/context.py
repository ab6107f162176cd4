"""The context of a round: one hash over everything that must be the same for all.

Every party computes it from its own pinned facts and from what it received; every
signature and every opening is bound to it. A client that was given another model, a
different configuration or another task than the others signs another context, and
the key holders open nothing. Implements PROTOCOL.md section 7.4.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from crypto.encoding import Canonical, canon, lp, u8, u32, u64
from crypto.errors import ContextMismatchError, ParameterError
from crypto.layout import Layout, make_layout
from crypto.manifest import Manifest

RUN_ID_BYTES = 16
_MAX_ROUND = 1 << 63

NamedArray = tuple[str, NDArray[np.generic]]


@dataclass(frozen=True)
class RoundFacts:
    """What the server proposes for a round; the rest of the context is pinned.

    Attributes:
        run_id: 16 bytes, chosen on the clients' side.
        round: Number of the round, from 1.
        phase: `crypto.layout.TRAIN` or `EVALUATE`.
        model: Digest of the global model as received.
        dim: Model coordinates in the vector; 0 in an evaluation.
        metrics: Names of the metrics that travel.
        run_config: Digest of the run configuration as the app reads it.
        records: Digest of every other record that the app can read.
    """

    run_id: bytes
    round: int
    phase: int
    model: bytes
    dim: int
    metrics: tuple[str, ...]
    run_config: bytes
    records: bytes

    def layout(self, manifest: Manifest) -> Layout:
        """Return the round's layout.

        Raises:
            ContextMismatchError: If phase, dimension or metrics do not fit the run.
        """
        try:
            return make_layout(
                manifest.params, phase=self.phase, dim=self.dim, metrics=self.metrics
            )
        except ParameterError as error:
            raise ContextMismatchError(str(error)) from None

    def context(self, manifest: Manifest) -> bytes:
        """Hash the facts with the pinned ones: ``ctx``, 32 bytes.

        Raises:
            ContextMismatchError: If a fact is out of range.
        """
        if len(self.run_id) != RUN_ID_BYTES or not 0 < self.round < _MAX_ROUND:
            raise ContextMismatchError("run id or round is out of range")
        layout = self.layout(manifest).to_bytes()
        task = sha256(b"SA/v1/task" + lp(layout) + self.run_config + self.records)
        return sha256(
            b"SA/v1/ctx"
            + lp(self.run_id)
            + u64(self.round)
            + u8(self.phase)
            + manifest.keys.public_key.digest()
            + manifest.params.digest()
            + manifest.keys.roster.digest()
            + self.model
            + task.digest()
        ).digest()


def model_digest(arrays: Iterable[NamedArray]) -> bytes:
    """Hash a model's arrays in the order received: names, types, shapes, bytes."""
    items = list(arrays)
    digest = sha256(b"SA/v1/model" + u32(len(items)))
    for name, array in items:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(lp(name.encode()) + lp(little.dtype.str.encode()))
        digest.update(u8(array.ndim) + b"".join(u64(size) for size in array.shape))
        digest.update(u64(little.nbytes))
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.digest()


def records_digest(values: Mapping[str, Canonical]) -> bytes:
    """Hash a run configuration, or the records of a message."""
    return sha256(canon(values)).digest()
