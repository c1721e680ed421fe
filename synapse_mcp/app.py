"""What the tools of one server share: its settings and its home, opened when first needed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from synapse_core.errors import RunNotFound
from synapse_mcp.audit import FILE_NAME, AuditLog
from synapse_mcp.principals import current_principal
from synapse_mcp.settings import Settings

if TYPE_CHECKING:
    from synapse_core.home import Home
    from synapse_core.run_folder import RunRequest
    from synapse_core.runs import Run
    from synapse_mcp.subscriptions import Watches
    from synapse_mcp.tracing import Tracing

T = TypeVar("T")
# Waiting for a stop or an import takes a thread for seconds; a busy server must not run out of them.
_THREADS = 64


class App:
    """One server's state. Tools reach the core through `call`, so that the event loop never waits."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watches: Watches | None = None
        self._home: Home | None = None
        self._opening = threading.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self.audit = AuditLog(settings.home / FILE_NAME) if settings.audits else None
        self._waits: set[anyio.CancelScope] = set()
        self.is_draining = False
        self._tracing: Tracing | None = None
        if settings.otel:
            from synapse_mcp.tracing import Tracing  # with OpenTelemetry, where it is asked for

            self._tracing = Tracing()

    @property
    def home(self) -> Home:
        """The home as the principal of the call has it: of the runs, their own; all of them where nobody is
        told apart. Opening it imports the database and the executors.
        """
        principal = current_principal()
        home = self._whole_home()
        if principal is None:
            return home
        theirs = copy.copy(home)
        theirs.runs = home.runs.of(principal.name, sees_all=principal.is_admin)
        return theirs

    def _whole_home(self) -> Home:
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

    async def has_run(self, run_id: str) -> bool:
        """Tell whether there is a run of this id that the principal of the call may see."""

        def look(home: Home) -> bool:
            home.runs.row(run_id)
            return True

        try:
            return await self.call(look)
        except RunNotFound:
            return False

    @contextmanager
    def waiting(self, wait_seconds: float) -> Iterator[None]:
        """Give what stands inside so much time, and none once the server is to end. In the event loop."""
        with anyio.move_on_after(0 if self.is_draining else wait_seconds) as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)

    def end_waits(self) -> None:
        """Have every wait end now, so that its call is answered with what is known. In the event loop."""
        self.is_draining = True
        for scope in self._waits:
            scope.cancel()

    def close(self) -> None:
        """Let go of everything; runs go on."""
        if self._home is not None:
            self._home.close()
        if self._tracing is not None:
            self._tracing.close()
