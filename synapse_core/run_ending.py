"""How a run ended, as its folder tells: by the worker's own last event, or by what stands for it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from synapse_core.events import Failed, Stopped, Succeeded, decode_line
from synapse_core.run_folder import Exit, RunFolder

_CRASHES = {
    "SIGSEGV": "a segmentation fault in native code",
    "SIGBUS": "a bus error in native code",
    "SIGABRT": "native code that aborted",
    "SIGILL": "an illegal instruction in native code",
    "SIGFPE": "an arithmetic error in native code",
}
# Enough for the usual last event.
_LAST_BYTES = 1 << 14


def ending(folder: RunFolder) -> Succeeded | Failed | Stopped | None:
    """Return the event with which a run ended, None where nothing in its folder says that it has.

    The worker's own event counts before what a supervisor or an engine wrote down.
    """
    noted = folder.exit()  # read first: a worker writes its event before anybody notes its exit
    own = _last_event(folder.events)
    if own is not None or noted is None:
        return own
    return ending_of(noted, folder)


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


def _last_event(path: Path) -> Succeeded | Failed | Stopped | None:
    """Return the last event of a file where it is terminal."""
    try:
        with open(path, "rb") as file:
            size, most = os.fstat(file.fileno()).st_size, _LAST_BYTES
            while True:
                file.seek(max(0, size - most))
                last = file.read(most).rstrip(b"\n").rpartition(b"\n")
                if last[1] or most >= size:
                    break
                most *= 4
    except FileNotFoundError:
        return None
    try:
        event = decode_line(last[2])
    except msgspec.MsgspecError:
        return None  # one that is being written
    return event if isinstance(event, Succeeded | Failed | Stopped) else None
