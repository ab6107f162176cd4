"""One phase of one round at the server: broadcast, collect, open, decode."""

import time
from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict

from crypto.aggregation import RoundSum
from crypto.context import NamedArray
from crypto.errors import CryptoError, DecryptionRefusedError
from crypto.layout import NUM_EXAMPLES, TRAIN
from crypto.manifest import Manifest
from crypto.vector import Aggregate, IntVector
from crypto.wire import Broadcast, Upload, pack_arrays
from models.parameters import from_vector, layout_of, to_vector
from server.carriage import messages, unwrap
from server.cohort import Cohort
from server.committee import Opened, Opening
from server.errors import ClientError, RunError, TooFewUpdatesError, refusal
from server.events import PHASE_NAMES, EventLog, Value
from server.grid import FastGrid


class Phase:
    """The clients' answers to one broadcast.

    Args:
        broadcast: What all of them are sent.
        round_sum: Takes their uploads.
        nodes: Client id to node id of the clients that are asked.
        manifest: The run's keys and parameters.
        events: The run's log.

    Attributes:
        bytes_up: Bytes of uploads and partial decryptions so far.
        bytes_down: Bytes sent to clients and key holders so far.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        round_sum: RoundSum,
        nodes: dict[int, int],
        *,
        manifest: Manifest,
        events: EventLog,
    ) -> None:
        self.bytes_up = 0
        self._data = broadcast.to_bytes()
        enough = len(nodes) >= manifest.params.min_contributors
        self.bytes_down = len(self._data) * len(nodes) if enough else 0
        self._number = broadcast.round
        self._phase = broadcast.phase
        self._sum = round_sum
        self._nodes = nodes
        self._awaited = set(nodes) if enough else set()
        self._failed: set[int] = set()  # as far as their answers say who they are
        self._manifest = manifest
        self._events = events
        self._started = time.monotonic()

    def log(self, event: str, **values: Value) -> None:
        """Log an event of this phase."""
        name = PHASE_NAMES[self._phase]
        self._events.write(event, round=self._number, phase=name, **values)

    def messages(self, deadline_seconds: float) -> list[Message]:
        """Address the broadcast to every client; nobody if a sum needs more."""
        self.log("round_started", clients=list(self._nodes), bytes_down=self.bytes_down)
        if not self.bytes_down:
            return []
        trains = self._phase == TRAIN
        return messages(
            "round",
            self._data,
            self._nodes,
            message_type=MessageType.TRAIN if trains else MessageType.EVALUATE,
            group=str(self._number),
            ttl=deadline_seconds,
        )

    def collect(self, replies: Iterable[Message], cohort: Cohort) -> None:
        """Add uploads as they arrive, until all are in or the deadline has passed.

        Raises:
            TooFewUpdatesError: If fewer than `min-contributors` delivered.
        """
        for reply in replies:
            self._accept(reply)
            if len(self._awaited) <= 1:  # the cores have little to do but wait
                self._sum.prepare()
        elapsed = time.monotonic() - self._started
        late = sorted(self._awaited - self._failed)
        if late:
            cohort.leave_out(late)
            self.log("dropped", clients=late, after=elapsed)
        count, needed = (
            len(self._sum.contributors),
            self._manifest.params.min_contributors,
        )
        if len(self._nodes) < needed:
            raise TooFewUpdatesError(
                f"round {self._number} has {len(self._nodes)} of {needed} needed "
                f"clients; nobody was asked"
            )
        if count < needed:
            raise TooFewUpdatesError(
                f"round {self._number} has {count} of {needed} needed updates after "
                f"{elapsed:.0f} s; nothing is opened"
            )

    def open(self, grid: FastGrid, cohort: Cohort, *, timeout: float) -> Aggregate:
        """Have the sum opened and decode it.

        Raises:
            RoundError: If the committee does not open it.
            SumRangeError: If it is not a sum of honest encodings.
        """
        collected = time.monotonic() - self._started
        if self._sum.needs_opening:
            opened = self._ask_committee(grid, cohort, timeout)
        else:
            opened = Opened(self._sum.total({}), 0, 0, 0.0, 0.0)
        self.bytes_up += opened.bytes_up
        self.bytes_down += opened.bytes_down
        seconds = {
            "collect": collected,
            "open": opened.open_seconds,
            "combine": opened.combine_seconds,
        }
        self.log(
            "opened",
            contributors=self._sum.contributors,
            seconds=seconds,
            sum=_digest(opened.total),
        )
        if self._sum.noise > 1:
            message = "the sum is noisier than honest clients make it: one garbles it"
            self.log("warning", message=message)
        return self._sum.mean(opened.total)

    def _accept(self, reply: Message) -> None:
        """Take an upload from whoever signed it, or log why not.

        A reply's metadata is the sender's own word: it names nobody for good, or one
        client could have another one's upload refused.
        """
        try:
            data = unwrap(reply, "upload")
            upload = Upload.from_bytes(data)
            if upload.client_id not in self._nodes:
                raise DecryptionRefusedError("that client was not asked")
            self._sum.add(upload)
        except (CryptoError, ClientError) as error:
            sender = self._claimed_sender(reply)
            self._failed.update([] if sender is None else [sender])
            self.log("refused", **refusal(sender, error))
            return
        self._awaited.discard(upload.client_id)
        self.bytes_up += len(data)
        seconds = time.monotonic() - self._started
        self.log("upload", client=upload.client_id, bytes=len(data), seconds=seconds)

    def _claimed_sender(self, reply: Message) -> int | None:
        node = reply.metadata.src_node_id
        return next((c for c, own in self._nodes.items() if own == node), None)

    def _ask_committee(self, grid: FastGrid, cohort: Cohort, timeout: float) -> Opened:
        opening = Opening(
            grid,
            self._sum,
            threshold=self._manifest.params.threshold,
            events=self._events,
        )
        try:
            return opening.run(cohort.holders(self._number), timeout=timeout)
        finally:
            cohort.doubted.update(opening.unproven)


def _digest(total: IntVector) -> str:
    """Hash an opened sum, so that whoever adds the uploads again can compare it."""
    return sha256(np.ascontiguousarray(total, dtype="<i8").data).hexdigest()


def make_broadcast(
    proposed: Message,
    *,
    run_id: bytes,
    server_round: int,
    phase: int,
    metrics: Sequence[str],
) -> Broadcast:
    """Turn a strategy's message into the bytes that every client gets.

    Raises:
        RunError: If it does not hold exactly one array record.
    """
    content = proposed.content
    if len(content.array_records) != 1:
        raise RunError("the strategy must send exactly one array record")
    ((key, arrays),) = content.array_records.items()
    records = {name: dict(r) for name, r in content.config_records.items()}
    return Broadcast(
        run_id=run_id,
        round=server_round,
        phase=phase,
        metrics=list(metrics),
        arrays_key=key,
        arrays=pack_arrays(named_arrays(arrays)),
        records=records,  # type: ignore[arg-type] # config values are canonical
    )


def mean_reply(arrays: ArrayRecord, aggregate: Aggregate, proposed: Message) -> Message:
    """Make the one training reply an inner strategy sees: global plus mean update.

    It weighs 1: the summed example count stays with the wrapper.
    """
    before = dict(named_arrays(arrays))
    layout = layout_of(before)
    vector = to_vector(before, layout)
    vector += aggregate.mean_update
    after = from_vector(vector, layout)
    content = metrics_record(aggregate)
    content["arrays"] = ArrayRecord({name: Array(a) for name, a in after.items()})
    return Message(content, reply_to=proposed)


def keep_dtypes(before: ArrayRecord, after: ArrayRecord) -> ArrayRecord:
    """Return the new arrays in the types of the old ones.

    FedAdam computes in float64; clients and their policies expect the same network.
    """
    if all(array.dtype == before[name].dtype for name, array in after.items()):
        return after
    types = {name: array.dtype for name, array in named_arrays(before)}
    return ArrayRecord(
        {name: Array(array.astype(types[name])) for name, array in named_arrays(after)}
    )


def metrics_record(aggregate: Aggregate) -> RecordDict:
    """Put opened means into a reply's metrics."""
    return RecordDict({"metrics": MetricRecord({**aggregate.metrics, NUM_EXAMPLES: 1})})


def named_arrays(arrays: ArrayRecord) -> list[NamedArray]:
    """Return an array record's items as numpy arrays, in order."""
    return [(name, array.numpy()) for name, array in arrays.items()]
