"""The gate before the server's HTTP endpoint: what gets no further, and what ends when the server does.

Who a request comes from is known here already; what a tool needs of a token is asked where tools are called.
"""

from __future__ import annotations

import json
import logging

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synapse_mcp.http.rates import RateLimit

log = logging.getLogger(__name__)

# Asked by who starts and watches servers: they have no token and may use any name.
OPEN_PATHS = ("/health", "/ready")
_UNAUTHORIZED, _DRAINING, _TOO_MANY = -32001, -32002, -32003


class Gate:
    """An ASGI application around another one.

    asks_for_tokens: refuse who has not shown a valid one.
    """

    def __init__(
        self, app: ASGIApp, security: TransportSecuritySettings, rates: RateLimit, *, asks_for_tokens: bool
    ) -> None:
        self._app = app
        self._security = TransportSecurityMiddleware(security)
        self._rates = rates
        self._asks_for_tokens = asks_for_tokens
        self._streams: set[anyio.CancelScope] = set()
        self.is_draining = False

    def drain(self) -> None:
        """Refuse what comes from now on, and end the streams that would last for ever. Calls go on."""
        self.is_draining = True
        for stream in self._streams:
            stream.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if (refusal := await self._refusal(request)) is not None:
            await refusal(scope, receive, send)
        elif _is_stream(request):
            await self._carry_stream(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        """Return why a request gets no further, None where it does."""
        address = f"at {request.client.host if request.client else ''}"
        if request.url.path in OPEN_PATHS:
            return self._too_many(f"probing {address}")
        if self.is_draining:
            return _refused(
                503, _DRAINING, "This server is ending. Runs go on; ask again in a moment.", wait=2
            )
        if (refusal := await self._security.validate_request(request)) is not None:
            return refusal
        user = request.scope.get("user")
        client = user.display_name if isinstance(user, AuthenticatedUser) else address
        if (refusal := self._too_many(client)) is not None:
            return refusal
        if self._asks_for_tokens and not isinstance(user, AuthenticatedUser):
            has_sent = "authorization" in request.headers
            log.warning("Refused %s: %s token", client, "a wrong" if has_sent else "no")
            return _refused(401, _UNAUTHORIZED, "Send `Authorization: Bearer TOKEN` with a valid token.")
        return None

    def _too_many(self, client: str) -> Response | None:
        wait = self._rates.wait_seconds(client)
        return _refused(429, _TOO_MANY, f"Too many requests; wait {wait} s.", wait=wait) if wait else None

    async def _carry_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a stream of notifications, and close it properly when the server ends."""
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal is_begun
            is_begun = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        with anyio.CancelScope() as stream:
            self._streams.add(stream)
            try:
                await self._app(scope, receive, sending)
            finally:
                self._streams.discard(stream)
        if stream.cancelled_caught and is_begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(request: Request) -> bool:
    return request.method == "GET" or request.headers.get("mcp-method") == "subscriptions/listen"


def _refused(status: int, code: int, message: str, wait: int | None = None) -> Response:
    """Return a refusal that HTTP and MCP clients both understand."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return Response(json.dumps(body), status, headers, "application/json")
