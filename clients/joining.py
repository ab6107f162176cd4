"""How a node comes in: waits for the SuperLink, and for being let in.

No wait is without an end, and when it ends is in the log.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from clients.flower_internals import (
    FleetConnection,
    NodeRefusedError,
    SuperLinkLostError,
    clock_in,
    connect,
)

_log = logging.getLogger("unseen.node")

_QUIET_SECONDS = 5.0  # of waiting before a word about it
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Entry:
    """Where and as whom a node comes in.

    Attributes:
        superlink: `host:port`.
        root_certificates: PEM file for TLS; None for a plain connection.
        private_key: The node's registered key; None for one that registers itself.
        patience: Seconds to wait, for the SuperLink and for being let in.
    """

    superlink: str
    root_certificates: Path | None
    private_key: Path | None
    patience: float

    def wait(self, stop: threading.Event, *, check: Callable[[], None]) -> None:
        """Wait for the SuperLink's port, quicker than Flower's own retries.

        Args:
            stop: Ends the wait.
            check: Raises what makes waiting pointless.

        Raises:
            SuperLinkLostError: If nothing listens there in time.
        """
        host, _, port = self.superlink.rpartition(":")
        started, told = time.monotonic(), False
        while not stop.wait(0.1):
            check()
            try:
                address = (host.strip("[]"), int(port))
                socket.create_connection(address, timeout=5).close()
            except OSError as error:
                waited = time.monotonic() - started
                if waited > self.patience:
                    raise SuperLinkLostError(
                        f"no SuperLink at {self.superlink} after {self.patience:.0f} s "
                        f"({type(error).__name__}); is it running?"
                    ) from error
                if waited > _QUIET_SECONDS and not told:
                    self._tell("no SuperLink yet", started)
                    told = True
            else:
                return

    def connect(
        self, stop: threading.Event, stack: ExitStack
    ) -> FleetConnection | None:
        """Try until the SuperLink lets this node in; None if told to stop.

        After a node was killed its key is refused for about a minute, as if unknown.

        Args:
            stop: Ends the tries.
            stack: Closes the connection.

        Raises:
            NodeRefusedError: If it is not let in in time.
        """
        started, told = time.monotonic(), False
        while not stop.is_set():
            try:
                return stack.enter_context(
                    connect(
                        self.superlink,
                        root_certificates=self.root_certificates,
                        private_key=self.private_key,
                        patience=self.patience,
                    )
                )
            except NodeRefusedError as error:
                is_late = time.monotonic() - started > self.patience
                if is_late or self.private_key is None:
                    raise NodeRefusedError(
                        f"the SuperLink does not let this node in ({error}); is its "
                        f"key registered, and no other process running with it?"
                    ) from None
                if not told:
                    self._tell(
                        f"not let in yet ({error}): the key is not registered, or its "
                        f"node was killed less than a minute ago",
                        started,
                    )
                    told = True
                stop.wait(_AGAIN_SECONDS)
        return None

    def _tell(self, problem: str, started: float) -> None:
        left = started + self.patience - time.monotonic()
        _log.warning("%s; trying again until %s", problem, clock_in(left))
