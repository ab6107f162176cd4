"""How a node comes in: what it waits for, what it says, and what ends it."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.supercore.protobuf.client import ProtobufRequestContext

from clients import flower_internals, joining
from clients.flower_internals import NodeRefusedError, SuperLinkLostError
from clients.joining import Entry


@pytest.fixture
def auth() -> Iterator[flower_internals._WatchedAuth]:
    key = ec.generate_private_key(ec.SECP384R1())
    yield flower_internals._WatchedAuth(key, key.public_key(), patience=60.0)
    flower_internals.was_refused.clear()


def request() -> ProtobufRequestContext:
    return ProtobufRequestContext(
        "PullMessages", PullMessagesRequest(), httpx.Request("POST", "https://h")
    )


def answer(code: int) -> Any:
    return lambda context: httpx.Response(code, request=context.request)


def fail(error: Exception) -> Any:
    def call(_: ProtobufRequestContext) -> httpx.Response:
        raise error

    return call


def test_refusal_is_noticed_in_whichever_thread(
    auth: flower_internals._WatchedAuth,
) -> None:
    assert auth.intercept(request(), answer(200)).status_code == 200
    assert not flower_internals.was_refused.is_set()
    thread = threading.Thread(target=auth.intercept, args=(request(), answer(401)))
    thread.start()
    thread.join()
    assert flower_internals.was_refused.is_set()


def test_absence_and_return_are_each_said_once(
    auth: flower_internals._WatchedAuth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            auth.intercept(request(), fail(httpx.ConnectError("refused")))
    auth.intercept(request(), answer(200))
    auth.intercept(request(), answer(200))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "does not answer (ConnectError); trying again until " in lines[0]
    assert lines[1] == "the SuperLink answers again"


def test_connection_closed_by_a_proxy_is_no_error_of_tls(
    auth: flower_internals._WatchedAuth,
) -> None:
    error = httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred")
    with pytest.raises(httpx.ConnectError) as raised:
        auth.intercept(request(), fail(error))
    # Flower looks for these words, and never tries again where it finds one.
    for word in ("certificate", "ssl", "tls"):
        assert word not in str(raised.value).lower()


def test_node_that_is_not_let_in_ends_by_name_after_its_patience(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NodeRefusedError("[code: 2004]")

    monkeypatch.setattr(joining, "connect", refuse)
    monkeypatch.setattr(joining, "_AGAIN_SECONDS", 0.01)
    entry = Entry("h:1", tmp_path / "ca.crt", tmp_path / "node.key", 0.05)
    with ExitStack() as stack, pytest.raises(NodeRefusedError, match="registered"):
        entry.connect(threading.Event(), stack)
    stop = threading.Event()
    stop.set()
    with ExitStack() as stack:
        assert entry.connect(stop, stack) is None


def test_superlink_that_never_comes_up_ends_the_wait_by_name() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        entry = Entry(f"127.0.0.1:{unused.getsockname()[1]}", None, None, 0.2)
        with pytest.raises(SuperLinkLostError, match=r"after 0 s \(Conn"):
            entry.wait(threading.Event(), check=lambda: None)
