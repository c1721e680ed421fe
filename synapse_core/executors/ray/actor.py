"""RayActorExecutor: actions on Ray actors, each in a worker process of its own (mode 'task')."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synapse_core.discovery import ActionClass, PluginDiscovery, make_importable
from synapse_core.environment import PluginEnvironment, default_home
from synapse_core.errors import ExecutionError, RayUnavailable, SynapseError
from synapse_core.executors.base import Liveness, Notify
from synapse_core.executors.ray.capacity import check_fits
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.endings import exit_told, plain
from synapse_core.executors.ray.pool import WorkerPool, create_worker
from synapse_core.executors.ray.run_order import NAMESPACE, actor_options, worker_name
from synapse_core.processes import kill_descendants
from synapse_core.run_folder import Claim, Exit, Resources, RunFolder, RunRequest
from synapse_core.supervisor import grace_seconds

# What a forced stop takes off the time that a run has to end.
_HURRY_SECONDS = 7.5
# From a stop's kill to the engine's last word.
_CLEARING_SECONDS = 4.0
# What a stop, and the word that it is over, take on their way to a node that does not share the disk.
_WAY_SECONDS = 1.5


class RayActorExecutor:
    """Runs actions on Ray actors.

    For scripts: `execute(action, params)` runs on one actor, which is kept until `shutdown()`.
    For recorded runs: `start`, `stop`, `poll`; an idle worker is used again for the same plugin content,
    one run at a time, and ends by itself when it idles. Runs begin in the order in which they were started
    here, as many at a time as the cluster has room for.

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
        self._own: Any = None
        # What the kept actor was asked for: it holds the code as it was then, so config.yaml is read once.
        self._targets: dict[str, Any] = {}
        self._pool = WorkerPool(self._cluster)

    # For scripts

    def execute(self, action: ActionClass | str, params: Mapping[str, Any] | None = None) -> Any:
        """Run an action on the kept actor and return its result. The first call creates the actor.

        Raises InvalidRequest where no node could ever hold the actor, ValidationError for parameters that do
        not fit, ExecutionError for a failed action or a worker that died; the actor is dropped then.
        """
        import ray  # 250 ms and 60 MB, only where Ray is used

        if self._own is None:
            check_fits(self._resources, self._cluster.connect())
            name = worker_name()
            self._own = create_worker(actor_options(self._resources, name, detached=False), name)
        target = self._target(action)
        try:
            return ray.get(
                self._own.execute.remote(target, dict(params or {}), self._env, self._job_id, self._language)
            )
        except ray.exceptions.RayTaskError as error:
            self.shutdown()
            if isinstance(error.cause, SynapseError):
                raise error.cause from None
            raise ExecutionError(f"Action execution failed: {plain(error)}") from error
        except ray.exceptions.RayError as error:
            self.shutdown()
            raise ExecutionError(f"The worker died: {plain(error)}") from error

    def shutdown(self) -> None:
        """Drop the actor that `execute` keeps."""
        if self._own is not None:
            import ray  # it is loaded by now

            ray.kill(self._own)
            self._own = None
        self._targets.clear()

    # For recorded runs

    def check(self, request: RunRequest) -> None:
        status = self._cluster.recent_status()
        if status.state == "unreachable":
            raise RayUnavailable(status.message, hint=status.fix)
        check_fits(request.resources, status)

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        status = self._cluster.connect(notify)
        check_fits(request.resources, status)
        self._pool.put(folder, request, notify, status)

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        """The worker itself sees the request to stop; here it is waited for, and killed where it must be."""
        patience = grace_seconds(folder.request()) - (_HURRY_SECONDS if force else 0.0)
        if claim is not None and claim.is_mirrored:
            patience += _WAY_SECONDS
        deadline = time.monotonic() + patience
        while folder.exit() is None and time.monotonic() < deadline:
            if claim is not None and _is_near(claim) and not _runs(claim):
                break
            time.sleep(0.02)
        if folder.exit() is not None or claim is None:
            return
        if _is_near(claim) and claim.worker is not None:
            kill_descendants(claim.worker.pid)
        self._kill(claim)
        deadline = time.monotonic() + _CLEARING_SECONDS
        # Ray calls a worker dead, and its ending may be written down, before its process is gone.
        while self._is_there(claim) and time.monotonic() < deadline:
            if claim.is_mirrored and folder.exit() is not None:
                break
            time.sleep(0.02)
        folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause="stopped"))

    def poll(self, folder: RunFolder, claim: Claim | None) -> Liveness:
        if claim is None:
            return Liveness.GONE  # Ray may hold it; beginning it once more does no harm
        if self._is_there(claim):
            return Liveness.ALIVE
        if folder.exit() is None and not claim.is_mirrored and (actor := self._recorded(claim)) is not None:
            if actor.state != "DEAD":
                return Liveness.ALIVE  # Ray has yet to see that its process is gone: the next look tells why
            cause = str(actor.death_cause or "")
            folder.write_exit(exit_told(plain(cause), "oom_context" in cause))
        return Liveness.GONE

    def close(self) -> None:
        """End idle workers; busy ones go on and end by themselves."""
        self.shutdown()
        self._pool.close()

    def _is_there(self, claim: Claim) -> bool:
        """Return True where somebody may still write into the run's folder."""
        if _is_near(claim):
            return _runs(claim)
        status = self._cluster.status()
        if status.state == "unreachable":
            return True  # a cluster that cannot be asked may well go on
        if status.state != "running":
            return False
        # What a dead worker's shipper has not brought yet is on its way.
        return any(self._lives(actor) for actor in (claim.actor, claim.shipper) if actor is not None)

    def _lives(self, actor: str) -> bool:
        import ray  # only to ask a cluster that runs

        try:
            self._cluster.connect()
            ray.get_actor(actor, namespace=NAMESPACE)
        except ValueError:
            return False
        return True

    def _kill(self, claim: Claim) -> None:
        """Kill the worker of a run, whoever started it."""
        import ray  # it is loaded by now, or the cluster could not be asked

        try:
            self._cluster.connect()
            ray.kill(ray.get_actor(claim.actor or "", namespace=NAMESPACE))
        except (ValueError, SynapseError, ray.exceptions.RayError):
            # No such actor any more, or no cluster: the process itself is what has to go.
            if claim.worker is not None and _is_near(claim):
                claim.worker.send(signal.SIGKILL)

    def _recorded(self, claim: Claim) -> Any:
        """Return what Ray recorded of a worker, None where it knows nothing or cannot be asked."""
        if claim.actor is None or self._cluster.status().state != "running":
            return None
        from ray.util.state import list_actors  # only to explain a death
        from ray.util.state.exception import RayStateApiException

        try:
            self._cluster.connect()
            found = list_actors(filters=[("name", "=", claim.actor)], detail=True, timeout=3)
        except (RayStateApiException, SynapseError, ConnectionError):
            return None
        return found[0] if found else None

    def _target(self, action: ActionClass | str) -> Any:
        """Return what the worker needs to find an action: its class, or the plugin and its entrypoint."""
        if not isinstance(action, str):
            found = getattr(action, "_action_class", action)
            return self._place_of(found) or found
        if action in self._targets:
            return self._targets[action]
        discovery = PluginDiscovery.from_path(self._working_dir or Path.cwd())
        entrypoint = discovery.get_action_entrypoint(action)
        module, _, name = entrypoint.rpartition(".")
        if discovery.root is not None:
            make_importable(discovery.root, module)  # the result may be of one of the plugin's own classes
        self._targets[action] = str(discovery.root), f"{module}:{name}", discovery.config.code
        return self._targets[action]

    def _place_of(self, action: Any) -> tuple[str, str, str] | None:
        """Return where a worker finds a class of the plugin in `working_dir`, None for any other.

        Ray hands a class of a module over by its name, and the worker does not know the folder.
        """
        module = sys.modules.get(getattr(action, "__module__", "__main__"))
        file = getattr(module, "__file__", None)
        if self._working_dir is None or module is None or file is None or module.__name__ == "__main__":
            return None
        name = getattr(action, "__name__", "")
        if not Path(file).resolve().is_relative_to(self._working_dir) or vars(module).get(name) is not action:
            return None
        return str(self._working_dir), f"{module.__name__}:{name}", module.__name__


def _is_near(claim: Claim) -> bool:
    """Return True where the worker runs on this machine, so that its process can be looked at."""
    return claim.host == os.uname().nodename


def _runs(claim: Claim) -> bool:
    return claim.worker is not None and claim.worker.is_alive
