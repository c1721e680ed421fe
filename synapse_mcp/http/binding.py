"""Where an HTTP server listens and by what names it may be reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_core.errors import InvalidRequest

# More than any agent makes, and less than what holds up the others.
RATE_LIMIT = 200.0
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class HttpBinding:
    """host: without brackets. port: 0 takes a free one. token_file: None lets everybody in who gets there.

    allowed_hosts, allowed_origins: as given, beside those of the address itself. rate_limit: requests a
    second by each principal, 0 for no limit.
    """

    host: str
    port: int
    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    rate_limit: float = RATE_LIMIT

    @classmethod
    def of_switches(cls, values: Mapping[str, Any]) -> HttpBinding | None:
        """Return where to listen, None where the server speaks over standard input and output.

        Raises InvalidRequest for what is no address, and for an address that others can reach without tokens.
        """
        if not values["http"]:
            return None
        host, port = _address(values["http"])
        file = values["token_file"]
        binding = cls(
            host,
            port,
            Path(file).expanduser().absolute() if file else None,
            values["allowed_host"] or (),
            values["allowed_origin"] or (),
            RATE_LIMIT if values["rate_limit"] is None else values["rate_limit"],
        )
        if binding.token_file is None and not binding.is_loopback:
            raise InvalidRequest(
                f"{host} can be reached from other machines, and nobody would have to show a token.",
                hint="Give --token-file FILE, or listen at 127.0.0.1.",
            )
        return binding

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: whoever answers for it

    @property
    def shown_host(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def hosts(self) -> list[str]:
        """Return the Host headers that are taken, `:*` for any port."""
        names = dict.fromkeys((*_LOOPBACK_NAMES, self.shown_host, *self.allowed_hosts))
        return [form for name in names for form in (name, f"{name}:*")]

    def origins(self) -> list[str]:
        """Return the Origin headers that are taken: pages of this machine, and those that were named."""
        own = [f"http://{name}" for name in _LOOPBACK_NAMES]
        return [*(form for origin in own for form in (origin, f"{origin}:*")), *self.allowed_origins]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise InvalidRequest(
            f"{text!r} is no address to listen at.", hint="Give HOST:PORT, 127.0.0.1:8000 for example."
        )
    return host, int(port)
