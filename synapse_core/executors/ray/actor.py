"""RayActorExecutor: actions on Ray actors, each in a worker process of its own (mode 'task')."""

from __future__ import annotations

import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synapse_core.discovery import ActionClass, PluginDiscovery, make_importable
from synapse_core.environment import PluginEnvironment, default_home, passed_environment
from synapse_core.errors import ExecutionError, InvalidRequest, RayUnavailable, SynapseError
from synapse_core.executors.base import Liveness, Notify
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster
from synapse_core.processes import kill_descendants
from synapse_core.run_folder import Claim, Exit, Resources, RunFolder, RunRequest
from synapse_core.supervisor import GRACE_SECONDS

NAMESPACE = "synapse"
DEFAULT_CPUS = 1.0
# From a stop's kill to the engine's last word.
_CLEARING_SECONDS = 4.0
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# The part of Ray's explanation that is about this worker; the rest lists what it might have been.
_DETAIL = re.compile(r"[Ww]orker exit detail: ?(.*?\.)(?: |$)")


@dataclass(frozen=True)
class _Key:
    """What two runs must share to use one worker: the plugin's very content, and its resources."""

    root: str
    content: str
    resources: Resources
    passed_names: tuple[str, ...]


@dataclass
class _Worker:
    """A worker actor of ours: its handle and its name in the cluster."""

    key: _Key
    name: str
    handle: Any


