"""Runs that a supervisor on this very machine watches over: whether they go on, and their end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from synapse_core.processes import ProcessId, kill_descendants, kill_group
from synapse_core.run_folder import Claim, Exit, RunFolder

# From a stop's kill to the supervisor's last word, on a machine that is busy.
CLEARING_SECONDS = 4.0


def is_supervised(claim: Claim) -> bool:
    """Return True while the supervisor or the worker of a run lives."""
    return any(process is not None and process.is_alive for process in (claim.supervisor, claim.worker))


def stop_supervised(folder: RunFolder, claim: Claim, grace_seconds: float, reap: Callable[[], None]) -> None:
    """End a run and return when all of it is gone; its rollbacks have the time of grace, none where it is 0.

    The request to stop is written already. reap: called while this waits, for the caller's own children.
    """
    if claim.supervisor is None:
        return
    deadline = time.monotonic() + CLEARING_SECONDS + grace_seconds
    claim.supervisor.send(signal.SIGTERM)
    while True:
        reap()
        if not claim.supervisor.is_alive:
            _stop_orphan(folder, folder.claimed() or claim, grace_seconds)
            return
        if time.monotonic() > deadline:
            claim.supervisor.send(signal.SIGKILL)
            grace_seconds = 0.0
        time.sleep(0.01)


def _stop_orphan(folder: RunFolder, claim: Claim, grace_seconds: float) -> None:
    """Stop a worker whose supervisor is gone: the same, from here."""
    worker = claim.worker
    if worker is None or not worker.is_alive:
        return
    if grace_seconds:
        worker.send(signal.SIGTERM)
        _wait_until_gone(worker, grace_seconds)
    kill_descendants(worker.pid)
    kill_group(worker.pid)
    _wait_until_gone(worker, CLEARING_SECONDS)
    folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause="stopped"))


def _wait_until_gone(process: ProcessId, most_seconds: float) -> None:
    deadline = time.monotonic() + most_seconds
    while process.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
