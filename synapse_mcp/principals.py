"""Who a call comes from, and what they may do. Over standard input and output nobody is told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcp.server.auth.middleware.auth_context import get_access_token

Scope = Literal["read", "run", "admin"]
# Each has what stands left of it as well.
SCOPES: tuple[Scope, ...] = ("read", "run", "admin")


@dataclass(frozen=True)
class Principal:
    """name: as the token file has it. scopes: with all that they bring with them."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    @property
    def is_admin(self) -> bool:
        """True for who sees and stops everybody's runs."""
        return "admin" in self.scopes


def current_principal() -> Principal | None:
    """Return whose token the call in progress came with; None where no tokens are in use.

    It holds in the threads and tasks that the call starts as well.
    """
    token = get_access_token()
    return None if token is None else Principal(token.client_id, frozenset(token.scopes))


def with_implied(scopes: list[str]) -> list[str]:
    """Return the scopes with those that they bring with them, the widest last."""
    widest = max(SCOPES.index(scope) for scope in SCOPES if scope in scopes)
    return list(SCOPES[: widest + 1])