class RayActorExecutor:
    """Runs actions on Ray actors.

    For scripts: `execute(action, params)` runs on one actor, which is kept until `shutdown()`.
    For recorded runs: `start`, `stop`, `poll`; an idle worker is used again for the same plugin content,
    one run at a time, and ends by itself when it idles.

    ray_address: a cluster; 'auto' and None mean the home's own, which is started when first needed.
    working_dir: the plugin's folder, so that actions can be named instead of passed.
    """

    def __init__(
        self,
        env: PluginEnvironment | Mapping[str, Any] | None = None,
        job_id: str | None = None,
        language: str | None = None,
        *,
        ray_address: str | None = None,
        working_dir: str | Path | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: int | None = None,
        include_sdk: bool = False,
        cluster: RayCluster | None = None,
    ) -> None:
        address = None if ray_address in (None, "auto") else ray_address
        self._cluster = cluster or RayCluster(default_home(), address)
        self._env = dict(env.to_dict() if isinstance(env, PluginEnvironment) else env or {})
        self._job_id = job_id
        self._language = language
        self._working_dir = None if working_dir is None else Path(working_dir).resolve()
        self._resources = Resources(num_cpus, num_gpus, memory)
        # The workers of a cluster on this machine share our installation; there is nothing to ship.
        self._include_sdk = include_sdk
        self._lock = threading.Lock()
        self._own: Any = None
        self._idle: list[_Worker] = []
        self._is_closed = False
        self._ends = ThreadPoolExecutor(1, "run-ended")

    # For scripts

    def execute(self, action: ActionClass | str, params: Mapping[str, Any] | None = None) -> Any:
        """Run an action on the kept actor and return its result. The first call creates the actor.

        Raises ValidationError for parameters that do not fit, ExecutionError for a failed action or a
        worker that died; the actor is dropped then.
        """
        import ray  # 250 ms and 60 MB, only where Ray is used

        if self._own is None:
            self._cluster.connect()
            self._own = self._create(self._resources, f"execute-{secrets.token_hex(4)}", detached=False)
        target = self._target(action)
        try:
            return ray.get(
                self._own.execute.remote(target, dict(params or {}), self._env, self._job_id, self._language)
            )
        except ray.exceptions.RayTaskError as error:
            self.shutdown()
            if isinstance(error.cause, SynapseError):
                raise error.cause from None
            raise ExecutionError(f"Action execution failed: {_plain(error)}") from error
        except ray.exceptions.RayError as error:
            self.shutdown()
            raise ExecutionError(f"The worker died: {_plain(error)}") from error

    def shutdown(self) -> None:
        """Drop the actor that `execute` keeps."""
        if self._own is not None:
            import ray  # it is loaded by now

            ray.kill(self._own)
            self._own = None

    # For recorded runs

    def check(self, request: RunRequest) -> None:
        status = self._cluster.status()
        if status.state == "unreachable":
            raise RayUnavailable(status.message, hint=status.fix)
        _check_fits(request.resources, status)

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        status = self._cluster.connect(notify)
        _check_fits(request.resources, status)
        self._begin(folder, request, notify)

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        """The worker itself sees the request to stop; here it is waited for, and killed where it must be."""
        patience = 0.5 if force else GRACE_SECONDS
        deadline = time.monotonic() + patience
        while folder.exit() is None and time.monotonic() < deadline:
            if claim is not None and not _is_alive(claim):
                break
            time.sleep(0.02)
        if folder.exit() is not None or claim is None or claim.worker is None:
            return
        kill_descendants(claim.worker.pid)
        self._kill(claim)
        deadline = time.monotonic() + _CLEARING_SECONDS
        while claim.worker.is_alive and time.monotonic() < deadline:
            time.sleep(0.02)
        folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause="stopped"))

    def poll(self, folder: RunFolder, claim: Claim) -> Liveness:
        if _is_alive(claim):
            return Liveness.ALIVE
        if folder.exit() is None and (told := self._death_of(claim)) is not None:
            folder.write_exit(told)
        return Liveness.GONE

    def close(self) -> None:
        """End idle workers; busy ones go on and end by themselves."""
        self.shutdown()
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            self._end(worker)

    def _begin(self, folder: RunFolder, request: RunRequest, notify: Notify, is_retry: bool = False) -> None:
        """Hand the run to an idle worker of its kind, or to a new one."""
        worker = self._take(_key(request))
        environment = passed_environment(request.passed_names)
        reply = worker.handle.run.remote(str(folder.path), environment)

        def ended(future: Any) -> None:
            """See to what the call's end asks for."""
            error = future.exception()
            if error is None:
                self._give_back(worker)
            elif folder.claimed() is None and not is_retry and folder.stop_requested() is None:
                # The idle worker ended between our taking it and its getting the run: nothing was begun.
                try:
                    self._begin(folder, request, notify, is_retry=True)
                except SynapseError as failure:
                    folder.write_exit(Exit(datetime.now(UTC), cause=failure.code, message=failure.message))
            else:
                folder.write_exit(_exit_of(error))

        # Ray answers in a thread of its own, in which asking Ray for anything would wait for itself.
        reply.future().add_done_callback(lambda future: self._ends.submit(ended, future))
        threading.Thread(
            target=self._tell_waiting, args=(folder, request.resources, notify), daemon=True
        ).start()

    def _take(self, key: _Key) -> _Worker:
        """Return a worker for the key; idle ones of other keys make room for it."""
        with self._lock:
            fitting = [worker for worker in self._idle if worker.key == key]
            if fitting:
                self._idle.remove(fitting[-1])
                return fitting[-1]
            displaced, self._idle = self._idle, []
        for worker in displaced:
            self._end(worker)
        name = f"worker-{secrets.token_hex(6)}"
        return _Worker(key, name, self._create(key.resources, name, detached=True))

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(worker)
                return
        self._end(worker)

    def _create(self, resources: Resources, name: str, *, detached: bool) -> Any:
        """Create a worker actor. A detached one outlives this process."""
        import ray  # it is loaded by now

        from synapse_core.executors.ray.task_worker import TaskWorker  # imports Ray

        options: dict[str, Any] = {
            "num_cpus": DEFAULT_CPUS if resources.num_cpus is None else resources.num_cpus,
            "num_gpus": resources.num_gpus or 0,
            "max_restarts": 0,
            "name": name,
            "namespace": NAMESPACE,
        }
        if resources.memory:
            options["memory"] = resources.memory
        if detached:
            options["lifetime"] = "detached"
        return ray.remote(TaskWorker).options(**options).remote(name)

    def _end(self, worker: _Worker) -> None:
        import ray  # it is loaded by now

        # An idle worker of a cluster that died needs no ending.
        with suppress(ray.exceptions.RayError):
            ray.kill(worker.handle)

    def _kill(self, claim: Claim) -> None:
        """Kill the worker of a run, whoever started it."""
        import ray  # it is loaded by now, or the cluster could not be asked

        try:
            self._cluster.connect()
            ray.kill(ray.get_actor(claim.actor or "", namespace=NAMESPACE))
        except (ValueError, SynapseError, ray.exceptions.RayError):
            # No such actor any more, or no cluster: the process itself is what has to go.
            if claim.worker is not None and claim.host == os.uname().nodename:
                claim.worker.send(signal.SIGKILL)

    def _death_of(self, claim: Claim) -> Exit | None:
        """Return what Ray recorded of a dead worker, None where it knows nothing."""
        if claim.actor is None or self._cluster.status().state != "running":
            return None
        from ray.util.state import list_actors  # only to explain a death
        from ray.util.state.exception import RayStateApiException

        try:
            self._cluster.connect()
            found = list_actors(filters=[("name", "=", claim.actor)], detail=True, timeout=3)
        except (RayStateApiException, SynapseError, ConnectionError):
            return None
        for actor in found:
            if actor.state == "DEAD":
                cause = _ANSI.sub("", str(actor.death_cause or ""))
                return _exit_told(cause, "oom_context" in cause)
        return None

    def _tell_waiting(self, folder: RunFolder, resources: Resources, notify: Notify) -> None:
        """Write down why a run has not begun, every second, until it has."""
        while folder.claimed() is None and folder.exit() is None and folder.path.exists():
            time.sleep(1.0)
            if folder.claimed() is None and folder.exit() is None:
                notify(_waiting_reason(resources, self._cluster.status()))

    def _target(self, action: ActionClass | str) -> Any:
        """Return what the worker needs to find an action: its class, or the plugin and its entrypoint."""
        if not isinstance(action, str):
            return getattr(action, "_action_class", action)
        discovery = PluginDiscovery.from_path(self._working_dir or Path.cwd())
        entrypoint = discovery.get_action_entrypoint(action)
        module, _, name = entrypoint.rpartition(".")
        if discovery.root is not None:
            make_importable(discovery.root, module)  # the result may be of one of the plugin's own classes
        return str(discovery.root), f"{module}:{name}", discovery.config.code


