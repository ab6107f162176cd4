"""Real mods of every client of a group, for a server that does not follow the protocol.

Nothing is sent: a client's app is called with a message, as Flower would.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

import crypto.errors
from clients.mod import secure_mod
from crypto.errors import CryptoError, MalformedMessageError
from crypto.layout import TRAIN
from crypto.vector import Contribution, IntVector, encode
from crypto.wire import (
    Broadcast,
    Entry,
    OpenRequest,
    PartialReply,
    Upload,
    pack_arrays,
)
from experiments.prepare import PreparedRun
from server.carriage import messages, unwrap
from server.errors import ClientError
from tests.cheating_server import Answer
from tests.crypto_group import Round
from tests.federation import RUN_CONFIG, make_group, make_params

ANSWERS = {"hello": "hello", "round": "upload", "open": "partial", "prove": "proof"}
HONEST: Mapping[str, Any] = RUN_CONFIG

RunConfig = Mapping[str, Any]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Group:
    """Every client behind its real mod; the server sends each what it likes.

    The clients' app is one line: it moves the parameters p by ``lr * p * move``. Like a
    real one it learns nothing when its learning rate or its model is zero.

    Attributes:
        prepared: Keys, parameters and run of the group.
    """

    prepared: PreparedRun

    @classmethod
    def of(cls, folder: Path, **changes: Any) -> "Group":
        """Deal keys, write every client's folder and enrol all of them."""
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        return cls(make_group(folder, make_params(**changes)))

    @property
    def client_ids(self) -> range:
        """Every client; all of them are key holders."""
        return range(1, self.prepared.manifest.params.max_contributors + 1)

    def broadcast(self, **changes: Any) -> Broadcast:
        """Make the message of an honest round, with changes."""
        honest = Broadcast(
            run_id=bytes.fromhex(self.prepared.run_id),
            round=1,
            phase=TRAIN,
            metrics=[],
            arrays_key="arrays",
            arrays=model(1),
            records={"config": {"lr": 1.0}},
        )
        return replace(honest, **changes)

    def round(self, broadcast: Broadcast, run_config: RunConfig = HONEST) -> Round:
        """Return a round as the server states it to the key holders."""
        return Round(self.prepared.manifest, broadcast.facts(run_config))

    def integers(
        self, client_id: int, broadcast: Broadcast, run_config: RunConfig = HONEST
    ) -> IntVector:
        """Return what a client encodes when it is sent this."""
        one = self.round(broadcast, run_config)
        ((_, array),) = broadcast.named_arrays()
        before = array.astype(np.float32)
        after = moved(client_id, before, learning_rate(broadcast.records, run_config))
        own = Contribution(after - before, 10 * client_id, {})
        return encode(own, one.manifest.params, one.sum.layout)

    def upload(
        self, client_id: int, broadcast: Broadcast, run_config: RunConfig = HONEST
    ) -> Entry:
        """Have a client take part in a round."""
        phase = "train" if broadcast.phase == TRAIN else "evaluate"
        data = self.ask(client_id, "round", broadcast.to_bytes(), phase, run_config)
        return Upload.from_bytes(data).entry()

    def holder(self, client_id: int) -> Answer:
        """Return how a client answers opening requests."""

        def answer(request: OpenRequest) -> PartialReply:
            data = self.ask(client_id, "open", request.to_bytes())
            return PartialReply.from_bytes(data)

        return answer

    def holders(self) -> list[Answer]:
        """Return as many key holders as open a sum."""
        threshold = self.prepared.manifest.params.threshold
        return [self.holder(i) for i in range(1, threshold + 1)]

    def ask(
        self,
        client_id: int,
        kind: str,
        data: bytes,
        message_type: str = "train",
        run_config: RunConfig = HONEST,
    ) -> bytes:
        """Send a client anything through its mod, and return its answer.

        Raises:
            CryptoError: The one that the client names.
        """
        nodes = {client_id: client_id}
        (message,) = messages(
            kind, data, nodes, message_type=message_type, group="1", ttl=9.0
        )
        message.metadata.__dict__["_message_id"] = "a message"
        folder = str(self.prepared.client_folder(client_id))
        node: dict[str, Any] = {"client-dir": folder, "run-id": self.prepared.run_id}
        context = Context(1, client_id, node, RecordDict(), dict(run_config))
        reply = _app(client_id)(message, context)
        try:
            return unwrap(reply, ANSWERS[kind])
        except ClientError as error:
            raise named_error(str(error)) from None


def _app(client_id: int) -> ClientApp:
    """Make a client's app behind the real mod."""
    app = ClientApp(mods=[secure_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        ((key, arrays),) = message.content.array_records.items()
        ((name, before),) = arrays.items()
        records = {k: dict(r) for k, r in message.content.config_records.items()}
        rate = learning_rate(records, context.run_config)
        after = Array(moved(client_id, before.numpy(), rate))
        metrics = MetricRecord({"num-examples": 10 * client_id})
        content = RecordDict({key: ArrayRecord({name: after}), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, _: Context) -> Message:
        metrics = MetricRecord({"num-examples": 10 * client_id})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def moved(client_id: int, before: Vector, rate: float) -> Vector:
    """Train: the parameters after a client's move."""
    move = np.random.default_rng(client_id).normal(size=before.size)
    return (before * (1 + rate * move)).astype(np.float32)


def learning_rate(records: Mapping[str, Any], run_config: Mapping[str, Any]) -> float:
    """Return what the server lets an app learn: its record times its run config."""
    return float(records["config"]["lr"]) * float(run_config.get("learning-rate", 1.0))


def model(value: float, dim: int = 5) -> list[list[Any]]:
    """Return a model's parameters, all of them the same, as a broadcast has them."""
    return pack_arrays([("parameters", np.full(dim, value, dtype=np.float32))])


def named_error(name: str) -> CryptoError:
    """Return the error that a client named."""
    if name == MalformedMessageError.__name__:
        return MalformedMessageError()
    error: CryptoError = getattr(crypto.errors, name)("a client refused")
    return error
