"""One client's process: receives messages and answers them with the ClientApp.

`python -P -m clients.node --superlink HOST:PORT ...` stays alive over all runs
of its SuperLink. It runs only the ClientApp installed on this machine; from the
server's bundle it reads nothing but the run config. Hello and opening messages
are answered on a thread of their own, so that a key holder that is training
never delays an opening.
"""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # read by flwr when it is imported
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import argparse
import importlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType

from flwr.app import Context, Error, Message
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from clients.flower_internals import (
    LOST_AFTER_SECONDS,
    FleetConnection,
    NodeRefusedError,
    RunEndedError,
    SuperLinkLostError,
    was_refused,
)
from clients.folder import refuse_foreign_simulation
from clients.joining import Entry
from crypto.errors import AppError, CryptoError

_log = logging.getLogger("unseen.node")

# Right after a message the next one is likely: poll faster for a short while.
_BUSY_POLL_SECONDS = 0.1
_BUSY_SECONDS = 2.0
# Within this time a stop signal ends the process, whatever it is doing.
_STOP_SECONDS = 1.0
_OVER_SECONDS = 5.0  # between two questions whether a run is over


class NodeError(Exception):
    """The node cannot work; the text says what to do."""


_EXPECTED = (
    *(NodeError, NodeRefusedError, SuperLinkLostError),
    *(CryptoError, OSError, TypeError),
)


class Node:
    """Answers the messages of one SuperLink until told to stop."""

    def __init__(
        self,
        connection: FleetConnection,
        app: Future[ClientApp],
        node_config: UserConfig,
        *,
        poll_seconds: float,
        once: bool = False,
    ) -> None:
        self._once = once
        self._asked_over = 0.0
        self._connection = connection
        self._app = app
        self._node_config = node_config
        self._poll_seconds = poll_seconds
        self._contexts: dict[int, Context] = {}
        self._work: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._quick: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._last_activity = 0.0
        self._failure: BaseException | None = None

    def serve(self, stop: threading.Event) -> None:
        """Receive and answer messages until `stop` is set.

        Raises:
            SuperLinkLostError: If the SuperLink is out of reach too long.
            NodeError: If the ClientApp cannot be loaded.
        """
        for messages in (self._work, self._quick):
            threading.Thread(
                target=self._answer_all, args=(messages,), daemon=True
            ).start()
        while not stop.is_set():
            if self._failure is not None:
                raise self._failure
            _raise_if_failed(self._app)
            if self._take_one():
                continue
            if self._once and self._is_over():
                _log.info("the run is over")
                return
            stop.wait(self._pause_seconds())

    def _is_over(self) -> bool:
        """Whether all runs are over that a message came of; asked now and then."""
        now = time.monotonic()
        if not self._contexts or now - self._asked_over < _OVER_SECONDS:
            return False
        self._asked_over = now
        return all(self._connection.is_over(run_id) for run_id in self._contexts)

    def _pause_seconds(self) -> float:
        if time.monotonic() - self._last_activity < _BUSY_SECONDS:
            return min(self._poll_seconds, _BUSY_POLL_SECONDS)
        return self._poll_seconds

    def _take_one(self) -> bool:
        """Receive one message, if there is one, and queue it for its thread."""
        announcement = self._connection.receive()
        if announcement is None:
            return False
        self._last_activity = time.monotonic()
        try:
            message = self._connection.fetch(announcement)
            if announcement.run_id not in self._contexts:
                self._contexts[announcement.run_id] = self._connection.new_context(
                    announcement.run_id, self._node_config
                )
        except RunEndedError:
            _log.info("dropped a message of run %d: it has ended", announcement.run_id)
        except Exception:
            _log.exception("could not fetch a message of run %d", announcement.run_id)
            self._send(_error_reply(announcement.head), time.monotonic())
        else:
            (self._quick if _is_quick(message) else self._work).put(message)
        return True

    def _answer_all(self, messages: queue.SimpleQueue[Message]) -> None:
        """Answer one queue for ever; anything unexpected ends the process."""
        try:
            while True:
                self._answer(messages.get())
        except BaseException as error:
            self._failure = error

    def _answer(self, message: Message) -> None:
        app = self._app.result()
        started = time.monotonic()
        try:
            reply = app(message, self._contexts[message.metadata.run_id])
            _require_message(reply)
        except Exception:
            _log.exception("the ClientApp failed")
            reply = _error_reply(message)
        self._send(reply, started)

    def _send(self, reply: Message, started: float) -> None:
        try:
            self._connection.send(reply, started=started)
        except RunEndedError:
            _log.info("dropped a reply of run %d: it has ended", reply.metadata.run_id)
        except Exception:
            # Lost for this message only: if the SuperLink is gone, the
            # receiving thread finds out and ends the process.
            _log.exception("could not send a reply")
        self._last_activity = time.monotonic()


def _is_quick(message: Message) -> bool:
    """Whether a message must not wait behind training: a hello or an opening."""
    if not message.has_content():
        return False
    record = message.content.config_records.get("unseen")
    return record is not None and record.get("kind") in ("hello", "open", "prove")


