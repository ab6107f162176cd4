"""A curious server against real mods and key holders, whose rules are off or on.

It does everything by the protocol, but chooses itself which clients it asks, on which
model, and which sets it asks the committee to open.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from crypto.aggregation import RoundSum
from crypto.context import RoundFacts
from crypto.layout import NUM_EXAMPLES, TRAIN
from crypto.params import AggregationParams
from crypto.wire import Upload
from experiments.keysets import write_private
from experiments.prepare import PreparedRun
from experiments.privacy.federation import RUN_CONFIG, Federation, InProcessGrid
from experiments.privacy.sealed_round import Vector, make_group
from server.carriage import RECORD, messages, unwrap
from server.committee import Opening
from server.errors import RoundError
from server.events import EventLog
from server.grid import FastGrid
from server.phase import make_broadcast

Update = Callable[[int, Vector], Vector]
"""What a client changes: its id and the global model in, its update out."""

_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Rules:
    """What the key holders insist on.

    Attributes:
        name: For people.
        one_set: Whether they remember what they opened: one set a round and phase.
        min_set_change: Rule of that name in everybody's `policy.toml`; 0 for off.
    """

    name: str
    one_set: bool = True
    min_set_change: int = 0


@dataclass(frozen=True, eq=False)
class Collected:
    """The sealed updates of one round, before anything is opened.

    Attributes:
        facts: What the round is about.
        uploads: By client.
    """

    facts: RoundFacts
    uploads: Mapping[int, Upload]


class CuriousServer:
    """One group of clients, and a server that picks sets.

    Args:
        folder: An empty one, for everybody's keys and memory.
        params: Of the group.
        update: What clients answer.
        rules: Of all key holders.

    Attributes:
        refusals: Reasons why key holders did not open a set, and how often.
    """

    def __init__(
        self, folder: Path, params: AggregationParams, update: Update, rules: Rules
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self._rules = rules
        self._prepared, _ = make_group(folder / "keys", params)
        write_rules(self._prepared, rules)

        def train(client: int, model: Vector) -> tuple[Vector, dict[str, Any]]:
            return model + update(client, model), {NUM_EXAMPLES: 1}

        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self._federation = Federation(self._prepared, train=train)
        clients = range(1, params.max_contributors + 1)
        grid = InProcessGrid(self._federation, clients)
        # In the order of the clients, who are numbered from 1.
        self._nodes = dict(zip(clients, grid.get_node_ids(), strict=True))
        self._grid = FastGrid(grid)

    def collect(
        self, number: int, model: Vector, clients: Collection[int]
    ) -> Collected:
        """Ask some clients for their updates of a model.

        Args:
            number: Of the round; rises.
            model: Shape (dim,): may be the same as in an earlier round.
            clients: Who is asked.
        """
        arrays = ArrayRecord({"parameters": Array(model)})
        config = ConfigRecord({"server-round": number})
        content = RecordDict({"arrays": arrays, "config": config})
        broadcast = make_broadcast(
            Message(content, 1, MessageType.TRAIN),
            run_id=bytes.fromhex(self._prepared.run_id),
            server_round=number,
            phase=TRAIN,
            metrics=(),
        )
        asked = messages(
            "round",
            broadcast.to_bytes(),
            {client: self._nodes[client] for client in clients},
            message_type=MessageType.TRAIN,
            group=str(number),
            ttl=_SECONDS,
        )
        deadline = time.monotonic() + _SECONDS
        replies = self._grid.collect(self._grid.push(asked), deadline=deadline)
        uploads = (Upload.from_bytes(unwrap(reply, "upload")) for reply in replies)
        by_client = {upload.client_id: upload for upload in uploads}
        return Collected(broadcast.facts(RUN_CONFIG), by_client)

    def open(
        self, collected: Collected, clients: Collection[int]
    ) -> NDArray[np.float64] | None:
        """Have the committee open the sum of some of the updates.

        Returns:
            Shape (dim,): the sum; None if the key holders refuse.
        """
        if not self._rules.one_set:
            self._forget()
        manifest = self._prepared.manifest
        round_sum = RoundSum(manifest, collected.facts)
        for client in sorted(clients):
            round_sum.add(collected.uploads[client])
        opening = Opening(
            self._grid,
            round_sum,
            threshold=manifest.params.threshold,
            events=EventLog(None),
        )
        holders = {i: self._nodes[i] for i in manifest.keys.roster.holder_ids}
        seen = len(self._federation.received)
        try:
            opened = opening.run(holders, timeout=_SECONDS)
        except RoundError:
            self.refusals.update(refusals(self._federation.received[seen:]))
            return None
        return round_sum.mean(opened.total).mean_update * len(clients)

    def _forget(self) -> None:
        """Take from every key holder the memory of what it opened."""
        for client in self._prepared.manifest.keys.roster.holder_ids:
            path = self._prepared.client_folder(client) / "state.sqlite"
            with closing(sqlite3.connect(path)) as database, database:
                database.execute("DELETE FROM served")


def write_rules(prepared: PreparedRun, rules: Rules) -> None:
    """Write the rule about sets into every client's own policy."""
    for client in prepared.manifest.keys.roster.clients:
        path = prepared.client_folder(client) / "policy.toml"
        lines = path.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("min-set-change")]
        rule = f"min-set-change = {rules.min_set_change}"
        write_private(path, "\n".join([*kept, rule, ""]))


def refusals(received: Collection[Message]) -> Counter[str]:
    """Return the reasons that clients gave for refusing, and how often."""
    found: Counter[str] = Counter()
    for reply in received:
        record = reply.content.config_records[RECORD]
        reason = record["data"]
        if record["kind"] == "error" and isinstance(reason, bytes):
            found[reason.decode()] += 1
    return found
