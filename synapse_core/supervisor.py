"""The small process that watches over one worker: starts it, stops it, and tells how it ended.

`python -m synapse_core.supervisor RUN_FOLDER [PLUGIN_FOLDER]`. The plugin's folder is given where it is not
the one of the request, because the plugin was shipped. The exit code is 0 only where the run succeeded, or is
somebody else's. It imports next to nothing, so that a run costs one
interpreter start: the worker is forked from it before anything heavy is loaded.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

from synapse_core.processes import (
    ProcessId,
    adopt_orphans,
    kill_descendants,
    kill_group,
    out_of_memory_kills,
)
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest

# A stop is over within 10 s: rollbacks have this long, then everything is killed.
GRACE_SECONDS = 8.0
# The coordinator of a pipeline sees all of its actions end before it ends itself.
_COORDINATOR_SECONDS = 3.0
# How often the supervisor of a pipeline's action looks whether the pipeline is still there.
_LOOK_SECONDS = 0.3
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Runs that take all cores must not keep the server from answering.
_NICENESS = 10


def grace_seconds(request: RunRequest | None) -> float:
    """Return how long a run that was asked to stop may take."""
    return GRACE_SECONDS + (_COORDINATOR_SECONDS if request is not None and request.pipeline else 0.0)


def main(path: str, root: str | None = None) -> int:
    """Run the folder's request in a child process and write exit.json when that has ended."""
    folder = RunFolder(path)
    supervisor = ProcessId.current()
    wakeups = _watch_signals()  # before the claim: who sees that may ask for a stop at once
    if not folder.claim(Claim("process", supervisor, host=os.uname().nodename)):
        return 0  # somebody runs it, or it was given up: it must not run twice
    if folder.stop_requested():
        folder.write_exit(Exit(datetime.now(UTC), cause="stopped"))
        return 0
    _take_over_environment(folder)
    kills_before = out_of_memory_kills()
    # Until the worker takes them as its own, our handlers would swallow them in it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    worker = os.fork()
    if worker == 0:
        return _become_worker(folder, supervisor, root)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(worker, worker)
    adopt_orphans()
    status, killed_for = _wait(folder, worker, wakeups)
    if killed_for is None:
        _await_actions(folder)
    _clear_away(worker)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and killed_for is None and out_of_memory_kills() > kills_before:
        folder.write_exit(
            Exit(
                datetime.now(UTC),
                signal="SIGKILL",
                cause="out_of_memory",
                message="The system killed the worker process because memory ran out.",
                hint="Work on smaller batches, or run where there is more memory.",
            )
        )
        return 1
    folder.write_exit(
        Exit(
            datetime.now(UTC),
            code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            cause=killed_for,
        )
    )
    return 1 if code else 0


def _take_over_environment(folder: RunFolder) -> None:
    """Add what the submitter left for the run; what this place has of its own stays, unless asked for."""
    passed = folder.take_over()
    request = folder.request() if passed else None
    wanted = () if request is None else request.passed_names
    os.environ.update(
        {name: value for name, value in passed.items() if name in wanted or name not in os.environ}
    )


def _become_worker(folder: RunFolder, supervisor: ProcessId, root: str | None) -> int:
    """Continue as the worker, in a process group of its own."""
    signal.set_wakeup_fd(-1)
    for number in (*_STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    # Told by the worker itself: it is then known even if the supervisor dies at this very moment.
    folder.update_claim(Claim("process", supervisor, ProcessId.current(), host=os.uname().nodename))
    with suppress(PermissionError):
        os.setpgid(0, 0)
    os.nice(max(0, _NICENESS - os.nice(0)))
    from synapse_core.worker import run_in_this_process  # the supervisor itself stays small

    return run_in_this_process(folder, root)


def _watch_signals() -> int:
    """Return a file that becomes readable, one byte a signal, when a child ends or a stop is asked for."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_STOP_SIGNALS):
        signal.signal(number, lambda _number, _frame: None)
    return reading


def _wait(folder: RunFolder, worker: int, wakeups: int) -> tuple[int, str | None]:
    """Return the worker's status, and what it was made to end for ('stopped', 'timeout') where it was."""
    request = folder.request()
    limit = None if request is None else request.timeout_seconds
    is_part = request is not None and request.parent is not None
    ask_at = None if limit is None else time.monotonic() + limit
    kill_at: float | None = None
    asked_for: str | None = None
    killed_for: str | None = None
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            # A worker that is still starting has no ear for the question and dies of it.
            has_died_asked = os.waitstatus_to_exitcode(status) == -signal.SIGTERM
            return status, killed_for or (asked_for if has_died_asked else None)
        dues = [due for due in (ask_at, kill_at) if due is not None]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        if is_part:
            timeout = _LOOK_SECONDS if timeout is None else min(timeout, _LOOK_SECONDS)
        is_woken = bool(select.select([wakeups], [], [], timeout)[0])
        signals = set(os.read(wakeups, 64)) if is_woken else set()
        now = time.monotonic()
        is_stop = not signals.isdisjoint(_STOP_SIGNALS)
        if is_part and asked_for is None and request is not None:
            is_stop = folder.stop_if_orphaned(request) or is_stop
        is_late = ask_at is not None and now >= ask_at
        if (is_stop or is_late) and asked_for is None:
            asked_for = "stopped" if is_stop else "timeout"
            os.kill(worker, signal.SIGTERM)
            ask_at, kill_at = None, now + grace_seconds(request)
        if is_stop and (stop := folder.stop_requested()) is not None and stop.force:
            kill_at = now
        if kill_at is not None and now >= kill_at:
            killed_for, kill_at = asked_for, None
            kill_group(worker)


def _await_actions(folder: RunFolder) -> None:
    """Let the actions of a pipeline whose coordinator ended, or died, come to their own end.

    Each sees by itself that the pipeline is gone, and stops.
    """
    deadline = time.monotonic() + GRACE_SECONDS + _COORDINATOR_SECONDS
    while time.monotonic() < deadline and any(one.is_being_executed for one in folder.action_folders()):
        time.sleep(0.01)


def _clear_away(worker: int) -> None:
    """Kill what the worker left running, and wait until all of it is gone."""
    deadline = time.monotonic() + 2.0
    kill_group(worker)
    while time.monotonic() < deadline:
        kill_descendants(os.getpid())
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
