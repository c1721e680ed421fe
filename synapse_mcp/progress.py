"""Progress notifications of one waiting call: rising, at most ten a second, never silent for long."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server.mcpserver import Context

from synapse_core.plain_text import spelt_out
from synapse_core.runs import Run
from synapse_mcp.app import App
from synapse_mcp.masking import masked

_INTERVAL_SECONDS = 0.1
_HEARTBEAT_SECONDS = 10.0
# Some clients lose a notification that arrives in the same instant as the answer.
_LAST_WORD_SECONDS = 0.006
_TOTAL = 100.0
_SMALLEST_STEP = 0.001
# Values only rise: a run that has done all its work but not ended leaves room for what it says last,
# and the whole for the word that it ended.
_MOST_WHILE_RUNNING = 99.9


class ProgressReporter:
    """Tells the client how a run goes. Nothing is sent to a client that did not ask for it."""

    def __init__(self, context: Context[App, Any]) -> None:
        self._context = context
        self._sent = -_SMALLEST_STEP
        self._sent_at = 0.0
        self._said = ""
        self._latest: Run | None = None
        self._is_asked_for = "progress_token" in (context.request_context.meta or {})

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context[App, Any]) -> AsyncIterator[ProgressReporter]:
        """Report while the block runs; what was held back is sent at its end."""
        reporter = cls(context)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reporter._keep_talking)
                try:
                    yield reporter
                finally:
                    tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            # The group is ours, not the caller's: what the block raised is raised as it was.
            raise group.exceptions[0] from None
        await reporter._last_word()

    async def report(self, run: Run) -> None:
        """Take the run as it stands; it is told now, or soon where the last word was just said."""
        self._latest = run
        if time.monotonic() - self._sent_at >= _INTERVAL_SECONDS:
            await self._tell()

    async def _keep_talking(self) -> None:
        """Tell what was held back, and that the run still goes where nothing happens."""
        while True:
            await anyio.sleep(_INTERVAL_SECONDS)
            if self._latest is not None:
                silence = time.monotonic() - self._sent_at
                await self._tell(is_heartbeat=silence >= _HEARTBEAT_SECONDS)

    async def _tell(self, is_heartbeat: bool = False) -> None:
        run = self._latest
        if run is None:
            return
        said = describe_progress(run)
        value = round(run.progress.fraction * _TOTAL, 3)
        if not run.is_done:
            value = min(value, _MOST_WHILE_RUNNING)
        if value <= self._sent and said == self._said and not is_heartbeat:
            return
        value = max(value, round(self._sent + _SMALLEST_STEP, 3))
        if value > _TOTAL or (value == _TOTAL and not run.is_done):
            return
        self._sent, self._said, self._sent_at = value, said, time.monotonic()
        await self._context.report_progress(value, _TOTAL, masked(said))

    async def _last_word(self) -> None:
        await self._tell()
        if self._sent >= 0 and self._is_asked_for:
            await anyio.sleep(_LAST_WORD_SECONDS)


def describe_progress(run: Run) -> str:
    """Return one line that says how a run stands; it always names the run."""
    if run.started is None and not run.is_done:
        reason = f": {run.waiting}" if run.waiting else ""
        return f"{run.run_id} queued{reason} (stop_run stops it; leaving this call does not)"
    if run.is_done:
        return f"{run.run_id} {run.state.value}"
    if run.questions:
        asked = spelt_out(masked(run.questions[0].message)[:120])
        return f'{run.run_id} waits for the user: "{asked}"'
    progress = run.progress
    # On one line, and in quotes: the plugin's words.
    parts = [run.run_id, spelt_out(masked(progress.step)[:80]) if progress.step else "running"]
    if progress.current is not None and progress.total is not None:
        parts.append(f"{progress.current:g}/{progress.total:g}")
    if progress.eta_seconds:
        parts.append(f"about {progress.eta_seconds:.0f} s left")
    if progress.message:
        parts.append(f'- "{spelt_out(masked(progress.message)[:120])}"')
    return " ".join(parts)
