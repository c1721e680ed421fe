"""The one place that decides how a run stands when its worker left no terminal event."""

from __future__ import annotations

from synapse_core.events import Failed
from synapse_core.executors.base import Executor, Liveness
from synapse_core.processes import ProcessId
from synapse_core.run_ending import ending_of
from synapse_core.run_folder import Claim, RunFolder
from synapse_core.runs.run import Run

_ORPHANED = "the process that was to start it has died; the next server of this home starts it"


def reconcile(run: Run, folder: RunFolder, executor: Executor, submitter: ProcessId) -> Run | None:
    """Return how a run without a terminal event stands, None where its events must be read once more.

    In this order: what the supervisor or the engine wrote down, whether anybody executes it, whether
    anybody ever began; a run of which none of this tells the end is lost.
    """
    if (ending := folder.exit()) is not None:
        return run.after(ending_of(ending, folder))
    claim = folder.claimed()
    if claim is None:
        if submitter.is_alive:
            return run.waits_for(folder.waiting())
        if folder.request() is None:
            return _give_up(run, folder)
        # An engine that was given the run begins it without the process that handed it in.
        if executor.poll(folder, None) is Liveness.WAITING:
            return run.waits_for(folder.waiting())
        return run.waits_for(_ORPHANED) if folder.exit() is None else None
    if claim.executor == "nobody":
        return run.after(_never_begun())
    liveness = executor.poll(folder, claim)
    if liveness is Liveness.GONE:
        return None if folder.exit() is not None else run.is_lost()
    return run.waits_for(folder.waiting() if liveness is Liveness.WAITING else None)


def _give_up(run: Run, folder: RunFolder) -> Run | None:
    """End a run whose submitter died before it had written down what is to be run."""
    try:
        taken = folder.claim(Claim("nobody"))
    except FileNotFoundError:
        taken = True  # not even the folder was made
    return run.after(_never_begun()) if taken else None


def _never_begun() -> Failed:
    return Failed(
        code="never_started",
        message="The server that took the run died before it was started; nothing was executed.",
        hint="Submit it again (with another run_key, if one was given).",
        retryable=True,
    )
