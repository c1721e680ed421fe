"""The gate before every request: by which name, from where and with which token the page was asked for."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing but what this server itself ships is loaded, run or asked, and no text becomes HTML or a script.
POLICY = (
    b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Nothing is told to other sites; without any, the form to log in would not say that it is ours.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# What the page to log in needs; nothing in it is of the user.
_OPEN = ("/login", "/assets/")


class Access:
    """Who may look. token: what has to be known, None where nothing has.

    names: what the server may be called besides its addresses. A page elsewhere that has its own name lead
    to this machine is found out by them.
    """

    def __init__(self, token: str | None, names: Sequence[str] = ()) -> None:
        self._token = None if token is None else token.encode()
        self._session = secrets.token_urlsafe(32)
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}

    @property
    def is_open(self) -> bool:
        return self._token is None

    def is_our_name(self, host: str) -> bool:
        """Return True for a Host header that names an address, or this machine as it may be called."""
        name = urlsplit(f"//{host}").hostname if _is_plain(host) else None
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names
        return True

    def is_the_token(self, given: str) -> bool:
        # In the same time wherever the first difference is.
        return self._token is not None and hmac.compare_digest(given.strip().encode(), self._token)

    def cookie(self, port: int) -> str:
        """Return the Set-Cookie of somebody who knows the token; it is not the token."""
        return f"{_cookie_name(port)}={self._session}; HttpOnly; SameSite=Strict; Path=/"

    def lets_in(self, headers: dict[bytes, bytes], port: int) -> bool:
        """Return True where a request may be answered."""
        if self._token is None:
            return True
        bearer = headers.get(b"authorization", b"").decode("latin-1")
        if bearer.lower().startswith("bearer ") and self.is_the_token(bearer[7:]):
            return True
        try:
            cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        found = cookies.get(_cookie_name(port))
        return found is not None and hmac.compare_digest(found.value.encode(), self._session.encode())


class Gate:
    """ASGI middleware around the dashboard: nothing behind it is reached by who may not."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            await (refusal or self._app)(scope, receive, _with_headers(send))
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._access.is_our_name(host):
            return refused(421, "unknown_host", "This server does not go by that name.")
        if not _is_from_here(headers, host):
            return refused(403, "foreign_origin", "Another site's page asked for this.")
        path: str = scope["path"]
        if self._access.lets_in(headers, scope["server"][1] or 0) or path.startswith(_OPEN):
            return None
        if path == "/":
            return RedirectResponse("/login", 303)
        return refused(401, "unauthorized", "The token is missing or wrong.")


def refused(status: int, code: str, message: str, hint: str | None = None) -> JSONResponse:
    """Return an error as the page reads it."""
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)


def own_names() -> tuple[str, ...]:
    """Return what other machines may call this one."""
    name = socket.gethostname()
    return (name, f"{name}.local") if "." not in name else (name, name.partition(".")[0])


def _is_plain(host: str) -> bool:
    return bool(host) and not any(sign in host for sign in "/\\@?# ")


def _is_from_here(headers: dict[bytes, bytes], host: str) -> bool:
    """Return False for what a page of another site has a browser ask for."""
    site = headers.get(b"sec-fetch-site", b"none")
    is_a_visit = headers.get(b"sec-fetch-mode") == b"navigate"
    if site not in (b"none", b"same-origin") and not is_a_visit:
        return False
    origin = headers.get(b"origin")
    return origin is None or origin.decode("latin-1").partition("://")[2] == host


def _cookie_name(port: int) -> str:
    # Cookies are of a host, not of a port: two dashboards on one machine must not take each other's.
    return f"synapse_dashboard_{port}"


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            more = [*_HEADERS, (b"cache-control", b"no-store")]
            message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in present)]
        await send(message)

    return sent
