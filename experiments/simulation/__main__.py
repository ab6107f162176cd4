"""The process of a simulated run: the server, Flower's simulation, and Ray under it.

python -m experiments.simulation HOME
"""

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crypto.parallel import usable_cores
from experiments.simulation.job import ERROR, READY, RUN, Job, put
from experiments.simulation.resources import Resources

_POLL_SECONDS = 0.05


class _TooSmallError(Exception):
    """No node of the cluster has room for an actor."""


def main(home: Path) -> int:
    """Start Ray, wait for the run configuration, run; return the exit code."""
    job = Job.read(home)
    try:
        _start_ray(job.resources, home)
    except ImportError:
        hint = 'install it: pip install "flwr[simulation]"'
        put(home / ERROR, ("the Ray engine needs ray, which is not installed", hint))
        return 1
    except _TooSmallError as error:
        hint = "ask for less with --client-cpus and --client-gpus"
        put(home / ERROR, (str(error), hint))
        return 1
    except Exception as error:  # Ray raises that very class, too
        text = str(error).splitlines() or [type(error).__name__]
        put(home / ERROR, (f"Ray does not start: {text[0]}", ""))
        raise
    (home / READY).touch()
    while not (home / RUN).exists():
        time.sleep(_POLL_SECONDS)
    _simulate(job, json.loads((home / RUN).read_text()))
    return 0


def _start_ray(resources: Resources, home: Path) -> None:
    """Start a Ray of our own, or join the one that was named.

    Raises:
        ImportError: If Ray is not installed.
        _TooSmallError: If no actor fits.
    """
    # A tip of Ray's about the card-less actors of the future, not an error.
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")

    import ray  # noqa: PLC0415 - a missing one is a message, not a traceback

    nodes: Callable[[], list[Mapping[str, Any]]] = ray.nodes
    total: Callable[[], Mapping[str, float]] = ray.cluster_resources

    where: dict[str, Any] = {
        "address": "local",  # whatever RAY_ADDRESS says
        "num_cpus": usable_cores(),
        "include_dashboard": False,
        "_temp_dir": str(home / "ray"),
    }
    if resources.address:
        # The other machines have the project at the same place, and the key set.
        path = {"PYTHONPATH": ":".join(sys.path)}
        where = {"address": resources.address, "runtime_env": {"env_vars": path}}
    try:
        ray.init(logging_level=logging.WARNING, **where)
    except Exception as error:  # Ray raises that very class
        # It gives itself 30 s, which may be too few on a busy machine: once more.
        if "timed out" not in str(error):
            raise
        ray.shutdown()
        ray.init(logging_level=logging.WARNING, **where)
    if not any(_has_room(node["Resources"], resources) for node in nodes()):
        there = total()
        raise _TooSmallError(
            f"no machine has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs for a "
            f"client; all of them have {there.get('CPU', 0):g} and "
            f"{there.get('GPU', 0):g}"
        )


def _has_room(node: Mapping[str, float], asked: Resources) -> bool:
    return node.get("CPU", 0) >= asked.cpus and node.get("GPU", 0) >= asked.gpus


def _simulate(job: Job, run_config: Mapping[str, bool | float | int | str]) -> None:
    # Imported here: Flower and torch take seconds, and an error shall not wait for it.
    from flwr.app import Context  # noqa: PLC0415
    from flwr.serverapp import Grid, ServerApp  # noqa: PLC0415

    from experiments.simulation.clients import VirtualClients  # noqa: PLC0415
    from experiments.simulation.flower import simulate  # noqa: PLC0415
    from server.app import main as serve  # noqa: PLC0415

    server = ServerApp()

    @server.main()
    def _serve(grid: Grid, context: Context) -> None:
        context.run_config = dict(run_config)
        serve(grid, context)

    clients = VirtualClients(job.keyset, job.run_id, job.device, run_config)
    simulate(server, clients, job.num_clients, job.resources)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
