"""Queries too long for an address: a POST that says it is a GET has its query in its body."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

_HEADER = (b"x-http-method-override", b"GET")


class LongQueries:
    """ASGI middleware behind the gate, which limits the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and _HEADER in scope["headers"]:
            query = await Request(scope, receive).body()
            scope = {**scope, "method": "GET", "query_string": query, "long_query": True}
        await self._app(scope, receive, send)
