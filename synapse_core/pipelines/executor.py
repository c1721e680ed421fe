"""RayPipelineExecutor: pipelines as recorded runs, for scripts."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from synapse_core.enums import RunState, RunStatus
from synapse_core.environment import PluginEnvironment, default_home
from synapse_core.errors import ExecutionError
from synapse_core.home import Home
from synapse_core.pipelines.action_pipeline import ActionPipeline
from synapse_core.pipelines.classes import as_class, find_class
from synapse_core.pipelines.graph import PipelineAction
from synapse_core.pipelines.plan import Found, find_named, plan_pipeline
from synapse_core.pipelines.progress import Checkpoint, PipelineProgress, checkpoints_of
from synapse_core.run_folder import PipelineEntry
from synapse_core.runs import Run, follow

_LOOK_SECONDS = 0.05


class RayPipelineExecutor:
    """Submits pipelines as recorded runs of this user's home, where every client sees them.

    env: variables for the actions. They are written down with the run; a secret belongs into the environment
        of this process, and its name into `env` of the plugin's config.yaml.
    ray_address: a cluster; 'auto' is the one of RAY_ADDRESS, else the home's own, started when first needed.
    working_dir: the plugin's folder, so that its actions can be named without it.
    num_cpus, num_gpus, memory: what each action gets that does not say more itself.
    mode: 'task' for Ray, 'local' for processes of this machine.
    pipeline_service_url, actor_pipeline_service_url, include_sdk: accepted and not needed; progress and
        checkpoints are in the run's own folder, and the workers share our installation.
    """

    def __init__(
        self,
        env: PluginEnvironment | Mapping[str, Any] | None = None,
        *,
        ray_address: str | None = "auto",
        working_dir: str | Path | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: int | None = None,
        include_sdk: bool = False,
        pipeline_service_url: str | None = None,
        actor_pipeline_service_url: str | None = None,
        mode: str = "task",
    ) -> None:
        values = env.to_dict() if isinstance(env, PluginEnvironment) else dict(env or {})
        self._env = {name: str(value) for name, value in values.items()}
        asked = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory": memory}
        self._resources = {name: value for name, value in asked.items() if value is not None}
        self._mode = mode
        self._working_dir = None if working_dir is None else Path(working_dir).resolve()
        self._home = Home(default_home(), self._plugin_paths(), _address(ray_address))

    def submit(
        self,
        pipeline: ActionPipeline,
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        resume_from: str | None = None,
        run_key: str | None = None,
    ) -> str:
        """Have a pipeline executed and return its run_id.

        name: what the run is called in lists. resume_from: an earlier run of the same pipeline, whose
        successes are not done again and whose parameters hold where no new ones are given. run_key: a second
        call with the same key returns the same run.
        Raises what `plan_pipeline` raises; nothing is recorded then.
        """
        request = plan_pipeline(
            self._find,
            pipeline.entries,
            params or {},
            self._home.runs,
            mode=self._mode,
            resume_from=resume_from,
            is_strict=pipeline.is_strict,
        )
        if name is not None:
            request = msgspec.structs.replace(
                request, actions=(msgspec.structs.replace(request.actions[0], name=name),)
            )
        request = msgspec.structs.replace(request, pipeline=tuple(map(self._with_env, request.pipeline)))
        run, is_new = self._home.runs.submit(request, run_key)
        if is_new:
            self._home.runs.start(run.run_id)
        return run.run_id

    def get_status(self, run_id: str) -> RunStatus:
        """Return where a run stands. Raises RunNotFound."""
        return self.get_progress(run_id).status

    def get_progress(self, run_id: str) -> PipelineProgress:
        """Return how far a run is. Raises RunNotFound."""
        return PipelineProgress.of(self._home.runs.get(run_id))

    def get_checkpoints(self, run_id: str) -> list[Checkpoint]:
        """Return what a run has done so far. Raises RunNotFound."""
        return checkpoints_of(self._home.runs.get(run_id))

    def get_result(self, run_id: str, timeout_seconds: float | None = None) -> Any:
        """Return the result of a run when it has ended.

        Raises ExecutionError where it did not succeed, TimeoutError where it goes on after that time.
        """
        run = self._home.runs.wait(run_id, timeout_seconds)
        if not run.is_done:
            raise TimeoutError(f"Run {run_id} still goes on after {timeout_seconds:g} s.")
        return _result_of(run)

    def wait(self, run_id: str, timeout_seconds: float = 3600.0, poll_interval: float = 5.0) -> Any:
        """Return the result of a run when it has ended; as `get_result`.

        poll_interval: accepted and not needed; the end is seen at once.
        """
        return self.get_result(run_id, timeout_seconds)

    def stream_progress(self, run_id: str) -> Iterator[PipelineProgress]:
        """Yield how far a run is, now and whenever that has changed, until it has ended."""
        seen: Run | None = None
        while seen is None or not seen.is_done:
            run = self._home.runs.get(run_id)
            if run != seen:
                yield PipelineProgress.of(run)
                seen = run
            elif not run.is_done:
                time.sleep(_LOOK_SECONDS)

    async def stream_progress_async(self, run_id: str) -> AsyncIterator[PipelineProgress]:
        """Yield how far a run is, now and whenever that has changed, until it has ended."""
        async for run in follow(self._home.runs, run_id):
            yield PipelineProgress.of(run)

    def cancel(self, run_id: str, force: bool = False) -> PipelineProgress:
        """Stop a run, rollbacks first unless `force`, and return how far it came."""
        return PipelineProgress.of(self._home.runs.stop(run_id, force))

    def close(self) -> None:
        """Let go of what this process holds. Runs go on."""
        self._home.close()

    def __enter__(self) -> RayPipelineExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _plugin_paths(self) -> list[Path]:
        named = os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep)
        own = [] if self._working_dir is None else [self._working_dir]
        return [*own, *(Path(path) for path in named if path), default_home() / "plugins"]

    def _find(self, asked: PipelineAction) -> Found:
        registry = self._home.registry
        action = as_class(asked.action)
        if action is not None:
            return find_class(registry, action)
        name = asked.action
        if self._working_dir is not None and "/" not in name:
            code = next(each.code for each in registry.plugins() if each.root == self._working_dir)
            name = f"{code}/{name}"
        return find_named(registry, self._home.runs.modes, name)

    def _with_env(self, entry: PipelineEntry) -> PipelineEntry:
        request = entry.request
        resources = {**self._resources, **msgspec.to_builtins(request.resources)}
        return msgspec.structs.replace(
            entry,
            request=msgspec.structs.replace(
                request,
                environment={**request.environment, **self._env},
                resources=type(request.resources)(**resources),
            ),
        )


def _address(asked: str | None) -> str | None:
    """Return the address of a named cluster, None for the home's own."""
    if asked not in (None, "auto"):
        return asked
    return os.environ.get("SYNAPSE_RAY_ADDRESS") or os.environ.get("RAY_ADDRESS")


def _result_of(run: Run) -> Any:
    if run.state is RunState.SUCCEEDED:
        return run.result
    failure = run.failure
    raise ExecutionError(
        f"Run {run.run_id} {run.state.value}: {failure.message if failure else 'no reason is recorded'}",
        {"run_id": run.run_id, "state": run.state.value, "code": failure.code if failure else None},
        hint=failure.hint if failure else None,
    )
