"""The secure mod: between Flower and any ClientApp, nothing leaves unsealed.

    app = ClientApp(mods=[secure_mod])

The mod recomputes the round's context from what the client pinned, lets the app
train, and replaces its reply by a sealed upload. It answers hello and opening
requests itself. Whatever goes wrong, the server learns one name out of
`crypto.errors.ERROR_NAMES` and nothing else; the text stays in the client's log.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp.typing import ClientAppCallable

from clients.carriage import carry, uncarry
from clients.exchange import app_fails, app_message, contribution_of
from clients.folder import Member, open_member
from crypto.context import RoundFacts
from crypto.errors import (
    ERROR_NAMES,
    AppError,
    ContextMismatchError,
    CryptoError,
    MalformedMessageError,
    ParameterError,
)
from crypto.layout import EVALUATE, TRAIN
from crypto.params import AggregationParams
from crypto.provenance import PROTOCOL, code_digest
from crypto.sealing import seal
from crypto.vector import Contribution
from crypto.wire import Broadcast, Challenge, Hello, OpenRequest
from models.fingerprint import network_digest

_PHASES = {MessageType.TRAIN: TRAIN, MessageType.EVALUATE: EVALUATE}

logger = logging.getLogger(__name__)


class SecureMod:
    """Seals what the app replies; answers hello and opening requests.

    Key folder, run and policy come from the node's own configuration
    (`clients.folder`); the message only proposes.

    Args:
        architecture: Describes the network that the app makes under a run
            configuration, as text, for the policy's list of networks. Without it, the
            digest of a network is that of its parameters' layout alone.
    """

    def __init__(self, architecture: Callable[[UserConfig], str] | None = None) -> None:
        self._architecture = architecture

    def __call__(
        self, message: Message, context: Context, call_next: ClientAppCallable
    ) -> Message:
        """Answer a message with sealed bytes, or with the name of an error."""
        try:
            content = self._answer(message, context, call_next)
        except Exception as error:  # whatever it is, its text must not leave
            content = carry("error", _refusal(error).encode())
        return Message(content, reply_to=message)

    def _answer(
        self, message: Message, context: Context, call_next: ClientAppCallable
    ) -> RecordDict:
        kind, data = uncarry(message)
        member = open_member(context.node_config)
        if kind == "hello":
            return carry("hello", _hello(member, data))
        if kind == "open":
            return carry("partial", _open(member, data))
        if kind == "prove":
            return carry("proof", _prove(member, data))
        if kind != "round":
            raise MalformedMessageError
        return carry(
            "upload", self._take_part(member, data, message, context, call_next)
        )

    def _take_part(
        self,
        member: Member,
        data: bytes,
        message: Message,
        context: Context,
        call_next: ClientAppCallable,
    ) -> bytes:
        """Train or evaluate, and return the sealed upload."""
        broadcast = Broadcast.from_bytes(data)
        if _PHASES.get(message.metadata.message_type) != broadcast.phase:
            raise ContextMismatchError(
                "the message asks for another phase than it names"
            )
        _check_numbers(context, member.manifest.params)
        facts = broadcast.facts(context.run_config)
        if facts.run_id != member.run_id:
            raise ContextMismatchError("this client is not enrolled in that run")
        request = app_message(broadcast, message)
        self._check_network(member, broadcast, context)
        digest = facts.context(member.manifest)
        key = (facts.run_id, facts.round, facts.phase)
        sent = member.state.begin_upload(*key, digest)
        if sent is not None:
            return sent
        contribution = contribution_of(broadcast, request, context, call_next)
        upload = _seal(contribution, member, facts, digest)
        member.state.finish_upload(*key, upload)
        logger.info(
            "round %d phase %d: sent %d bytes", facts.round, facts.phase, len(upload)
        )
        return upload

    def _check_network(
        self, member: Member, broadcast: Broadcast, context: Context
    ) -> None:
        """Refuse a network that this client's policy does not allow."""
        if member.policy.networks is None:
            return
        architecture = ""
        if self._architecture is not None:
            with app_fails():
                architecture = self._architecture(context.run_config)
        arrays = dict(broadcast.array_views())
        member.policy.check_network(network_digest(architecture, arrays))


secure_mod = SecureMod()


def _refusal(error: Exception) -> str:
    """Log why this client refuses, and return the name that may leave."""
    name = type(error).__name__
    if not isinstance(error, CryptoError) or name not in ERROR_NAMES:
        logger.error("refused: AppError", exc_info=error)
        return AppError.__name__
    if isinstance(error, AppError):
        logger.error("refused: AppError: %s", error, exc_info=error.__cause__)
    else:
        logger.warning("refused: %s: %s", f"{error.code} {name}".strip(), error)
    return name


def _hello(member: Member, data: bytes) -> bytes:
    nonce = Challenge.from_bytes(data).nonce
    hello = Hello(
        client_id=member.identity.client_id,
        protocol=PROTOCOL,
        code=code_digest(),
        keys=member.manifest.keys.fingerprint,
        params=member.manifest.params.digest(),
        run_id=member.run_id,
    )
    signature = member.identity.sign(hello.signed_bytes(nonce))
    return replace(hello, signature=signature).to_bytes()


def _open(member: Member, data: bytes) -> bytes:
    request, own = _opening(member, data)
    reply = member.opener().answer(request, own).to_bytes()
    logger.info(
        "round %d phase %d: opened a sum of %d updates",
        request.round,
        request.phase,
        len(request.entries),
    )
    return reply


def _prove(member: Member, data: bytes) -> bytes:
    request, own = _opening(member, data)
    return member.opener().prove(request, own).to_bytes()


def _opening(member: Member, data: bytes) -> tuple[OpenRequest, bytes | None]:
    """Read an opening request; return this client's own context of that round, too."""
    request = OpenRequest.from_bytes(data)
    if request.run_id != member.run_id:
        raise ContextMismatchError("this client is not enrolled in that run")
    own = member.state.upload_context(request.run_id, request.round, request.phase)
    return request, own


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
        if claimed not in (value, 0, ""):  # these leave it to the task
            raise ContextMismatchError(
                f"the server's run configuration has {name} {claimed!r}, "
                f"this client pinned {value!r}"
            )


def _seal(
    contribution: Contribution, member: Member, facts: RoundFacts, digest: bytes
) -> bytes:
    try:
        upload = seal(
            contribution,
            manifest=member.manifest,
            layout=facts.layout(member.manifest),
            context=digest,
            identity=member.identity,
        )
    except ParameterError as error:  # it does not fit the round: the app's doing
        raise AppError("the ClientApp's reply does not fit the round") from error
    return upload.to_bytes()
