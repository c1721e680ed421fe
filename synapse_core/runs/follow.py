"""Following a run as it goes: the one asynchronous part of the core."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from anyio import to_thread

from synapse_core.runs.run import Run
from synapse_core.runs.runs import Runs
from synapse_core.runs.tail import RECONCILE_SECONDS, look_after, size_of

_CHUNK_BYTES = 1 << 18


async def follow(runs: Runs, run_id: str) -> AsyncIterator[Run]:
    """Yield the run as it stands and again whenever it has changed, until it has ended.

    Every event is taken in, in order; what several of them changed together is yielded once. Leaving the
    loop, or its cancellation, ends the following and nothing else.
    """
    row = await to_thread.run_sync(lambda: runs.refresh(runs.row(run_id)))
    yield row.run
    events = runs.folder(run_id).events
    began = reconciled = time.monotonic()
    while not row.run.is_done:
        await anyio.sleep(look_after(began))
        seen = row.run
        if size_of(events) > row.events_read:
            row = await to_thread.run_sync(runs.read_on, row, _CHUNK_BYTES)
        elif time.monotonic() - reconciled > RECONCILE_SECONDS:
            row = await to_thread.run_sync(runs.refresh, row)
            reconciled = time.monotonic()
        if row.run is not seen:
            yield row.run
