"""ProcessExecutor: each run in a process of its own that outlives whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Protocol

from synapse_core.environment import passed_environment
from synapse_core.errors import InvalidRequest
from synapse_core.executors.base import Liveness, Notify
from synapse_core.processes import ProcessId, kill_descendants, kill_group
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest
from synapse_core.supervisor import GRACE_SECONDS, grace_seconds

# From a stop's kill to the supervisor's last word, on a machine that is busy.
_CLEARING_SECONDS = 4.0


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
        if claim is None or claim.supervisor is None:
            return  # not begun: the supervisor reads the request to stop before it does anything
        deadline = time.monotonic() + _CLEARING_SECONDS + (0 if force else grace_seconds(folder.request()))
        claim.supervisor.send(signal.SIGTERM)
        while self.poll(folder, claim) is Liveness.ALIVE:
            if time.monotonic() > deadline:
                claim.supervisor.send(signal.SIGKILL)
                force = True
            if not claim.supervisor.is_alive:
                self._stop_orphan(folder, folder.claimed() or claim, force)
                return
            time.sleep(0.01)

    def poll(self, folder: RunFolder, claim: Claim) -> Liveness:
        with self._lock:
            for process in self._started:
                process.poll()  # reap, so that an ended supervisor is not taken for a live one
        processes = (claim.supervisor, claim.worker)
        is_alive = any(process is not None and process.is_alive for process in processes)
        return Liveness.ALIVE if is_alive else Liveness.GONE

    def close(self) -> None:
        with self._lock:
            for process in self._started:
                if process.poll() is None:
                    process.returncode = 0  # it outlives us; nobody here waits for it any more
            self._started.clear()

    def _watch(self, process: Child) -> None:
        """Remember a child, so that it is reaped when it has ended."""
        with self._lock:
            self._started = [earlier for earlier in self._started if earlier.poll() is None]
            self._started.append(process)

    def _stop_orphan(self, folder: RunFolder, claim: Claim, force: bool) -> None:
        """Stop a worker whose supervisor is gone: the same, from here."""
        worker = claim.worker
        if worker is None or not worker.is_alive:
            return
        if not force:
            worker.send(signal.SIGTERM)
            _wait_until_gone(worker, GRACE_SECONDS)
        kill_descendants(worker.pid)
        kill_group(worker.pid)
        _wait_until_gone(worker, _CLEARING_SECONDS)
        folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause="stopped"))


def _wait_until_gone(process: ProcessId, most_seconds: float) -> None:
    deadline = time.monotonic() + most_seconds
    while process.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
