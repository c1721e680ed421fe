"""The actor that carries the worker body on Ray. Imported by workers and where Ray is loaded anyway."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import ray

from synapse_core.discovery import load_action
from synapse_core.events import Succeeded
from synapse_core.executors.local import LocalExecutor
from synapse_core.executors.ray.mirror import distant_folder
from synapse_core.executors.ray.run_order import RunOrder
from synapse_core.processes import ProcessId, kill_descendants
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest
from synapse_core.stop import StopSignal
from synapse_core.supervisor import grace_seconds
from synapse_core.tracing import run_trace
from synapse_core.worker import run_request, surroundings

# An idle worker holds its CPU, which a run of another server may be waiting for.
IDLE_SECONDS = 10.0
_LOOK_FOR_OTHERS_SECONDS = 0.25
_LOOK_FOR_STOP_SECONDS = 0.1
# A stopping server kills a worker that does not end; should that server die, the worker does it itself.
_SERVER_FIRST_SECONDS = 1.0


class TaskWorker:
    """One process on Ray that runs one action at a time, in its main thread, for one content of a plugin."""

    def __init__(self, name: str, first: RunOrder | None = None) -> None:
        self._name = name
        self._idle_since: float | None = None
        self._taken: set[str] = set()
        self._is_ending = False
        self._turning = threading.Lock()
        if first is not None:
            # Asked by itself, it needs nobody: who created it may be gone before it comes up.
            ray.get_runtime_context().current_actor.run.remote(first)

    def run(self, order: RunOrder) -> bool:
        """Run what the folder asks for. Returns False where somebody else has the run already.

        Raises RuntimeError, the run untouched, where this worker is just ending for want of work.
        """
        with self._turning:
            if self._is_ending:
                raise RuntimeError(f"{self._name} is ending; another worker has to take the run")
            self._idle_since = None
        folder = RunFolder(order.path)
        claim = Claim("ray", worker=ProcessId.current(), host=os.uname().nodename, actor=self._name)
        request = folder.request()
        is_ours = False
        if request is None:
            is_ours = self._run_far(order, claim)
        elif folder.claim(claim):
            is_ours = True
            _work(folder, request, order.environment)
        self._idle(order.wanted)
        return is_ours

    def _run_far(self, order: RunOrder, claim: Claim) -> bool:
        """Run where the home's disk is not: in a folder of this node, which is mirrored into the home."""
        if order.path in self._taken:
            return False  # the same worker's claim would count as the first one, asked for again
        self._taken.add(order.path)
        with distant_folder(order, claim) as folder:
            if folder is None:
                return False
            request = folder.request()
            assert request is not None, "it was laid out just now"
            _work(folder, request, order.environment)
        return True

    def execute(
        self,
        target: Any,
        params: Mapping[str, Any],
        env: Mapping[str, Any],
        job_id: str | None,
        language: str | None,
    ) -> Any:
        """Run an action given as a class, or as (plugin folder, entrypoint, code), and return its result."""
        if isinstance(target, tuple):
            root, entrypoint, code = target
            target = load_action(entrypoint, Path(root), code)
        executor = LocalExecutor({**os.environ, **env}, job_id, language)
        return executor.execute(target, params)

    def _idle(self, wanted: str | None) -> None:
        """End this actor unless it gets another run in time; at once when others wait for its place."""
        since = self._idle_since = time.monotonic()
        now = time.time()

        def end_if_idle() -> None:
            while self._idle_since == since:
                time.sleep(_LOOK_FOR_OTHERS_SECONDS)
                if time.monotonic() - since > IDLE_SECONDS or _touched(wanted) > now:
                    break
            # A kill takes a moment to arrive, and must not hit a run that came in between.
            with self._turning:
                self._is_ending = self._idle_since == since
            if self._is_ending:
                ray.kill(ray.get_runtime_context().current_actor)

        threading.Thread(target=end_if_idle, daemon=True).start()


def _touched(path: str | None) -> float:
    if path is None:
        return 0.0
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0  # nobody has waited yet, or the home is on another disk


def _work(folder: RunFolder, request: RunRequest, environment: Mapping[str, str]) -> None:
    """Run a claimed run to its end, and write down that it ended."""
    stop = StopSignal()
    with (
        _output_to(folder.output),
        _stoppable(folder, request, stop),
        surroundings(folder, request, environment),
        run_trace(request) as trace,
    ):
        ending = run_request(folder, request, stop, trace)
    kill_descendants(os.getpid())
    folder.write_exit(Exit(datetime.now(UTC), code=0 if isinstance(ending, Succeeded) else 1))


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send descriptors 1 and 2, and what Python prints, into a file, and take them back."""
    kept = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for stream in streams:
            stream.flush()
        os.dup2(null, 0)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        sys.stdout, sys.stderr = _text(1), _text(2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
        for descriptor in (*kept, file, null):
            os.close(descriptor)


def _text(descriptor: int) -> TextIOWrapper:
    binary = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115  # lives as long as the run
    return TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", write_through=True)


@contextmanager
def _stoppable(folder: RunFolder, request: RunRequest, stop: StopSignal) -> Iterator[None]:
    """Ask the work to end when a stop is written into the folder, by whichever server, or its time is up."""
    ended = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    deadline = None if request.timeout_seconds is None else time.monotonic() + request.timeout_seconds

    def end_cause() -> str | None:
        if folder.stop_requested() is not None:
            return "stopped"
        return "timeout" if deadline is not None and time.monotonic() >= deadline else None

    def on_sigterm(number: int, frame: Any) -> None:
        if end_cause() is not None:
            stop.request()
        elif callable(before):
            before(number, frame)

    def look() -> None:
        while not ended.wait(_LOOK_FOR_STOP_SECONDS):
            folder.stop_if_orphaned(request)
            if (cause := end_cause()) is not None:
                kill_at = time.monotonic() + grace_seconds(request) + _SERVER_FIRST_SECONDS
                while time.monotonic() < kill_at:
                    if not stop.is_requested:
                        # A signal, not a flag: it also ends a sleep or a read in the main thread. Repeated,
                        # as it does not end one that began at that very moment.
                        os.kill(os.getpid(), signal.SIGTERM)
                    if ended.wait(_LOOK_FOR_STOP_SECONDS):
                        return
                folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause=cause))
                kill_descendants(os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)

    signal.signal(signal.SIGTERM, on_sigterm)
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, before)
