"""The gate before every call: the token, and how large a body may be. Nothing is read before that."""

from __future__ import annotations

import hmac

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synapse_core.backend.service.answers import error_answer

MOST_BODY_BYTES = 64 * 1024 * 1024
MOST_FILE_BYTES = 16 * 1024 * 1024 * 1024
_TOKEN_HEADERS = (b"synapse-access-token", b"authorization")


class Gate:
    """ASGI middleware around the service.

    token: what a caller has to know. most_body_bytes: of any body but a file that is put into a storage,
    which may have most_file_bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        most_body_bytes: int = MOST_BODY_BYTES,
        most_file_bytes: int = MOST_FILE_BYTES,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._most_body_bytes = most_body_bytes
        self._most_file_bytes = most_file_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] != "/health" and not self._is_known(headers):
            answer = error_answer(
                401,
                "unauthorized",
                "The token is missing or wrong.",
                "Send Synapse-Access-Token: Token <token>.",
            )
            await answer(scope, receive, send)
            return
        is_file = scope["method"] == "PUT" and "/files/" in scope["path"]
        most = self._most_file_bytes if is_file else self._most_body_bytes
        told = headers.get(b"content-length", b"0")
        if not told.isdigit() or int(told[:20]) > most:
            answer = error_answer(413, "too_large", f"The body is larger than {most:,} bytes.")
            await answer(scope, receive, send)
            return
        await self._app(scope, _limited(receive, most), _marked(send))

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        given = next((headers[name] for name in _TOKEN_HEADERS if name in headers), b"")
        # In the same time wherever the first difference is.
        return hmac.compare_digest(given.removeprefix(b"Token ").strip(), self._token)


def _limited(receive: Receive, most: int) -> Receive:
    """Return a `receive` that ends a body which is larger than it said, or said nothing."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, f"the body is larger than {most:,} bytes")
        return message

    return counted


def _marked(send: Send) -> Send:
    """Return a `send` that tells each caller that a call with a key may be repeated; see keys.py."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"synapse-keeps-keys", b"yes")]
        await send(message)

    return marked
