"""A federation in one process: real mods, real wrapper, no network.

Every message passes the real client side and the real server side; what the server
receives is kept, so that experiments and tests can look at it.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result, Strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from clients.mod import SecureMod, secure_mod
from experiments.prepare import PreparedRun
from server.events import EventLog
from server.recorder import Recorder, RecordingGrid
from server.strategy import RoundSettings, SecureAggregation

RUN_CONFIG: dict[str, Any] = {"task": "test", "seed": 1}

Train = Callable[[int, NDArray[np.float32]], tuple[NDArray[np.float32], dict[str, Any]]]


@dataclass
class Federation:
    """Clients that answer at once, and a grid that reaches them.

    Attributes:
        prepared: Keys, parameters and run of the group.
        train: What a client does with the global vector: client id and parameters in,
            new parameters and metrics out.
        evaluate: The metrics a client reports.
        silent: Clients that never answer.
        received: Everything the server got back, in order.
        tamper: Changes a reply on its way to the server.
        intercept: Changes a message on its way to a client.
        delay: Seconds that a reply takes to the server.
        mod: Between Flower and every client's app.
    """

    prepared: PreparedRun
    train: Train
    evaluate: Callable[[int], dict[str, Any]] = lambda _: {
        "num-examples": 10,
        "loss": 0.5,
        "accuracy": 0.75,
    }
    silent: set[int] = field(default_factory=set)
    received: list[Message] = field(default_factory=list)
    tamper: Callable[[int, Message], Message] = lambda _, reply: reply
    intercept: Callable[[int, Message], Message] = lambda _, message: message
    delay: Callable[[int, Message], float] = lambda *_: 0.0
    run_config: dict[str, Any] = field(default_factory=lambda: dict(RUN_CONFIG))
    mod: SecureMod = secure_mod

    def client(self, client_id: int) -> tuple[ClientApp, Context]:
        """Make a client's app and its context."""
        app = ClientApp(mods=[self.mod])

        @app.train()
        def train(message: Message, _: Context) -> Message:
            (arrays,) = message.content.array_records.values()
            ((name, array),) = arrays.items()
            new, metrics = self.train(client_id, array.numpy())
            content = RecordDict(
                {
                    "arrays": ArrayRecord({name: Array(new)}),
                    "metrics": MetricRecord(metrics),
                }
            )
            return Message(content, reply_to=message)

        @app.evaluate()
        def evaluate(message: Message, _: Context) -> Message:
            metrics = MetricRecord(self.evaluate(client_id))
            return Message(RecordDict({"metrics": metrics}), reply_to=message)

        config: dict[str, Any] = {
            "client-dir": str(self.prepared.client_folder(client_id)),
            "run-id": self.prepared.run_id,
        }
        return app, Context(1, client_id, config, RecordDict(), self.run_config)

    def run(
        self,
        parameters: NDArray[np.float32],
        *,
        rounds: int = 1,
        strategy: Strategy | None = None,
        events: Path | None = None,
        record: Path | None = None,
        **settings: Any,
    ) -> tuple[Result, SecureAggregation]:
        """Run the real wrapper over this federation; keep all messages in `record`."""
        clients = self.prepared.manifest.params.max_contributors
        options: dict[str, Any] = {
            "num_clients": clients,
            "deadline_seconds": 1.0,
            "start_seconds": 2.0,
            "train_metrics": ("loss",),
            "evaluate_metrics": ("loss", "accuracy"),
        }
        wrapper = SecureAggregation(
            strategy or FedAvg(),
            manifest=self.prepared.manifest,
            run_id=bytes.fromhex(self.prepared.run_id),
            run_config=self.run_config,
            settings=RoundSettings(**(options | settings)),
            events=EventLog(events),
        )
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        arrays = ArrayRecord({"parameters": Array(parameters)})
        grid: Grid = InProcessGrid(self, range(1, clients + 1))
        if record:
            recorder = Recorder(
                record,
                manifest=self.prepared.manifest,
                run_id=bytes.fromhex(self.prepared.run_id),
                run_config=self.run_config,
            )
            grid = RecordingGrid(grid, recorder)
        return wrapper.start(grid, arrays, num_rounds=rounds), wrapper


class InProcessGrid(Grid):
    """Delivers a message to its client when it is pushed."""

    def __init__(self, federation: Federation, client_ids: Sequence[int]) -> None:
        self._federation = federation
        self._clients = {
            1000 + client_id: (client_id, *federation.client(client_id))
            for client_id in client_ids
        }
        self._replies: dict[str, tuple[float, Message]] = {}  # with its arrival
        self._numbers = itertools.count()

    def set_run(self, run: Run) -> None:
        """Do nothing: there is one run."""

    @property
    def run(self) -> Run:
        """Nobody asks: there is no SuperLink that would know one."""
        raise AttributeError("a federation in one process has no run of Flower's")

    def create_message(self, *args: Any, **options: Any) -> Message:
        """Make a message as Flower does."""
        return Message(*args, **options)

    def get_node_ids(self) -> Iterable[int]:
        """Every node, whether it answers or not."""
        return list(self._clients)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let every client answer at once."""
        ids = []
        for message in messages:
            message_id = f"message-{next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = message_id
            ids.append(message_id)
            self._deliver(message, message_id)
        return ids

    def _deliver(self, message: Message, message_id: str) -> None:
        client_id, app, context = self._clients[message.metadata.dst_node_id]
        if client_id in self._federation.silent:
            return
        message = self._federation.intercept(client_id, message)
        reply = self._federation.tamper(client_id, app(message, context))
        self._federation.received.append(reply)
        arrival = time.monotonic() + self._federation.delay(client_id, reply)
        self._replies[message_id] = arrival, reply

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers that are there, once."""
        now = time.monotonic()
        there = [i for i in message_ids if self._replies.get(i, (now + 1,))[0] <= now]
        return [self._replies.pop(i)[1] for i in there]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Flower's own way; the wrapper does not use it."""
        del timeout
        return self.pull_messages(self.push_messages(messages))
