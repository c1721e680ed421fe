"""The one place that decides how a run stands when its worker left no terminal event."""

from __future__ import annotations

from synapse_core.events import Failed, Stopped
from synapse_core.executors.base import Executor, Liveness
from synapse_core.processes import ProcessId
from synapse_core.run_folder import Claim, Exit, RunFolder
from synapse_core.runs.run import Run

_CRASHES = {
    "SIGSEGV": "a segmentation fault in native code",
    "SIGBUS": "a bus error in native code",
    "SIGABRT": "native code that aborted",
    "SIGILL": "an illegal instruction in native code",
    "SIGFPE": "an arithmetic error in native code",
}


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
        if folder.request() is not None:
            return run.waits_for(_ORPHANED)
        return _give_up(run, folder)
    if claim.executor == "nobody":
        return run.after(_never_begun())
    liveness = executor.poll(folder, claim)
    if liveness is Liveness.GONE:
        return None if folder.exit() is not None else run.is_lost()
    return run.waits_for(folder.waiting() if liveness is Liveness.WAITING else None)


def ending_of(ending: Exit, folder: RunFolder) -> Failed | Stopped:
    """Return the terminal event that a worker which died did not write itself."""
    # What died of a kill after somebody asked for a stop died of the stop.
    was_killed = ending.signal in ("SIGTERM", "SIGKILL") or ending.cause == "worker_died"
    if ending.cause == "stopped" or (was_killed and folder.stop_requested() is not None):
        return Stopped(
            at=ending.at,
            message="The run was stopped before it began."
            if ending.signal is None and ending.code is None and ending.message is None
            else "The run did not end when it was asked to and was killed; its rollbacks may not have run.",
        )
    if ending.cause == "timeout":
        return Failed(
            at=ending.at,
            code="timeout",
            message="The run took longer than its time limit, did not end when asked to, and was killed.",
            hint="Raise timeout_seconds of the call, or of the action in config.yaml, or give it less to do.",
        )
    if ending.message is not None:
        return Failed(
            at=ending.at, code=ending.cause or "worker_died", message=ending.message, hint=ending.hint
        )
    log_hint = "Call get_run_logs to see its last words"
    if ending.signal == "SIGKILL":
        return Failed(
            at=ending.at,
            code="worker_killed",
            message="The worker process was killed (SIGKILL) from outside, or by the system for lack of "
            "memory.",
            hint=f"{log_hint}; if memory was short, work on smaller batches.",
            retryable=True,
        )
    if ending.signal is not None:
        reason = _CRASHES.get(ending.signal, "a signal from outside")
        return Failed(
            at=ending.at,
            code="worker_crashed",
            message=f"The worker process died of {ending.signal}: {reason}.",
            hint=f"{log_hint}: a crash leaves the Python stack there. Check the native packages it uses.",
        )
    return Failed(
        at=ending.at,
        code="worker_exited",
        message=f"The worker process ended with exit code {ending.code} before the action returned "
        "(os._exit, or native code that exits).",
        hint=f"{log_hint}; an action must return its result or raise an error.",
    )


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
