"""RayJobExecutor: actions as Ray jobs, for scripts. How recorded runs become jobs is in `job_runs`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.discovery import ActionClass
from synapse_core.environment import PluginEnvironment, default_home
from synapse_core.errors import Conflict, InvalidRequest, RunNotFound, SynapseError
from synapse_core.executors.base import give_up, stop_run
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.job_course import Course
from synapse_core.executors.ray.job_env import merged
from synapse_core.executors.ray.job_log import LogTail
from synapse_core.executors.ray.job_request import request_of
from synapse_core.executors.ray.job_runs import RayJobRuns
from synapse_core.profile import find_profile
from synapse_core.run_folder import RunFolder, RunRequest, new_run_id

_LOOK_SECONDS = 0.05
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class RayJobExecutor:
    """Runs actions as Ray jobs. `submit` returns at once; a run goes on without the script.

    Every run is recorded below the home (SYNAPSE_HOME) like any other, and its job bears its id: `job_id` is
    the run's id. `synapse-mcp runs show ID` knows it.

    dashboard_url: the job server of a cluster of which nothing else is known, as http://HOST:8265.
    working_dir: the plugin's folder, so that actions can be named. It is read from a disk that is shared with
        the cluster; with a cluster that is not the home's own it is uploaded, once for each content, with
        all that is in it but caches, and limited to 256 MiB.
    env: variables for the runs, over those of config.yaml. They are handed over without being recorded.
    runtime_env: Ray's, over that of config.yaml. Ray records and shows it: nothing secret belongs there.
    ray_address: a cluster as host:port; 'auto' and None mean the home's own, started when first needed.
    requirements_file, package_manager, package_manager_options, wheels_dir: in place of those of config.yaml
        and requirements.txt. On the home's own cluster nothing is installed that is there already.
    num_cpus, num_gpus, memory (bytes): what each run holds, over config.yaml; one CPU where nobody says.
    include_sdk: upload this very synapse_core for the job.
    """

    def __init__(
        self,
        dashboard_url: str | None = None,
        working_dir: str | Path | None = None,
        *,
        env: PluginEnvironment | Mapping[str, Any] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        ray_address: str | None = None,
        requirements_file: str | Path | None = None,
        package_manager: str | None = None,
        package_manager_options: Sequence[str] | None = None,
        wheels_dir: str | Path | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: int | None = None,
        language: str | None = None,
        include_sdk: bool = False,
        cluster: RayCluster | None = None,
    ) -> None:
        if cluster is None and ray_address not in (None, "auto"):
            cluster = RayCluster(default_home(), ray_address)
        given = env.to_dict() if isinstance(env, PluginEnvironment) else env or {}
        self._env = {name: str(value) for name, value in given.items()}
        self._runs = RayJobRuns(cluster, dashboard_url, self._env)
        self._working_dir = None if working_dir is None else Path(working_dir).resolve()
        self._runtime_env = dict(runtime_env or {})
        packages = {
            "manager": package_manager,
            "options": None if package_manager_options is None else tuple(package_manager_options),
            "requirements_file": None
            if requirements_file is None
            else str(Path(requirements_file).resolve()),
            "wheels_dir": None if wheels_dir is None else str(wheels_dir),
        }
        self._packages = {name: value for name, value in packages.items() if value is not None}
        resources = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory": memory}
        self._resources = {name: value for name, value in resources.items() if value is not None}
        self._language = language
        self._include_sdk = include_sdk

    def submit(
        self,
        action: ActionClass | str,
        params: Mapping[str, Any] | None = None,
        *,
        job_id: str | None = None,
    ) -> str:
        """Hand an action in: its name in `working_dir`, 'module.Class', or its class. Returns the run's id.

        job_id: an id of your own for the run: repeated, it makes no second run.
        Raises what `request_of` does, Conflict where the id stands for another request, InvalidRequest where
        the cluster could never execute it, and RayUnavailable.
        """
        if job_id is not None and not _ID.fullmatch(job_id):
            raise InvalidRequest(
                f"{job_id!r} cannot be an id: letters, digits, '_', '.' and '-', at most 64."
            )
        request = self._request(action, params or {}, job_id or new_run_id())
        folder = RunFolder(default_home() / "runs" / request.run_id)
        if (earlier := folder.request()) is not None:
            if earlier != request:
                raise Conflict(f"The id {job_id!r} already stands for another run.", {"run_id": job_id})
            if folder.claimed() is not None:
                return request.run_id
        self._runs.check(request)
        folder.create(request)
        try:
            self._runs.start(folder, request, folder.note_waiting)
        except SynapseError as error:
            give_up(folder, error)
            raise
        return request.run_id

    def get_status(self, job_id: str) -> str:
        """Return PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED; UNKNOWN where nobody can know any more."""
        folder = self._folder(job_id)
        course = Course(self._runs, folder)
        if course.has_ended():
            return course.word
        return "PENDING" if folder.claimed() is None else "RUNNING"

    def get_result(self, job_id: str, timeout: float | None = None) -> Any:
        """Return what the action returned, once it has; in plain data.

        timeout: how many seconds to wait at most. Raises TimeoutError when they are over; the run goes on.
        Raises RunFailed where the run ended in another way.
        """
        course = Course(self._runs, self._folder(job_id))
        deadline = None if timeout is None else time.monotonic() + timeout
        while not course.has_ended():
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"Run {job_id} has not ended within {timeout:g} s; it goes on.")
            time.sleep(_LOOK_SECONDS)
        return course.result()

    def wait(self, job_id: str, timeout_seconds: float = 300) -> Any:
        """Return what the action returned, like `get_result`, but do not wait for ever."""
        return self.get_result(job_id, timeout_seconds)

    def get_logs(self, job_id: str) -> str:
        """Return all that the run has printed and logged so far."""
        return "".join(LogTail(self._folder(job_id).output).rest())

    def stream_logs(self, job_id: str) -> Iterator[str]:
        """Yield the lines of the run's log, each with its line end, as they come, until the run has ended."""
        course = Course(self._runs, self._folder(job_id))
        tail = LogTail(course.folder.output)
        while not course.has_ended():
            yield from tail.read()
            time.sleep(_LOOK_SECONDS)
        yield from tail.rest()

    async def stream_logs_async(self, job_id: str) -> AsyncIterator[str]:
        """Yield the lines of the run's log as `stream_logs` does, on asyncio."""
        course = Course(self._runs, self._folder(job_id))
        tail = LogTail(course.folder.output)
        while not await asyncio.to_thread(course.has_ended):
            for line in tail.read():
                yield line
            await asyncio.sleep(_LOOK_SECONDS)
        for line in tail.rest():
            yield line

    def stop(self, job_id: str, force: bool = False) -> str:
        """Stop a run, rollbacks first unless `force`. Returns its status when all of it is gone."""
        folder = self._folder(job_id)
        if not Course(self._runs, folder).has_ended():
            stop_run(self._runs, folder, force)
        return self.get_status(job_id)

    def delete(self, job_id: str) -> bool:
        """Have Ray forget the job of an ended run. Returns False where it knows none. The run's record stays.

        Raises InvalidRequest where the run has not ended.
        """
        return self._runs.forget(self._folder(job_id))

    def close(self) -> None:
        """Let go of what this process holds. Runs go on."""
        self._runs.close()

    def _request(self, action: ActionClass | str, params: Mapping[str, Any], job_id: str) -> RunRequest:
        request = request_of(action, params, self._working_dir, self._resources)
        is_shipped = self._working_dir is not None and not self._runs.is_shared
        return msgspec.structs.replace(
            request,
            run_id=job_id,
            home=str(default_home()),
            profile=find_profile().name,
            passed_names=tuple(sorted({*request.passed_names, *self._env})),
            environment={n: value for n, value in request.environment.items() if n not in self._env},
            runtime_env=merged(request.runtime_env, self._runtime_env),
            packages=msgspec.structs.replace(request.packages, **self._packages),
            ships=("plugin",) * is_shipped + ("sdk",) * self._include_sdk,
            language=self._language,
        )

    def _folder(self, job_id: str) -> RunFolder:
        runs = default_home() / "runs"
        folder = RunFolder(runs / job_id)
        if not _ID.fullmatch(job_id) or folder.request() is None:
            raise RunNotFound(job_id, sorted(path.name for path in runs.glob("*"))[:200])
        return folder


# Both of these names were promised, and both mean Ray's Jobs API.
RayJobsApiExecutor = RayJobExecutor
