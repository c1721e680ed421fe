"""The headers that say who asks, on a request and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Generator

import httpx

from synapse_core.errors import BackendUnauthorized

Token = str | Callable[[], str | None] | None


class TokenAuth(httpx.Auth):
    """Puts the headers of core's REST API on a request. Its repr shows none of them."""

    def __init__(self, token: Token, tenant: str | None) -> None:
        self._token = token
        self._tenant = tenant

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self.headers())
        yield request

    def headers(self) -> dict[str, str]:
        """Raises BackendUnauthorized for a token that cannot be sent."""
        found = {}
        for header, what, value in (
            ("Synapse-Access-Token", "token", self.token()),
            ("Synapse-Tenant", "tenant", self._tenant),
        ):
            if value:
                if not (value.isascii() and value.isprintable()):
                    raise BackendUnauthorized(
                        f"The {what} of the backend holds characters that cannot be sent in a header.",
                        hint="Give it without line breaks, in ASCII.",
                    )
                found[header] = f"Token {value}"
        return found

    def token(self) -> str | None:
        return self._token() if callable(self._token) else self._token

    def without_secrets(self, text: str) -> str:
        """Return a text of the service without the token, which a careless one repeats."""
        secret = self.token()
        return text.replace(secret, "***") if secret else text

    def __repr__(self) -> str:
        return "TokenAuth(...)"
