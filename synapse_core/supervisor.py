"""The small process that watches over one worker: starts it, stops it, and tells how it ended.

`python -m synapse_core.supervisor RUN_FOLDER`. It imports next to nothing, so that a run costs one
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

from synapse_core.processes import ProcessId, adopt_orphans, kill_descendants, kill_group
from synapse_core.run_folder import Claim, Exit, RunFolder

# A stop is over within 10 s: rollbacks have this long, then everything is killed.
GRACE_SECONDS = 8.0


def main(path: str) -> int:
    """Run the folder's request in a child process and write exit.json when that has ended."""
    folder = RunFolder(path)
    supervisor = ProcessId.current()
    if not folder.claim(Claim("process", supervisor, host=os.uname().nodename)):
        return 0  # somebody runs it, or it was given up: it must not run twice
    if folder.stop_requested():
        folder.write_exit(Exit(datetime.now(UTC), cause="stopped"))
        return 0
    wakeups = _watch_signals()
    worker = os.fork()
    if worker == 0:
        return _become_worker(folder, supervisor)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(worker, worker)
    adopt_orphans()
    status, is_forced = _wait(folder, worker, wakeups)
    _clear_away(worker)
    code = os.waitstatus_to_exitcode(status)
    folder.write_exit(
        Exit(
            datetime.now(UTC),
            code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            cause="stopped" if is_forced else None,
        )
    )
    return 0


def _become_worker(folder: RunFolder, supervisor: ProcessId) -> int:
    """Continue as the worker, in a process group of its own."""
    # Told by the worker itself: it is then known even if the supervisor dies at this very moment.
    folder.update_claim(Claim("process", supervisor, ProcessId.current(), host=os.uname().nodename))
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    with suppress(PermissionError):
        os.setpgid(0, 0)
    from synapse_core.worker import run_in_this_process  # the supervisor itself stays small

    return run_in_this_process(folder)


def _watch_signals() -> int:
    """Return a file that becomes readable, one byte a signal, when a child ends or a stop is asked for."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reading


def _wait(folder: RunFolder, worker: int, wakeups: int) -> tuple[int, bool]:
    """Return the worker's status and whether it had to be killed to stop it."""
    kill_at: float | None = None
    is_forced = False
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return status, is_forced
        timeout = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        if select.select([wakeups], [], [], timeout)[0]:
            signals = os.read(wakeups, 64)
            if {signal.SIGTERM, signal.SIGINT} & set(signals):
                request = folder.stop_requested()
                if kill_at is None:
                    os.kill(worker, signal.SIGTERM)
                    kill_at = time.monotonic() + GRACE_SECONDS
                if request is not None and request.force:
                    kill_at = time.monotonic()
        if kill_at is not None and time.monotonic() >= kill_at:
            is_forced = True
            kill_group(worker)
            kill_at = None


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
    sys.exit(main(sys.argv[1]))