def _require_message(reply: object) -> None:
    if not isinstance(reply, Message):
        raise TypeError(f"expected a message as reply, got {type(reply).__name__}")


def _error_reply(message: Message) -> Message:
    # Whatever happened: an exception's text, and its name, can carry private data.
    return Message(
        Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, AppError.__name__),
        reply_to=message,
    )


def load_app(reference: str) -> ClientApp:
    """Import a ClientApp.

    Args:
        reference: `module:attribute`.

    Raises:
        NodeError: If it cannot be imported or is no ClientApp.
    """
    module, _, attribute = reference.partition(":")
    try:
        app = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise NodeError(
            f"cannot load the ClientApp {reference!r} ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(app, ClientApp):
        raise NodeError(
            f"expected a ClientApp at {reference!r}, got {type(app).__name__}"
        )
    return app


def _load_app_in_background(reference: str) -> Future[ClientApp]:
    """Import while the node registers: importing torch takes seconds."""
    future: Future[ClientApp] = Future()

    def load() -> None:
        try:
            future.set_result(load_app(reference))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=load, daemon=True).start()
    return future


def _raise_if_failed(app: Future[ClientApp]) -> None:
    if app.done():
        app.result()


def _stop_on_signals(stop: threading.Event) -> list[int]:
    """Set `stop` on SIGTERM and SIGINT; the returned list gets the exit code.

    Flower answers "401 unauthorised" by sending SIGINT to its own process:
    that is a failure, not a request to stop.
    """
    exit_codes: list[int] = []

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        is_refused = was_refused.is_set()
        if is_refused:
            _log.error(
                "the SuperLink does not accept this node any more: it was taken off "
                "the list, the SuperLink lost its database, or this machine's clock is "
                "wrong (5 s ahead or 5 min behind is enough)"
            )
        exit_codes.append(int(is_refused))
        stop.set()
        guard = threading.Timer(_STOP_SECONDS, os._exit, args=(exit_codes[0],))
        guard.daemon = True
        guard.start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return exit_codes


def _run(arguments: argparse.Namespace) -> int:
    stop = threading.Event()
    exit_codes = _stop_on_signals(stop)
    app = _load_app_in_background(arguments.app)
    try:
        host = arguments.superlink.rpartition(":")[0]
        refuse_foreign_simulation(arguments.client_dir, host)
        entry = Entry(
            arguments.superlink,
            arguments.root_certificates,
            arguments.auth_private_key,
            arguments.patience,
        )
        entry.wait(stop, check=partial(_raise_if_failed, app))
        with ExitStack() as stack:
            connection = entry.connect(stop, stack)
            if connection is not None:
                _log.info("node %d is ready", connection.node_id)
                Node(
                    connection,
                    app,
                    _node_config(arguments),
                    poll_seconds=arguments.poll,
                    once=arguments.once,
                ).serve(stop)
    except _EXPECTED as error:
        _log.error("%s: %s", type(error).__name__, error)
        return 1
    return exit_codes[0] if exit_codes else 0


def _node_config(arguments: argparse.Namespace) -> UserConfig:
    """Return what this client's own side tells its ClientApp."""
    return {
        "client-dir": str(arguments.client_dir.resolve()),
        "run-id": arguments.run_id,
        "device": arguments.device,
        "partition-id": arguments.partition_id,
        "num-partitions": arguments.num_partitions,
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read a node's arguments."""
    parser = argparse.ArgumentParser(prog="clients.node", description=__doc__)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    security = parser.add_mutually_exclusive_group(required=True)
    security.add_argument("--insecure", action="store_true", help="no TLS")
    security.add_argument("--root-certificates", type=Path, metavar="PEM")
    parser.add_argument("--auth-private-key", type=Path, metavar="FILE")
    parser.add_argument("--client-dir", type=Path, required=True)
    parser.add_argument("--run-id", required=True, metavar="HEX")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--partition-id", type=int, default=0)
    parser.add_argument("--num-partitions", type=int, default=1)
    parser.add_argument("--app", default="clients.app:app", metavar="MODULE:NAME")
    parser.add_argument(
        "--patience",
        type=float,
        default=LOST_AFTER_SECONDS,
        metavar="SECONDS",
        help="how long to wait for a SuperLink that is away",
    )
    parser.add_argument("--once", action="store_true", help="end after a run")
    parser.add_argument("--poll", type=float, default=0.2, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    if arguments.auth_private_key and arguments.insecure:
        parser.error("--auth-private-key needs TLS: give --root-certificates")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run a node and return its exit code: 0 if told to stop, or once a run is over."""
    arguments = parse(argv)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per poll
    flower = logging.getLogger("flwr")
    flower.setLevel(logging.WARNING)
    flower.handlers.clear()  # it would write every line twice
    try:
        return _run(arguments)
    except SystemExit:
        return 1
    except BaseException:
        _log.exception("the node crashed")
        return 1


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Not sys.exit: it would wait for a training still going on in its thread.
    os._exit(code)
