"""What the tools of one server share: its settings and its home, opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from synapse_mcp.settings import Settings

if TYPE_CHECKING:
    from synapse_core.home import Home
    from synapse_core.run_folder import RunRequest
    from synapse_core.runs import Run
    from synapse_mcp.tracing import Tracing

T = TypeVar("T")
# Waiting for a stop or an import takes a thread for seconds; a busy server must not run out of them.
_THREADS = 64


class App:
    """One server's state. Tools reach the core through `call`, so that the event loop never waits."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._home: Home | None = None
        self._opening = threading.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self._tracing: Tracing | None = None
        if settings.otel:
            from synapse_mcp.tracing import Tracing  # with OpenTelemetry, where it is asked for

            self._tracing = Tracing()

    @property
    def home(self) -> Home:
        """The home; opening it imports the database and the executors."""
        with self._opening:
            if self._home is None:
                self._home = self.settings.open_home()
                # Runs that ended while no server looked are brought up to date, whoever asks first.
                threading.Thread(target=self._home.runs.reconcile_all, daemon=True).start()
            return self._home

    async def call(self, work: Callable[[Home], T]) -> T:
        """Return what `work` returns, done in a thread."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_THREADS)
        return await to_thread.run_sync(lambda: work(self.home), limiter=self._limiter)

    def submit(self, request: RunRequest, run_key: str | None) -> Run:
        """Record a run and have it begun; a cancelled call cannot come between the two."""
        if self._tracing is not None:
            request = self._tracing.traced(request)
        run, is_new = self.home.runs.submit(request, run_key)
        if is_new:
            self.home.runs.begin(run)
        return run

    def close(self) -> None:
        """Let go of everything; runs go on."""
        if self._home is not None:
            self._home.close()
        if self._tracing is not None:
            self._tracing.close()
