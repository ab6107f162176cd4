"""Between mod and app: what the app may read, and how its reply is read.

Whatever the app can read is covered by the round's context: a server that gave clients
different things to read would split them into contexts that nobody opens.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    Metadata,
    RecordDict,
)
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from crypto.errors import AppError, MalformedMessageError, ParameterError
from crypto.layout import NUM_EXAMPLES, TRAIN
from crypto.vector import Contribution
from crypto.wire import Broadcast
from models.parameters import layout_of


@contextmanager
def app_fails() -> Iterator[None]:
    """Turn whatever the app raises, or makes us raise, into one error.

    How training failed says something about the data.
    """
    try:
        yield
    except Exception as error:
        raise AppError("the ClientApp failed") from error


def app_message(broadcast: Broadcast, message: Message) -> Message:
    """Build the message the app reads: only what the round's context covers.

    The original metadata could carry something different to every client.
    """
    named = broadcast.array_views()
    try:
        records = {
            name: ConfigRecord(dict(record))  # type: ignore[arg-type]
            for name, record in broadcast.records.items()
        }
    except (TypeError, ValueError):  # canonical, but nothing that Flower carries
        raise MalformedMessageError from None
    arrays = ArrayRecord({name: Array(array) for name, array in named})
    if len(arrays) != len(named) or broadcast.arrays_key in records:
        raise MalformedMessageError
    neutral = Metadata(
        run_id=0,
        message_id="",
        src_node_id=0,
        dst_node_id=0,
        reply_to_message_id="",
        group_id=str(broadcast.round),
        created_at=0.0,
        ttl=0.0,
        message_type=message.metadata.message_type,
    )
    content = RecordDict({broadcast.arrays_key: arrays, **records})
    # `metadata` is how Flower itself builds messages; its overloads leave it out.
    built: Message = Message(content=content, metadata=neutral)  # type: ignore[call-overload]
    return built


def contribution_of(
    broadcast: Broadcast,
    request: Message,
    context: Context,
    call_next: ClientAppCallable,
) -> Contribution:
    """Let the app train or evaluate, and read its reply.

    Run and node number are the server's choice, and the round's context does not
    cover them: the app must not see them.
    """
    neutral = Context(0, 0, context.node_config, context.state, context.run_config)
    with app_fails():
        reply = call_next(request, neutral)
        context.state = neutral.state  # the app may have put another one there
        return _read_reply(broadcast, reply)


def _read_reply(broadcast: Broadcast, reply: Message) -> Contribution:
    """Read the app's reply: new arrays, an example count and metrics."""
    metrics: dict[str, float] = {}
    for record in reply.content.metric_records.values():
        metrics.update(
            {k: float(v) for k, v in record.items() if not isinstance(v, list)}
        )
    if NUM_EXAMPLES not in metrics:
        raise ParameterError(f"the app's reply has no metric {NUM_EXAMPLES!r}")
    num_examples = int(metrics.pop(NUM_EXAMPLES))
    update = np.zeros(0, dtype=np.float32)
    if broadcast.phase == TRAIN:
        update = _update(broadcast, reply)
    return Contribution(update, num_examples, metrics)


def _update(broadcast: Broadcast, reply: Message) -> NDArray[np.float32]:
    """Return local minus global parameters, shape (dim,), float32."""
    records = list(reply.content.array_records.values())
    if len(records) != 1:
        raise ParameterError(f"the app's reply has {len(records)} array records, not 1")
    before = dict(broadcast.array_views())
    after = {name: array.numpy() for name, array in records[0].items()}
    layout = layout_of(before)
    layout.require_equal(layout_of(after))
    update = np.empty(layout.dim, dtype=np.float32)
    start = 0
    for name, array in before.items():
        part = update[start : start + array.size].reshape(array.shape)
        # Rounded once: the difference of float16 is exact, that of float64 is not lost.
        wide = np.promote_types(array.dtype, np.float32)
        np.subtract(after[name], array, out=part, dtype=wide, casting="same_kind")
        start += array.size
    return update
