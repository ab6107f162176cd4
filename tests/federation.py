"""A small group for tests that run a federation in one process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from gmpy2 import mpz
from numpy.typing import NDArray

from crypto.dealer import deal
from crypto.manifest import SIMULATION, Manifest
from crypto.params import AggregationParams
from experiments.keysets import write_keyset
from experiments.prepare import PreparedRun, enrol
from experiments.privacy.federation import RUN_CONFIG, Federation, InProcessGrid
from models.shards import Shard

__all__ = [
    "RUN_CONFIG",
    "Federation",
    "InProcessGrid",
    "gone",
    "make_group",
    "make_params",
    "moves",
    "read",
    "steady",
]

# Safe primes of 256 bits: quick, and useless for anything but tests.
P = mpz(0xF9DE58C0FA52661720EEC369203DC4243CF282F4D3136C5143275AAC7DE7AD17)
Q = mpz(0xDB8F9C2CD3B29AFD98120597BB7EA51E185C342ADA5403AAB07976FE2F54C4EF)


def make_params(**changes: Any) -> AggregationParams:
    """Parameters for five clients, any four of which open a sum."""
    values: dict[str, Any] = {
        "mode": "paillier",
        "key_bits": 512,
        "num_holders": 5,
        "threshold": 4,
        "max_corrupt": 2,
        "min_contributors": 4,
        "max_contributors": 5,
        "value_bits": 20,
        "clip": 2.0,
        "w_max": 1024,
        "metrics": {"loss": 1024.0, "accuracy": 1.0},
    }
    return AggregationParams(**(values | changes))


def make_group(folder: Path, params: AggregationParams) -> PreparedRun:
    """Deal keys, write every party's folder and enrol everybody in a fresh run."""
    public_key, holders = deal(
        P, Q, num_holders=params.num_holders, threshold=params.threshold
    )
    keys = write_keyset(
        folder,
        public_key,
        holders,
        num_clients=params.max_contributors,
        purpose=SIMULATION,
    )
    empty = Shard({"labels": np.zeros(1, dtype=np.int64)})
    shards = [empty] * params.max_contributors
    return enrol(folder, Manifest(keys, params), shards, empty)


def gone(reply: Message) -> Message:
    """Turn a reply into one the server refuses, as if it never came."""
    reply.content = RecordDict({"unseen": ConfigRecord({"kind": "error", "data": b""})})
    return reply


def read(path: Path) -> list[dict[str, Any]]:
    """Read an event log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def moves(dim: int, scale: float = 1.0) -> dict[int, NDArray[np.float32]]:
    """Made-up updates of five clients."""
    generator = np.random.default_rng(7)
    return {
        i: (generator.normal(0, scale, dim)).astype(np.float32) for i in range(1, 6)
    }


def steady(folder: Path, **options: Any) -> Federation:
    """Five clients with one example each that move every parameter by 1."""
    return Federation(
        make_group(folder, make_params()),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
        **options,
    )
