"""A service at a port: started, told where it is, and ended, inside of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

# How long calls that are under way may take when the service ends.
_GRACE_SECONDS = 10
_START_SECONDS = 30.0


class _Server(uvicorn.Server):
    """Tells when it can be reached, and how."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


class Service:
    """An application at a port of this machine. port: 0 has the system choose one."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self.url = ""
        self._is_ready = threading.Event()
        self._thread: threading.Thread | None = None
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            # Longer than HttpBackend keeps a connection, which so never writes into a closed one.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        self._server = _Server(config, self._ready)

    def run(self, ready: Callable[[str], None] = lambda url: None) -> None:
        """Serve until a signal or `stop` ends it. ready: called with the URL once it can be reached."""
        self._told = ready
        self._server.run()

    def start(self) -> str:
        """Serve in a thread. Returns the URL."""
        self._thread = threading.Thread(target=self.run, name="synapse-backend-service", daemon=True)
        self._thread.start()
        if not self._is_ready.wait(_START_SECONDS):
            raise RuntimeError(f"the service did not start within {_START_SECONDS:g} s")
        return self.url

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS + 5)

    def _ready(self, url: str) -> None:
        self.url = url
        self._is_ready.set()
        self._told(url)
