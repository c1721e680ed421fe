"""The dashboard at a port: bound, told where it is, and ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from synapse_core.errors import InvalidRequest
from synapse_mcp.dashboard.changes import Stopping

_GRACE_SECONDS = 2
_START_SECONDS = 30.0


class _Server(uvicorn.Server):
    """Ends the streams of its pages when it ends itself: they would go on for ever."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.is_asked_for = True
        await super().shutdown(sockets)


class Service:
    """An application at a port. port: 0 has the system choose one. stopping: set when it ends.

    Raises InvalidRequest where it cannot listen there.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, stopping: Stopping) -> None:
        self._socket = _bound(host, port)
        name, chosen = self._socket.getsockname()[:2]
        self.url = f"http://[{name}]:{chosen}/" if ":" in name else f"http://{name}:{chosen}/"
        self._is_ready = threading.Event()
        self._tell: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
        )
        self._server = _Server(config, stopping, self._ready)

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until a signal or `stop` ends it. ready: called once it answers."""
        self._tell = ready or self._tell
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def start(self) -> str:
        """Serve in a thread. Returns the URL."""
        self._thread = threading.Thread(target=self.run, name="synapse-dashboard", daemon=True)
        self._thread.start()
        if not self._is_ready.wait(_START_SECONDS):
            raise RuntimeError(f"the dashboard did not start within {_START_SECONDS:g} s")
        return self.url

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS + 5)

    def _ready(self) -> None:
        self._is_ready.set()
        self._tell()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except OSError as error:
        raise _unusable(host, port, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _unusable(host, port, error) from error
    return bound


def _unusable(host: str, port: int, error: OSError) -> InvalidRequest:
    return InvalidRequest(
        f"The dashboard cannot listen on {host}:{port}: {error.strerror or error}.",
        hint="Choose another --port, or leave it out to have one chosen.",
    )
