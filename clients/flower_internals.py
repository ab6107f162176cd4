"""The only place on the client side that imports private modules of Flower.

`clients.node` talks to a SuperLink through `FleetConnection`. Everything here
rests on flwr 1.41; `tests/test_flower_internals.py` names what changed when
another release moves one of these pieces.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.common.config import get_fused_config_from_fab
from flwr.common.constant import Status
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode import fleet_http_connection
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

_log = logging.getLogger("unseen.node")

# How long a lost SuperLink is waited for, and how long the server may take to
# upload the objects of a message that it has announced.
LOST_AFTER_SECONDS = 60.0
FETCH_SECONDS = 120.0


class SuperLinkLostError(Exception):
    """The SuperLink refused this node or has been out of reach too long."""


class NodeRefusedError(Exception):
    """The SuperLink does not let this node in, or not yet."""


class RunEndedError(Exception):
    """The run a message belongs to is no longer running; drop the message."""


@dataclass(frozen=True)
class Announcement:
    """A message of the SuperLink before its content has been fetched."""

    head: Message
    tree: ObjectTree

    @property
    def run_id(self) -> int:
        """Flower's number of the run."""
        return self.head.metadata.run_id


@dataclass(frozen=True)
class FleetConnection:
    """A registered node's calls to the SuperLink.

    Safe to use from several threads: the HTTP client underneath is, and
    Flower keeps its own message state per thread.
    """

    node_id: int
    _receive: Callable[[], tuple[Message, ObjectTree] | None]
    _send: Callable[[Message, ObjectTree, float], tuple[set[str], str]]
    _get_run: Callable[[int], Run]
    _get_fab: Callable[[str, int], Fab]
    _pull_object: Callable[[int, str], bytes]
    _push_object: Callable[[int, str, str, bytes], None]
    _confirm: Callable[[int, str], None]
    _patience: float

    def receive(self) -> Announcement | None:
        """Ask once for a message.

        Raises:
            SuperLinkLostError: If the SuperLink refuses the node, or does not
                answer in time.
        """
        try:
            received = self._receive()
        except RunNotRunningException:
            return None
        except httpx.HTTPError as error:
            raise SuperLinkLostError(
                f"the SuperLink did not answer ({type(error).__name__}); "
                f"gave up after {self._patience:.0f} s"
            ) from error
        return None if received is None else Announcement(*received)

    def fetch(self, announcement: Announcement) -> Message:
        """Fetch the content of an announced message.

        Raises:
            RunEndedError: If the run ended meanwhile.
        """
        head = announcement.head
        with _run_must_be_running():
            contents = pull_objects(
                [tree.object_id for tree in iterate_object_tree(announcement.tree)],
                partial(self._pull_object, announcement.run_id),
                initial_backoff=0.05,
                backoff_cap=0.5,
                max_time=FETCH_SECONDS,
                max_tries_per_object=None,
            )
            self._confirm(announcement.run_id, head.metadata.message_id)
        message = inflate_object_from_contents(head.metadata.message_id, contents)
        if not isinstance(message, Message):
            raise TypeError(f"expected a message, got {type(message).__name__}")
        _set_message_id(message, head.metadata.message_id)
        return message

    def new_context(self, run_id: int, node_config: UserConfig) -> Context:
        """Make the context of a run: its run config, an empty state.

        Raises:
            RunEndedError: If the run ended meanwhile.
        """
        with _run_must_be_running():
            run = self._get_run(run_id)
            fab = self._get_fab(run.fab_hash, run_id)
        return Context(
            run_id=run_id,
            node_id=self.node_id,
            node_config=node_config,
            state=RecordDict(),
            run_config=get_fused_config_from_fab(fab.content, run),
            series_id=run.series_id,
        )

    def is_over(self, run_id: int) -> bool:
        """Whether a run has ended."""
        try:
            return self._get_run(run_id).status.status == Status.FINISHED
        except RunNotRunningException:
            return True

    def send(self, reply: Message, *, started: float) -> None:
        """Send a reply with all its content.

        Args:
            reply: The reply to a fetched message.
            started: `time.monotonic()` when work on it began.

        Raises:
            RunEndedError: If the run ended meanwhile.
        """
        with _run_must_be_running(), no_object_id_recompute():
            _set_message_id(reply, reply.object_id)
            missing, session = self._send(
                reply, get_object_tree(reply), time.monotonic() - started
            )
            push_objects(
                get_all_nested_objects(reply),
                partial(self._push_object, reply.metadata.run_id, session),
                object_ids_to_push=missing,
            )


