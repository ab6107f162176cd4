"""A run's virtual clients, as an actor of Ray sees them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from flwr.app import Context, Message
from flwr.app.user_config import UserConfigValue
from flwr.clientapp import ClientApp

_LOG_FORMAT = "%(asctime)s client {} %(levelname)s %(name)s: %(message)s"


class VirtualClients(ClientApp):
    """Answers a message as the client to whom it is addressed.

    An actor is one client after another. Each has a folder of its own with its keys,
    state and shard, and whatever one of them needs to remember it keeps there.

    Args:
        keyset: Has the folder of every client.
        run_id: The run they are enrolled in, as hex.
        device: Where they train.
        run_config: The whole run configuration.
    """

    def __init__(
        self,
        keyset: Path,
        run_id: str,
        device: str,
        run_config: Mapping[str, UserConfigValue],
    ) -> None:
        super().__init__()
        self._keyset = keyset
        self._run_id = run_id
        self._device = device
        self._run_config = dict(run_config)

    def __call__(self, message: Message, context: Context) -> Message:
        """Become the client of the context's partition, and answer."""
        # Imported here: the process that starts the actors needs no torch for them.
        from clients.app import app  # noqa: PLC0415

        client_id = int(context.node_config["partition-id"]) + 1
        _log_as(client_id)
        folder = self._keyset / f"client-{client_id}"
        own = {"client-dir": str(folder), "run-id": self._run_id}
        known = Context(
            run_id=context.run_id,
            node_id=context.node_id,
            node_config={**context.node_config, **own, "device": self._device},
            state=context.state,
            run_config=dict(self._run_config),
        )
        return app(message, known)


def _log_as(client_id: int) -> None:
    """Name the client in every line: all of them log into one file."""
    text = _LOG_FORMAT.format(client_id)
    logging.basicConfig(level=logging.INFO, format=text, force=True)
