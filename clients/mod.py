"""The secure mod: between Flower and any ClientApp, nothing leaves unsealed.

    app = ClientApp(mods=[secure_mod])

The mod recomputes the round's context from what the client pinned, lets the app
train, and replaces its reply by a sealed upload. It answers hello and opening
requests itself. Whatever goes wrong, the server learns the exception's class name and
nothing else; the text stays in the client's log.
"""

import logging

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    Metadata,
    RecordDict,
)
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from clients.folder import Member, open_member
from crypto.errors import ContextMismatchError, MalformedMessageError, ParameterError
from crypto.layout import EVALUATE, NUM_EXAMPLES, TRAIN
from crypto.params import AggregationParams
from crypto.provenance import PROTOCOL, code_digest
from crypto.sealing import seal
from crypto.vector import Contribution
from crypto.wire import Broadcast, Hello, OpenRequest
from models.parameters import layout_of, to_vector

RECORD = "unseen"
BULK = "unseen-bulk"
_INLINE_BYTES = 10_000_000  # above, Flower's chunked arrays carry bytes faster
_PHASES = {MessageType.TRAIN: TRAIN, MessageType.EVALUATE: EVALUATE}

logger = logging.getLogger(__name__)


def secure_mod(
    message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """Seal what the app replies; answer hello and opening requests.

    Key folder, run and policy come from the node's own configuration
    (`clients.folder`); the message only proposes.
    """
    try:
        content = _answer(message, context, call_next)
    except Exception as error:  # whatever it is, its text must not leave
        logger.exception("refused: %s", type(error).__name__)
        content = _carry("error", type(error).__name__.encode())
    return Message(content, reply_to=message)


def _answer(
    message: Message, context: Context, call_next: ClientAppCallable
) -> RecordDict:
    kind, data = _uncarry(message.content)
    member = open_member(context.node_config)
    if kind == "hello":
        return _carry("hello", _hello(member).to_bytes())
    if kind == "open":
        return _carry("partial", _open(member, data))
    if kind != "round":
        raise MalformedMessageError
    return _carry("upload", _take_part(member, data, message, context, call_next))


def _hello(member: Member) -> Hello:
    return Hello(
        client_id=member.identity.client_id,
        protocol=PROTOCOL,
        code=code_digest(),
        keys=member.manifest.keys.fingerprint,
        params=member.manifest.params.digest(),
        run_id=member.run_id,
    )


def _open(member: Member, data: bytes) -> bytes:
    request = OpenRequest.from_bytes(data)
    if request.run_id != member.run_id:
        raise ContextMismatchError("this client is not enrolled in that run")
    own = member.state.upload_context(request.run_id, request.round, request.phase)
    reply = member.opener().answer(request, own).to_bytes()
    logger.info(
        "round %d phase %d: opened a sum of %d updates",
        request.round,
        request.phase,
        len(request.entries),
    )
    return reply


def _take_part(
    member: Member,
    data: bytes,
    message: Message,
    context: Context,
    call_next: ClientAppCallable,
) -> bytes:
    """Train or evaluate, and return the sealed upload."""
    broadcast = Broadcast.from_bytes(data)
    if _PHASES.get(message.metadata.message_type) != broadcast.phase:
        raise ContextMismatchError("the message asks for another phase than it names")
    _check_numbers(context, member.manifest.params)
    facts = broadcast.facts(context.run_config)
    if facts.run_id != member.run_id:
        raise ContextMismatchError("this client is not enrolled in that run")
    digest = facts.context(member.manifest)
    key = (facts.run_id, facts.round, facts.phase)
    sent = member.state.begin_upload(*key, digest)
    if sent is not None:
        return sent
    reply = call_next(_app_message(broadcast, message), context)
    upload = seal(
        _contribution(broadcast, reply),
        manifest=member.manifest,
        layout=facts.layout(member.manifest),
        context=digest,
        identity=member.identity,
    ).to_bytes()
    member.state.finish_upload(*key, upload)
    logger.info(
        "round %d phase %d: sent %d bytes", facts.round, facts.phase, len(upload)
    )
    return upload


def _check_numbers(context: Context, params: AggregationParams) -> None:
    """Compare what the server's run configuration claims with the pinned numbers.

    Nothing is taken from it; a difference means that people talk about two runs.
    """
    pinned = {
        "protocol": params.mode,
        "key-bits": params.key_bits,
        "threshold": params.threshold,
        "min-contributors": params.min_contributors,
        "value-bits": params.value_bits,
        "clip": params.clip,
    }
    for name, value in pinned.items():
        claimed = context.run_config.get(name, value)
        if claimed not in (value, 0):  # 0 leaves it to the task
            raise ContextMismatchError(
                f"the server's run configuration has {name} {claimed!r}, "
                f"this client pinned {value!r}"
            )


def _app_message(broadcast: Broadcast, message: Message) -> Message:
    """Build the message the app reads: only what the round's context covers.

    The original metadata could carry something different to every client.
    """
    records = {name: ConfigRecord(dict(r)) for name, r in broadcast.records.items()}  # type: ignore[arg-type]
    arrays = ArrayRecord({name: Array(a) for name, a in broadcast.named_arrays()})
    neutral = Metadata(
        run_id=message.metadata.run_id,
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


def _contribution(broadcast: Broadcast, reply: Message) -> Contribution:
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
    before = dict(broadcast.named_arrays())
    layout = layout_of(before)
    after = {name: array.numpy() for name, array in records[0].items()}
    update = to_vector(after, layout) - to_vector(before, layout)
    return update.astype(np.float32)


def _carry(kind: str, data: bytes) -> RecordDict:
    """Wrap bytes for Flower; few objects are fast, and large ones are chunked."""
    if len(data) <= _INLINE_BYTES:
        return RecordDict({RECORD: ConfigRecord({"kind": kind, "data": data})})
    bulk = ArrayRecord({"data": Array(np.frombuffer(data, dtype=np.uint8))})
    return RecordDict({RECORD: ConfigRecord({"kind": kind}), BULK: bulk})


def _uncarry(content: RecordDict) -> tuple[str, bytes]:
    """Unwrap what the server's `server.carriage` wrapped.

    Raises:
        MalformedMessageError: If it is something else.
    """
    record = content.config_records.get(RECORD, ConfigRecord())
    kind, data = record.get("kind"), record.get("data")
    if BULK in content.array_records:
        data = content.array_records[BULK]["data"].numpy().tobytes()
    if not isinstance(kind, str) or not isinstance(data, bytes):
        raise MalformedMessageError
    return kind, data
