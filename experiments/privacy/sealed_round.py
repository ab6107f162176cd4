"""One round through the real mods, wrapper and committee, and what everybody saw of it.

Keys are the benchmarks' fixed primes, so that no experiment waits for a prime search:
ciphertexts of the full size, under a key that protects nothing.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from clients.carriage import uncarry
from crypto import packing, rlwe
from crypto.bitpack import BitSum
from crypto.context import RoundFacts
from crypto.dealer import deal
from crypto.key_holder import KeyHolder
from crypto.layout import NUM_EXAMPLES, TRAIN, make_layout
from crypto.manifest import SIMULATION, Manifest
from crypto.params import AggregationParams
from crypto.public_key import PublicKey
from crypto.threshold import combine
from crypto.vector import Contribution, IntVector, decode, encode
from crypto.wire import Broadcast, Upload, unpack_ciphertexts
from experiments.bench.scene import fixed_primes
from experiments.keysets import write_keyset
from experiments.prepare import PreparedRun, enrol
from experiments.privacy.federation import RUN_CONFIG, Federation
from models.shards import Shard
from server.carriage import RECORD, unwrap

Vector = NDArray[np.float32]

HOLDERS: Final = 5
THRESHOLD: Final = 4
_DEADLINE_SECONDS: Final = 120.0


class NothingOpenedError(Exception):
    """The round that an experiment needs was not opened."""


def make_params(num_clients: int, **changes: Any) -> AggregationParams:
    """Parameters of an experiment's round: the project's defaults, no metrics.

    Args:
        num_clients: In the round, at least two; the committee is four of the first
            five, or all of them if they are fewer.
        changes: Of single parameters, `mode` and `clip` above all.
    """
    holders, needed = min(HOLDERS, num_clients), min(THRESHOLD, num_clients)
    values: dict[str, Any] = {
        "mode": "hybrid",
        "key_bits": 3072,
        "num_holders": holders,
        "threshold": needed,
        "max_corrupt": max(0, needed - 2),
        "min_contributors": needed,
        "max_contributors": num_clients,
        "value_bits": 20,
        "clip": 1.0,
        "w_max": 1,
        "metrics": {},
    }
    return AggregationParams(**(values | changes))


@dataclass(frozen=True)
class SealedRound:
    """What each party had of a round; index 0 is client 1.

    Attributes:
        params: Of the round.
        updates: The clients' own updates before anything is done to them, each of
            shape (dim,), float32: what a server without encryption sees.
        uploads: What the server got from every client instead.
        received: Every reply that reached the server, openings included.
        mean: Shape (dim,), float64: the opened mean update, what the server and every
            client learn in the end.
    """

    params: AggregationParams
    updates: Sequence[Vector]
    uploads: Sequence[Upload]
    received: Sequence[Message]
    mean: NDArray[np.float64]
    _manifest: Manifest
    _facts: RoundFacts
    _holders: Sequence[KeyHolder]

    @property
    def total(self) -> NDArray[np.float64]:
        """Shape (dim,): the opened sum of the updates."""
        return self.mean * len(self.updates)

    @property
    def step(self) -> float:
        """Size of one quantisation step, in units of an update."""
        return 1 / self.params.scale

    def collude(self, index: int) -> NDArray[np.float64]:
        """Open one client's upload: the server with as many members as can open.

        Members that collude do not ask what they open. The result is that client's
        update to half a quantisation step, clipped.

        Args:
            index: Of the client, from 0.
        """
        params, key = self.params, self._manifest.keys.public_key
        layout, upload = self._facts.layout(self._manifest), self.uploads[index]
        count = params.num_ciphertexts(layout.num_values)
        ciphertexts = unpack_ciphertexts(upload.ciphertexts, count, key)
        nobody = bytes(32)
        partials = {
            holder.index: holder.partials(ciphertexts, nobody)
            for holder in self._holders[: params.threshold]
        }
        values = packing.unpack(
            combine(ciphertexts, partials, key, nobody),
            count=params.num_sealed(layout.num_values),
            slot_bits=params.slot_bits,
            slots_per_plaintext=params.slots_per_plaintext,
        )
        if params.mode == "hybrid":
            values = self._unmask(upload.bulk, values, layout.num_values)
        return decode(values, 1, params, layout).mean_update

    def _unmask(self, bulk: bytes, key: IntVector, num_values: int) -> IntVector:
        params = self.params
        own = BitSum(rlwe.num_coefficients(num_values, params), params.modulus_bits)
        own.add(bulk)
        context = self._facts.context(self._manifest)
        values, _ = rlwe.unmask(
            own, key, count=1, num_values=num_values, context=context, params=params
        )
        return values


def seal_round(updates: Sequence[Vector], **changes: Any) -> SealedRound:
    """Have every client seal its update, add them up and open the sum.

    Args:
        updates: At least two, each of shape (dim,); larger than the clip are clipped.
        changes: Of the parameters (`make_params`).

    Raises:
        NothingOpenedError: If the round failed.
    """
    params = make_params(len(updates), **changes)
    asked: list[Message] = []

    def keep(_: int, message: Message) -> Message:
        asked.append(message)
        return message

    def train(client: int, model: Vector) -> tuple[Vector, dict[str, Any]]:
        return model + updates[client - 1], {NUM_EXAMPLES: 1}

    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        prepared, holders = make_group(Path(folder) / "keys", params)
        federation = Federation(prepared, train=train, intercept=keep)
        result, wrapper = federation.run(
            np.zeros_like(updates[0]),
            strategy=FedAvg(fraction_evaluate=0.0),
            train_metrics=(),
            deadline_seconds=_DEADLINE_SECONDS,
        )
    if wrapper.rounds_opened != 1:
        raise NothingOpenedError("the round was not opened")
    uploads = _uploads(federation.received)
    return SealedRound(
        params=params,
        updates=updates,
        uploads=[uploads[i] for i in range(1, len(updates) + 1)],
        received=federation.received,
        mean=result.arrays["parameters"].numpy().astype(np.float64),
        _manifest=prepared.manifest,
        _facts=_facts(asked),
        _holders=holders,
    )


def make_group(
    folder: Path, params: AggregationParams
) -> tuple[PreparedRun, Sequence[KeyHolder]]:
    """Write every party's folder under the fixed primes and enrol all in a run.

    Returns:
        The run, and the key holders' secrets for those who collude.
    """
    public_key, holders = _deal(params.key_bits, params.num_holders, params.threshold)
    keys = write_keyset(
        folder,
        public_key,
        holders,
        num_clients=params.max_contributors,
        purpose=SIMULATION,
    )
    nothing = Shard({"labels": np.zeros(1, dtype=np.int64)})
    shards = [nothing] * params.max_contributors
    return enrol(folder, Manifest(keys, params), shards, nothing), holders


def quantised_total(updates: Sequence[Vector], **changes: Any) -> NDArray[np.float64]:
    """Return the sum that `seal_round` would open, without sealing anything.

    For sweeps: `tests/test_privacy_sealed_round.py` shows that both are equal.
    """
    params = make_params(len(updates), **changes)
    layout = make_layout(params, phase=TRAIN, dim=updates[0].size, metrics=())
    total = np.zeros(layout.num_values, dtype=np.int64)
    for update in updates:
        total += encode(Contribution(update, 1, {}), params, layout)
    return decode(total, len(updates), params, layout).mean_update * len(updates)


@cache  # so that the table of the blinding base is made once
def _deal(
    key_bits: int, num_holders: int, threshold: int
) -> tuple[PublicKey, Sequence[KeyHolder]]:
    p, q = fixed_primes(key_bits)
    return deal(p, q, num_holders=num_holders, threshold=threshold)


def _uploads(received: Sequence[Message]) -> Mapping[int, Upload]:
    """Return what every client sealed, by its id."""
    found = [Upload.from_bytes(unwrap(r, "upload")) for r in received if _is_upload(r)]
    return {upload.client_id: upload for upload in found}


def _is_upload(reply: Message) -> bool:
    return reply.content.config_records[RECORD]["kind"] == "upload"


def _facts(asked: Sequence[Message]) -> RoundFacts:
    """Return what the round was about, as every client was told."""
    rounds = (data for kind, data in map(uncarry, asked) if kind == "round")
    return Broadcast.from_bytes(next(rounds)).facts(RUN_CONFIG)
