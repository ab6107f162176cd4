"""Aggregation alone, in Flower's simulation: plain FedAvg, SecAgg+, and this project.

    python -m experiments.bench.simulation WAY ROUNDS OUT [SERVER_DIR]

Five clients on the same vectors, without training. Flower's own ways run in its
simulation as it comes, ours as `unseen run --engine ray` runs it, and SecAgg+ also
there. Every way runs in a process of its own and writes the moments at which its server
has a new model.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ray
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from crypto.layout import NUM_EXAMPLES
from crypto.parallel import usable_cores
from experiments.bench import lstm as bench_lstm
from experiments.bench.lstm import EXAMPLES, Job, initial_arrays, train
from experiments.bench.scene import CLIENTS
from experiments.settings import PROJECT
from experiments.simulation.flower import simulate as simulate_ours
from experiments.simulation.resources import Resources

CHEAPEST: Final = "secagg+ 2 of 3"  # as in Flower's example of it
LIKE_OURS: Final = "secagg+ 4 of 5"
SAME_ENGINE: Final = "secagg+ 2 of 3, our engine"
# Shares of every client's key, and how many of them give it away.
_SECAGG: Final = {CHEAPEST: (3, 2), LIKE_OURS: (5, 4), SAME_ENGINE: (3, 2)}
# Value bits with which two of five clients' values fit a coefficient.
TWO_VALUES_BITS: Final = 18
TWO_VALUES: Final = f"hybrid {TWO_VALUES_BITS} bits"
OWN: Final = {"plain": "plain", "hybrid": "hybrid", TWO_VALUES: "hybrid"}
WAYS: Final = ("fedavg", *_SECAGG, *OWN)
# In Flower's simulation as it comes; the others as `--engine ray` runs it.
_AS_SHIPPED: Final = ("fedavg", CHEAPEST, LIKE_OURS)

Clock = Callable[..., None]


def simulate(
    way: str, rounds: int, folder: Path, server_dir: Path | None = None
) -> list[float]:
    """Run one way in a process of its own.

    Args:
        way: One of `WAYS`.
        rounds: Rounds to run.
        folder: Gets the result; `prepared` in it is the clients' key set.
        server_dir: The server's folder of an enrolled run, for our own modes.

    Returns:
        Seconds of every round but the first.

    Raises:
        CalledProcessError: If it fails; its output is on stderr.
    """
    out = folder / f"{way}.json"
    command = [sys.executable, "-m", "experiments.bench.simulation"]
    command += [way, str(rounds), str(out), *([str(server_dir)] if server_dir else [])]
    subprocess.run(
        command,
        check=True,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ
        | {
            "UNSEEN_HOME": str(folder),
            "FLWR_TELEMETRY_ENABLED": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    )
    moments = json.loads(out.read_text())
    return [after - before for before, after in pairwise(moments)][1:]


def _main(way: str, rounds: str, out: str, server_dir: str = "") -> None:
    moments: list[float] = []

    def clock(*_: Any) -> None:
        moments.append(time.monotonic())

    if way in OWN:
        job = Job(Path(server_dir), int(rounds), events=None)
        server, client = _own_server(job, clock), bench_lstm.client
    elif way in _SECAGG:
        server, client = _secagg_plus(int(rounds), clock, *_SECAGG[way])
    else:
        server, client = _fedavg(int(rounds), clock)
    ray.init(num_cpus=usable_cores(), include_dashboard=False)
    if way in _AS_SHIPPED:
        run_simulation(
            server,
            client,
            CLIENTS,
            backend_config={"client_resources": {"num_cpus": 1}},
        )
    else:
        simulate_ours(server, client, CLIENTS, Resources("", cpus=1.0, gpus=0.0))
    Path(out).write_text(json.dumps(moments))


def _own_server(job: Job, clock: Clock) -> ServerApp:
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        job.run(grid, context.run_config, after_round=clock)

    return server


def _fedavg(rounds: int, clock: Clock) -> tuple[ServerApp, ClientApp]:
    """Return Flower's own averaging, in the clear."""
    server, client = ServerApp(), ClientApp()

    @server.main()
    def main(grid: Grid, _: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=CLIENTS)
        strategy.start(grid, initial_arrays(), num_rounds=rounds, evaluate_fn=clock)

    @client.train()
    def answer(message: Message, _: Context) -> Message:
        (arrays,) = message.content.array_records.values()
        state = arrays.to_torch_state_dict()
        train(state, seed=0, core_seconds=0.0)
        metrics = MetricRecord({NUM_EXAMPLES: EXAMPLES})
        content = RecordDict({"arrays": ArrayRecord(state), "metrics": metrics})
        return Message(content, reply_to=message)

    return server, client


def _secagg_plus(
    rounds: int, clock: Clock, shares: int, threshold: int
) -> tuple[ServerApp, ClientApp]:
    """Return Flower's SecAgg+ workflow, at its default widths."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        arrays = [array.numpy() for array in initial_arrays().values()]
        strategy = LegacyFedAvg(
            fraction_evaluate=0.0,
            min_fit_clients=CLIENTS,
            min_available_clients=CLIENTS,
            initial_parameters=ndarrays_to_parameters(arrays),
            evaluate_fn=clock,
        )
        config = ServerConfig(num_rounds=rounds)
        workflow = SecAggPlusWorkflow(shares, threshold)
        legacy = LegacyContext(context, config=config, strategy=strategy)
        DefaultWorkflow(fit_workflow=workflow)(grid, legacy)

    def make(_: Context) -> Any:
        return _Moves().to_client()

    return server, ClientApp(client_fn=make, mods=[secaggplus_mod])


class _Moves(NumPyClient):
    """Moves every parameter a little, as `train` does without training."""

    def fit(self, parameters: Any, config: Any) -> tuple[Any, int, dict[str, Any]]:
        """Return the moved parameters."""
        del config
        return [array + bench_lstm.MOVE for array in parameters], EXAMPLES, {}


if __name__ == "__main__":
    _main(*sys.argv[1:])
