"""A lock on the SuperLink: what only the server may do needs the secret they share.

Flower 1.41 serves its three interfaces on one port, and has no login for the one that
starts runs and registers nodes, nor for fetching a server's task. So whoever can dial
in could do both. This middleware lets everybody through to what clients need, and asks
for the secret for everything else.
"""

import hmac
from pathlib import Path
from typing import Final

import httpx
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from experiments.errors import SettingsError

HEADER: Final = "x-unseen-secret"
_ACQUIRE: Final = "/v1/runtime/acquire-task"
_REFUSAL: Final = "only the server may ask this, with this SuperLink's secret"
# Nodes sign their calls, and a server's calls carry the token of its task.
_OPEN: Final = ("/v1/fleet/", "/v1/runtime/")


class Lock:
    """ASGI middleware that asks for the secret.

    Args:
        app: What lies behind it.
        secret: What opens it.
    """

    def __init__(self, app: ASGIApp, *, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan" or self._may_pass(scope):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse(_REFUSAL, status_code=403)
        await refusal(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        path = scope.get("path", "")
        if path == "/health" or (path.startswith(_OPEN) and path != _ACQUIRE):
            return True
        shown = Headers(scope=scope).get(HEADER, "")
        return hmac.compare_digest(shown.encode(), self._secret)


class Key:
    """Shows the secret with every request of one of Flower's clients."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(
        self, context: ProtobufRequestContext, call_next: ProtobufCall
    ) -> httpx.Response:
        """Add the secret to a request."""
        context.request.headers[HEADER] = self._secret
        return call_next(context)


def read_secret(path: Path) -> str:
    """Read the secret.

    Raises:
        SettingsError: If it is missing, unreadable or empty.
    """
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is damaged")
        raise SettingsError(f"cannot read {path}: {reason}") from None
    if not secret:
        raise SettingsError(f"{path} is empty")
    return secret