def _key(request: RunRequest) -> _Key:
    return _Key(request.root, request.content, request.resources, request.passed_names)


def _is_alive(claim: Claim) -> bool:
    """Return True where the worker's process runs, as far as can be seen from this machine."""
    if claim.worker is None:
        return False
    return claim.host != os.uname().nodename or claim.worker.is_alive


def _check_fits(resources: Resources, status: ClusterStatus) -> None:
    """Raise InvalidRequest where the cluster could never give what is asked for."""
    for asked, total, name in (
        (resources.num_cpus, status.cpus, "CPUs"),
        (resources.num_gpus, status.gpus, "GPUs"),
    ):
        if asked and total is not None and asked > total:
            raise InvalidRequest(
                f"The run asks for {asked:g} {name}; the cluster has {total:g}.",
                {"asked": asked, "total": total},
                hint=f"Ask for at most {total:g}, or use a cluster that has more.",
            )


def _waiting_reason(resources: Resources, status: ClusterStatus) -> str:
    need = f"{DEFAULT_CPUS if resources.num_cpus is None else resources.num_cpus:g} CPU"
    if resources.num_gpus:
        need += f" and {resources.num_gpus:g} GPU"
    if status.free_cpus is None:
        return f"waiting for a Ray worker with {need}"
    free = f"{status.free_cpus:g} of {status.cpus or 0:g} CPUs"
    if resources.num_gpus:
        free += f" and {status.free_gpus or 0:g} of {status.gpus or 0:g} GPUs"
    return f"waiting for a Ray worker with {need}; free now: {free}"


def _plain(error: BaseException) -> str:
    return _ANSI.sub("", str(error)).strip()[:1500]


def _exit_of(error: BaseException) -> Exit:
    """Return how a worker ended whose call Ray answered with an error."""
    return _exit_told(_plain(error), type(error).__name__ == "OutOfMemoryError")


def _exit_told(words: str, is_out_of_memory: bool) -> Exit:
    """Return an ending in Ray's own words; it does not tell signals or exit codes."""
    if is_out_of_memory:
        return Exit(
            datetime.now(UTC),
            cause="out_of_memory",
            message="Ray killed the worker because the node ran out of memory.",
            hint="Work on smaller batches, or give the run more memory (resources.memory).",
        )
    detail = _DETAIL.search(words)
    return Exit(
        datetime.now(UTC),
        cause="worker_died",
        message="The worker process died before the action returned: os._exit, a crash in native code, or a "
        f"kill from outside. Ray says: {detail.group(1) if detail else words[:300]}",
        hint="Call get_run_logs to see its last words; a crash leaves the Python stack there.",
    )