@contextmanager
def connect(
    superlink: str,
    *,
    root_certificates: Path | None,
    private_key: Path | None,
    patience: float = LOST_AFTER_SECONDS,
) -> Iterator[FleetConnection]:
    """Register with a SuperLink and keep the node alive while the body runs.

    Args:
        superlink: `host:port`.
        root_certificates: PEM file for TLS; None for a plain connection.
        private_key: OpenSSH file of the node's registered EC key, or None for
            a node that registers itself.
        patience: Seconds to wait for a SuperLink that does not answer.

    Raises:
        NodeRefusedError: If the SuperLink refuses the registration.
    """
    failure: BaseException | None = None
    _replace_in_flower(patience)
    with fleet_http_connection.http_request_response(
        superlink,
        root_certificates is None,
        root_certificates.read_bytes() if root_certificates else None,
        _load_key_pair(private_key) if private_key else None,
        max_wait_time=patience,
    ) as callbacks:
        # Flower logs and swallows exceptions of this block: carry them out.
        try:
            yield FleetConnection(*callbacks, patience)
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure


# Set when a SuperLink answers "401 unauthorised". Flower then sends SIGINT to its own
# process, which looks like a person's Ctrl-C.
was_refused = threading.Event()


class _WatchedAuth(NodeAuthHttpInterceptor):
    """Signs a node's requests as Flower does, and notices what becomes of them."""

    def __init__(
        self,
        private_key: ec.EllipticCurvePrivateKey,
        public_key: ec.EllipticCurvePublicKey,
        *,
        patience: float,
    ) -> None:
        super().__init__(private_key, public_key)
        self._patience = patience
        self._is_away = False

    def intercept(
        self, context: ProtobufRequestContext, call_next: ProtobufCall
    ) -> httpx.Response:
        """Sign and send a request; say when the SuperLink goes away and comes back.

        Raises:
            httpx.ConnectError: If nobody answers.
        """
        try:
            response = super().intercept(context, call_next)
        except httpx.TransportError as error:
            self._note_away(error)
            if "EOF" in str(error):
                # Flower never tries again after an error of TLS, which this is not:
                # a proxy before a SuperLink that is down closes at once.
                raise httpx.ConnectError("the connection was closed") from error
            raise
        if response.status_code == httpx.codes.UNAUTHORIZED:
            was_refused.set()
        if self._is_away:
            self._is_away = False
            _log.info("the SuperLink answers again")
        return response

    def _note_away(self, error: httpx.TransportError) -> None:
        if not self._is_away:
            self._is_away = True
            _log.warning(
                "the SuperLink does not answer (%s); trying again until %s",
                type(error).__name__,
                clock_in(self._patience),
            )


def clock_in(seconds: float) -> str:
    """Return the time of day so many seconds from now."""
    return f"{datetime.now() + timedelta(seconds=seconds):%H:%M:%S}"


def _replace_in_flower(patience: float) -> None:
    """Watch the connection's requests, and turn Flower's exit into an exception."""
    pieces = {
        "NodeAuthHttpInterceptor": partial(_WatchedAuth, patience=patience),
        "flwr_exit": _refuse,
    }
    for name, piece in pieces.items():
        setattr(fleet_http_connection, name, piece)


def _refuse(_code: int, message: str = "") -> NoReturn:
    """Stand in for Flower's exit: nobody could try again after that one."""
    raise NodeRefusedError(message.partition("\n")[2] or message)


def _load_key_pair(
    path: Path,
) -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]:
    key = load_ssh_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(
            f"{path.name} holds no elliptic-curve key; Flower needs one in "
            "OpenSSH format, e.g. from ssh-keygen -t ecdsa -b 384"
        )
    return key, key.public_key()


@contextmanager
def _run_must_be_running() -> Iterator[None]:
    """Turn Flower's exception for an ended run, a BaseException, into ours."""
    try:
        yield
    except RunNotRunningException as error:
        raise RunEndedError("the run has ended") from error


def _set_message_id(message: Message, message_id: str) -> None:
    # Metadata has no setter: Flower's own node writes the field the same way.
    message.metadata.__dict__["_message_id"] = message_id
