"""Before a client or a server dials: whose SuperLink is it, and how long to wait."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from experiments import processes
from experiments.deploy import certificates
from experiments.deploy.certificates import Authority
from experiments.deploy.link import Link, split_address
from experiments.deploy.lock import HEADER, Lock, read_secret
from experiments.errors import RunFailedError, SettingsError
from tests.deployed import say_nothing, unseen

Serve = Callable[[Path | None], str]


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that break off are what is tested."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve `/health` with the certificate of a folder, or without TLS."""
    servers = []

    def start(folder: Path | None) -> str:
        server = QuietServer(("127.0.0.1", 0), Healthy)
        if folder is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.create(825)
    made.write(tmp_path / "ca")
    return made


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return tmp_path / "ca" / "ca.crt"


def test_own_superlink_is_well(
    serve: Serve, authority: Authority, ca: Path, tmp_path: Path
) -> None:
    authority.certify_server(tmp_path / "link", ["localhost"], 10)
    address = serve(tmp_path / "link")
    assert Link(address, ca).probe() is None
    assert unseen("deploy", "health", "--superlink", address, "--ca", ca).exit_code == 0


def test_foreign_certificate_is_refused_at_once(
    serve: Serve, authority: Authority, ca: Path, tmp_path: Path
) -> None:
    del authority
    Authority.create(825).certify_server(tmp_path / "link", ["localhost"], 10)
    with pytest.raises(SettingsError, match=r"is not signed by .*ca\.crt"):
        Link(serve(tmp_path / "link"), ca).wait(60, say_nothing)


def test_certificate_for_another_name_is_refused_at_once(
    serve: Serve, authority: Authority, ca: Path, tmp_path: Path
) -> None:
    authority.certify_server(tmp_path / "link", ["example.org"], 10)
    with pytest.raises(SettingsError, match="not for the name localhost"):
        Link(serve(tmp_path / "link"), ca).wait(60, say_nothing)


def test_expired_certificate_is_refused_at_once(
    serve: Serve,
    authority: Authority,
    ca: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", 48 * certificates._CLOCK_SKEW)
    authority.certify_server(tmp_path / "link", ["localhost"], -1)
    with pytest.raises(SettingsError, match="has expired or is not valid yet"):
        Link(serve(tmp_path / "link"), ca).wait(60, say_nothing)


def test_superlink_without_tls_is_refused_at_once(
    serve: Serve, authority: Authority, ca: Path
) -> None:
    del authority
    with pytest.raises(SettingsError, match="does not speak TLS"):
        Link(serve(None), ca).wait(60, say_nothing)


def test_missing_superlink_is_waited_for_and_the_deadline_told(
    authority: Authority, ca: Path
) -> None:
    del authority
    told: list[str] = []
    address = f"localhost:{processes.free_port()}"
    with pytest.raises(RunFailedError, match=r"after 0 s \(Connection refused"):
        Link(address, ca).wait(0, told.append)
    with pytest.raises(RunFailedError):
        Link(address, ca).wait(0.5, told.append)
    assert len(told) == 1
    assert "waiting for it until" in told[0]
    done = unseen("deploy", "health", "--superlink", address, "--ca", ca)
    assert done.exit_code == 1


@pytest.mark.parametrize("address", ["", "host", ":9092", "host:", "host:x", "h:70000"])
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not HOST:PORT"):
        split_address(address)


async def _answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/health", True),
        ("/v1/fleet/pull-messages", True),
        ("/v1/runtime/pull-task-input", True),  # wants the token of a task
        ("/v1/runtime/acquire-task", False),
        ("/v1/control/start-run", False),
        ("/v1/control/register-node", False),
        ("/docs", False),
        ("/v1/fleet/../control/start-run", False),
        ("//v1/control/start-run", False),
    ],
)
@pytest.mark.anyio
async def test_what_only_the_server_may_ask_needs_the_secret(
    path: str, is_open: bool
) -> None:
    app = Starlette(routes=[Route("/{path:path}", _answer, methods=["POST"])])
    transport = httpx.ASGITransport(app=Lock(app, secret="right"))  # noqa: S106
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        codes = [
            (await client.post(path, headers=headers)).status_code
            for headers in ({}, {HEADER: "wrong"}, {HEADER: "right"})
        ]
    assert codes == [200 if is_open else 403] * 2 + [200]


def test_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read_secret(tmp_path / "secret")
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        read_secret(tmp_path / "secret")
