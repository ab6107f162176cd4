"""Five clients of the end-to-end benchmark: their keys, their app, their runs."""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from crypto.manifest import SIMULATION, Manifest
from crypto.params import AggregationParams
from experiments.bench.app import write_app
from experiments.bench.scene import (
    CLIENTS,
    BenchError,
    deal_fixed_primes,
    default_params,
)
from experiments.bench.simulation import OWN, TWO_VALUES, TWO_VALUES_BITS, simulate
from experiments.engine import ClientSpec, ProcessEngine
from experiments.keysets import write_keyset
from experiments.prepare import PreparedRun, enrol
from experiments.progress import follow
from experiments.settings import default
from models.shards import Shard

MODES: Final = ("plain", "hybrid")
_ROUNDS: Final = 3  # in a run; the first fills caches and is left out
_SIMULATED_ROUNDS: Final = 6
_CHECK_SECONDS: Final = 0.2
_LIMIT_SECONDS: Final = 600.0

_MODULE: Final = "experiments.bench.lstm"
_CONFIG: Final = """
train-seconds = 0.0
server-dir = ""
num-rounds = 0
events = ""
"""


@dataclass(frozen=True)
class Rounds:
    """What the rounds of one run took.

    Attributes:
        seconds: On the clock, one a round.
        run_cpu_seconds: Of all processes together for the whole run, its start too.
        bytes_up: From one client, a round: its update and what it opened.
    """

    seconds: list[float]
    run_cpu_seconds: float
    bytes_up: float


class Group:
    """Keys for five clients, and a folder to work in.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        public_key, holders = deal_fixed_primes(default("key-bits"))
        self._keys = write_keyset(
            folder / "keys",
            public_key,
            holders,
            num_clients=CLIENTS,
            purpose=SIMULATION,
        )
        self._app = folder / "app"
        write_app(self._app, _MODULE, _CONFIG)
        self._runs = 0

    def enrol(self, way: str) -> PreparedRun:
        """Enrol everybody in a fresh run of one of our own ways."""
        manifest = Manifest(self._keys, lstm_params(way))
        empty = Shard({"labels": np.zeros(1, dtype=np.int64)})
        return enrol(self._folder / "keys", manifest, [empty] * CLIENTS, empty)

    def run(self, mode: str, train_seconds: float) -> Rounds:
        """Run a few rounds with real processes.

        Raises:
            BenchError: If they do not end.
            EngineError: If a process dies.
        """
        prepared = self.enrol(mode)
        self._runs += 1
        events = self._folder / f"events-{self._runs}.jsonl"
        clients = [
            ClientSpec(i, prepared.client_folder(i), prepared.run_id)
            for i in range(1, CLIENTS + 1)
        ]
        before = _ended_children_seconds()
        with ProcessEngine(
            self._app,
            self._folder / f"logs-{self._runs}",
            clients,
            app=f"{_MODULE}:client",
        ) as engine:
            engine.start()
            engine.submit(
                {
                    "train-seconds": train_seconds,
                    "server-dir": str(prepared.server_folder),
                    "num-rounds": _ROUNDS,
                    "events": str(events),
                }
            )
            _wait(engine)
        used = _ended_children_seconds() - before
        return _read(events, used)

    def simulate(self, way: str) -> list[float]:
        """Run a few rounds in Flower's simulation; return each one's seconds."""
        prepared = self._folder / "prepared"
        if not prepared.exists():
            prepared.symlink_to(self._folder / "keys")
        server_dir = self.enrol(way).server_folder if way in OWN else None
        return simulate(way, _SIMULATED_ROUNDS, self._folder, server_dir)


def lstm_params(way: str) -> AggregationParams:
    """Return what one of our own ways runs with: the defaults, but for its bits."""
    params = default_params(default("key-bits"))
    bits = TWO_VALUES_BITS if way == TWO_VALUES else params.value_bits
    return replace(
        params, mode=OWN[way], value_bits=bits, metrics={"train_loss": 1024.0}
    )


def _wait(engine: ProcessEngine) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while engine.status() != "finished:completed":
        engine.check()
        if time.monotonic() > deadline:
            raise BenchError(f"the rounds did not end in {_LIMIT_SECONDS:.0f} s")
        time.sleep(_CHECK_SECONDS)


def _read(events: Path, cpu_seconds: float) -> Rounds:
    """Read the rounds of a run, without the first.

    Raises:
        BenchError: If one of them failed.
    """
    lines = list(follow(events, lambda: True))
    opened = [line for line in lines if line["event"] == "opened"]
    if len(opened) != _ROUNDS:
        raise BenchError(f"{len(opened)} of {_ROUNDS} rounds were opened")
    finished = [line for line in lines if line["event"] == "round_finished"][1:]
    return Rounds(
        [line["seconds"] for line in finished],
        cpu_seconds,
        median(line["bytes_up"] for line in finished) / CLIENTS,
    )


def _ended_children_seconds() -> float:
    """Return the CPU seconds of child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
