"""Runs that were handed in as jobs and have not begun: why they wait, and those that never will."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from synapse_core.errors import RayUnavailable
from synapse_core.executors.base import Notify
from synapse_core.executors.ray.capacity import asked_of, waiting_reason
from synapse_core.executors.ray.cluster import ClusterStatus
from synapse_core.executors.ray.job_server import Job
from synapse_core.run_folder import RunFolder, RunRequest

_LOOK_SECONDS = 0.2
# How often Ray is asked about one job: 5 to 10 ms of the job server's time.
_ASK_SECONDS = 1.0
_PREPARING = "Ray prepares the job's runtime environment"
_STARTING = "Ray starts the job"


@dataclass(eq=False)
class Waiting:
    """A run that has not begun. makes: Ray has to make a virtualenv or the like for it first."""

    folder: RunFolder
    request: RunRequest
    notify: Notify
    makes: bool
    ask_at: float = field(default_factory=lambda: time.monotonic() + _ASK_SECONDS / 2)

    @property
    def is_over(self) -> bool:
        """True where somebody has the run, or nobody is to have it any more."""
        return self.folder.claimed() is not None or not self.folder.path.exists()


class JobWatch:
    """Looks after waiting runs, in a thread that is there while there are any.

    ask: returns the job of a run; it ends a run itself that can never begin.
    status: tells what is free. ask_for_room: called while a run waits for what others hold.
    """

    def __init__(
        self,
        ask: Callable[[RunFolder], Job],
        status: Callable[[], ClusterStatus],
        ask_for_room: Callable[[], None],
    ) -> None:
        self._ask = ask
        self._status = status
        self._ask_for_room = ask_for_room
        self._waiting: list[Waiting] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, waiting: Waiting) -> None:
        """Look after a run from now on, until it has begun or never will."""
        with self._lock:
            self._waiting.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="ray-jobs", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more. The runs go on."""
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            for waiting in list(self._waiting):
                if not waiting.is_over and time.monotonic() >= waiting.ask_at:
                    self._tell(waiting)
            with self._lock:
                self._waiting = [waiting for waiting in self._waiting if not waiting.is_over]
                if not self._waiting:
                    self._thread = None
                    return

    def _tell(self, waiting: Waiting) -> None:
        """Write down why a run has not begun; a run that never will is ended by the question."""
        waiting.ask_at = time.monotonic() + _ASK_SECONDS
        try:
            job = self._ask(waiting.folder)
        except RayUnavailable as error:
            waiting.notify(f"Ray does not answer: {error.message}")
            return
        if job.status == "PENDING" and not waiting.is_over:
            waiting.notify(self._reason(waiting))

    def _reason(self, waiting: Waiting) -> str:
        resources = waiting.request.resources
        status = self._status()
        asked = asked_of(resources)
        if asked.get("CPU", 0) > (status.free_cpus or 0) or asked.get("GPU", 0) > (status.free_gpus or 0):
            self._ask_for_room()
            # Ray counts what a job that it prepares will hold as taken, too.
            return waiting_reason(resources, status).replace("a Ray worker", "room for a Ray job")
        return _PREPARING if waiting.makes else _STARTING
