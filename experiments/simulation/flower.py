"""Flower's simulation as this project runs it, on a Ray that has started."""

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

# Deprecated in favour of `flwr run`, which runs copies of the project's files and lets
# clients find their folders by one link for all runs of a machine.
from flwr.simulation import run_simulation

from experiments.simulation.dispatch import dispatch_at_once
from experiments.simulation.resources import Resources
from experiments.simulation.transport import SharingApp, share_large_records


def simulate(
    server: ServerApp, client: ClientApp, num_clients: int, resources: Resources
) -> None:
    """Run a server and its virtual clients; returns when the server has ended.

    Args:
        server: Runs in a thread of this process.
        client: Answers in Ray's actors.
        num_clients: Clients, whose partitions count from 0.
        resources: What an actor gets.
    """
    dispatch_at_once()
    share_large_records()
    run_simulation(
        server,
        SharingApp(client),
        num_clients,
        backend_config={
            "client_resources": {
                "num_cpus": resources.cpus,
                "num_gpus": resources.gpus,
            }
        },
    )
