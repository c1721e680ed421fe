"""Services for tests: a backend behind a real port of this machine, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synapse_core.backend.http import HttpBackend
from synapse_core.backend.local import LocalBackend
from synapse_core.backend.service import Service, create_app

TOKEN = "canary-f3b1c0a7d2e94c55"


@contextmanager
def serving(home: Path, token: str = TOKEN) -> Iterator[tuple[str, LocalBackend]]:
    """Give the address of a service, and the backend behind it."""
    local = LocalBackend(home)
    service = Service(create_app(local, token, home / "service"))
    try:
        yield service.start(), local
    finally:
        service.stop()
        local.close()


@contextmanager
def over_http(home: Path) -> Iterator[HttpBackend]:
    with serving(home) as (url, _local), HttpBackend(url, TOKEN) as backend:
        yield backend
