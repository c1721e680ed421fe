"""ProcessExecutor: each run in a process of its own that outlives whoever started it."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Protocol

from synapse_core.environment import passed_environment
from synapse_core.errors import InvalidRequest
from synapse_core.executors.base import Liveness, Notify
from synapse_core.executors.supervised import is_supervised, stop_supervised
from synapse_core.run_folder import Claim, RunFolder, RunRequest
from synapse_core.supervisor import grace_seconds


class Child(Protocol):
    """What has to be known of a child process."""

    returncode: int | None

    def poll(self) -> int | None: ...


class ProcessExecutor:
    """Starts a supervisor for each run, detached; it forks the worker and sees it to its end."""

    def __init__(self) -> None:
        self._started: list[Child] = []
        self._lock = threading.Lock()

    def check(self, request: RunRequest) -> None:
        if request.resources.num_gpus:
            raise InvalidRequest(
                f"The run asks for {request.resources.num_gpus:g} GPUs, which mode 'local' does not assign.",
                hint="Use mode 'task': Ray assigns GPUs to runs.",
            )

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        with open(folder.output, "ab") as output:
            process = subprocess.Popen(
                # -P: what lies in the current directory must not shadow the plugin's modules.
                [sys.executable, "-P", "-m", "synapse_core.supervisor", str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=passed_environment(request.passed_names),
                start_new_session=True,
            )
        self._watch(process)

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        if claim is not None:  # else not begun: the supervisor finds the run given up, and leaves it alone
            stop_supervised(folder, claim, 0.0 if force else grace_seconds(folder.request()), self._reap)

    def poll(self, folder: RunFolder, claim: Claim | None) -> Liveness:
        self._reap()
        return Liveness.ALIVE if claim is not None and is_supervised(claim) else Liveness.GONE

    def close(self) -> None:
        with self._lock:
            for process in self._started:
                if process.poll() is None:
                    process.returncode = 0  # it outlives us; nobody here waits for it any more
            self._started.clear()

    def _reap(self) -> None:
        """Take note of supervisors that ended, so that none of them is taken for a live one."""
        with self._lock:
            for process in self._started:
                process.poll()

    def _watch(self, process: Child) -> None:
        """Remember a child, so that it is reaped when it has ended."""
        with self._lock:
            self._started = [earlier for earlier in self._started if earlier.poll() is None]
            self._started.append(process)
