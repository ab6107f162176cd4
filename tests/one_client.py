"""One client behind the real mod, with an app whose behaviour a test chooses."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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

from clients import carriage
from clients.mod import SecureMod
from crypto.dealer import deal
from crypto.layout import TRAIN
from crypto.manifest import DEPLOYMENT, Manifest
from crypto.wire import Broadcast, pack_arrays
from experiments.keysets import write_keyset
from experiments.prepare import PreparedRun, enrol
from models.shards import Shard
from tests.federation import RUN_CONFIG, P, Q, make_params

ARRAYS = {"parameters": np.zeros(3, dtype=np.float32)}
METRICS: dict[str, Any] = {"num-examples": 10, "loss": 0.5, "accuracy": 0.5}

Reply = Callable[[Message, Context], Message]


def good_reply(message: Message, _: Context) -> Message:
    moved = {name: Array(array + 1) for name, array in ARRAYS.items()}
    content = RecordDict(
        {"arrays": ArrayRecord(moved), "metrics": MetricRecord(METRICS)}
    )
    return Message(content, reply_to=message)


def make_deployment(folder: Path, **changes: Any) -> PreparedRun:
    """Deal deployment keys, whose policies are the strict ones."""
    params = make_params(**changes)
    public_key, holders = deal(
        P, Q, num_holders=params.num_holders, threshold=params.threshold
    )
    keys = write_keyset(
        folder,
        public_key,
        holders,
        num_clients=params.max_contributors,
        purpose=DEPLOYMENT,
    )
    empty = Shard({"labels": np.zeros(1, dtype=np.int64)})
    shards = [empty] * params.max_contributors
    return enrol(folder, Manifest(keys, params), shards, empty)


@dataclass
class Client:
    """Client 1 of a group, with an app whose behaviour a test chooses."""

    prepared: PreparedRun
    mod: SecureMod = field(default_factory=SecureMod)
    reply: Reply = good_reply
    calls: int = 0
    run_config: dict[str, Any] = field(default_factory=lambda: dict(RUN_CONFIG))
    state: RecordDict = field(default_factory=RecordDict)

    def __post_init__(self) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.app = ClientApp(mods=[self.mod])
        self.app.train()(self._count)
        self.app.evaluate()(self._count)
        config: dict[str, Any] = {
            "client-dir": str(self.prepared.client_folder(1)),
            "run-id": self.prepared.run_id,
        }
        self.context = Context(77, 88, config, self.state, self.run_config)

    def _count(self, message: Message, context: Context) -> Message:
        self.calls += 1
        return self.reply(message, context)

    def answer(
        self, content: RecordDict, message_type: str = "train"
    ) -> tuple[str, bytes]:
        """Send a message as the server would, and unwrap the answer."""
        message = Message(content, 99, message_type, group_id="a group")
        message.metadata.__dict__["_message_id"] = "a message"
        return self.answer_message(message)

    def answer_message(self, message: Message) -> tuple[str, bytes]:
        reply = self.app(message, self.context)
        assert set(reply.content) == {"unseen"}
        record = reply.content.config_records["unseen"]
        assert set(record) == {"kind", "data"}
        kind, data = record["kind"], record["data"]
        assert isinstance(kind, str)
        assert isinstance(data, bytes)
        return kind, data

    def ask(
        self, kind: str, data: bytes, message_type: str = "train"
    ) -> tuple[str, bytes]:
        return self.answer(carriage.carry(kind, data), message_type)

    def round(self, **changes: Any) -> tuple[str, bytes]:
        """Send round 1, and return the answer."""
        broadcast = Broadcast(
            run_id=bytes.fromhex(self.prepared.run_id),
            round=1,
            phase=TRAIN,
            metrics=["loss"],
            arrays_key="arrays",
            arrays=pack_arrays(list(ARRAYS.items())),
            records={"config": {"server-round": 1}},
        )
        broadcast = replace(broadcast, **changes)
        message_type = "train" if broadcast.phase == TRAIN else "evaluate"
        return self.ask("round", broadcast.to_bytes(), message_type)
