"""ForkingExecutor: runs in processes that begin with what this process has imported already."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from synapse_core import supervisor
from synapse_core.environment import passed_environment
from synapse_core.executors.base import Notify
from synapse_core.executors.process import ProcessExecutor
from synapse_core.run_folder import RunFolder, RunRequest


class ForkingExecutor(ProcessExecutor):
    """Forks the supervisor of each run instead of starting an interpreter, which saves most of a short run.

    For a process of one thread that has imported no plugin: whatever it holds, its runs hold too.
    """

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        environment = passed_environment(request.passed_names)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            _become_supervisor(folder, environment)
        self._watch(_Forked(pid))


class _Forked:
    """A child process, as far as its starter has to know it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs; an ended one is reaped."""
        if self.returncode is None:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


def _become_supervisor(folder: RunFolder, environment: dict[str, str]) -> None:
    """Continue as the supervisor of a run, and never return."""
    code = 1
    try:
        os.setsid()
        _redirect_streams(folder)
        os.environ.clear()
        os.environ.update(environment)
        # What this process was to do at its end is not for its children to do.
        atexit._clear()
        code = supervisor.main(str(folder.path))
        # From here on it is the supervisor or its worker, each ending as an interpreter does.
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter itself calls
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _redirect_streams(folder: RunFolder) -> None:
    output = os.open(folder.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.close(null)
