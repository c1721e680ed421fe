"""run_plugin: the blocking front door for scripts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_core.discovery import ActionClass, PluginDiscovery
from synapse_core.enums import ExecutionMode, RunState
from synapse_core.environment import default_home
from synapse_core.errors import PluginNotFound, RunFailed
from synapse_core.executors import LocalExecutor
from synapse_core.home import Home
from synapse_core.registry import Registry
from synapse_core.runs.request import make_request
from synapse_core.runs.run import Run


def run_plugin(
    plugin_code: str | Path,
    action: str,
    params: Mapping[str, Any] | None = None,
    *,
    mode: str | ExecutionMode = ExecutionMode.LOCAL,
    wait: bool = True,
    run_key: str | None = None,
    resources: dict[str, Any] | None = None,
    action_cls: ActionClass | None = None,
    ray_address: str | None = None,
    **executor_options: Any,
) -> Any:
    """Run an action of a plugin and return its result, in every mode.

    plugin_code: a plugin's folder or config.yaml, the code of one on SYNAPSE_PLUGIN_PATHS, or (mode 'local')
        an importable module with actions in it.
    mode: 'local' runs here in this process, to be debugged; 'task' and 'job' make a recorded run on Ray.
    wait: False makes a recorded run in any mode and returns its run_id at once.
    executor_options: env, job_id, language of LocalExecutor.
    Raises ValidationError before anything runs, ExecutionError where a local action fails, RunFailed where
    a recorded run ends in another state than succeeded.
    """
    params = dict(params or {})
    if ExecutionMode(mode) is ExecutionMode.LOCAL and wait:
        found = action_cls or discover(plugin_code).get_action_class(action)
        return LocalExecutor(**executor_options).execute(found, params)
    root = discover(plugin_code).root
    if root is None:
        raise PluginNotFound(str(plugin_code), [])
    home = Home(default_home(), [root], ray_address)
    try:
        code = home.registry.plugins()[0].code
        request = make_request(
            home.registry,
            code,
            action,
            params,
            mode=ExecutionMode(mode).value,
            modes=home.runs.modes,
            resources=resources,
        )
        run, is_new = home.runs.submit(request, run_key)
        if is_new:
            home.runs.start(run.run_id)
        return result_of(home.runs.wait(run.run_id)) if wait else run.run_id
    finally:
        home.close()


def result_of(run: Run) -> Any:
    """Return what a run's action returned. Raises RunFailed where it did not succeed."""
    if run.state is RunState.SUCCEEDED:
        return run.result
    failure = run.failure
    raise RunFailed(
        run.run_id,
        run.state.value,
        f"Run {run.run_id} {run.state.value}: {failure.message if failure else 'no reason is recorded'}",
        code=failure.code if failure else None,
        hint=failure.hint if failure else None,
    )


def discover(plugin: str | Path) -> PluginDiscovery:
    """Return a plugin given as a folder, as a code on the search paths, or as a module's name."""
    if Path(plugin).exists():
        return PluginDiscovery.from_path(plugin)
    named = os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep)
    home = default_home()
    registry = Registry([*(Path(path) for path in named if path), home / "plugins"], home / "cache")
    known = {found.code: found.root for found in registry.plugins()}
    if str(plugin) in known:
        return PluginDiscovery.from_path(known[str(plugin)])
    try:
        return PluginDiscovery.from_module(str(plugin))
    except ModuleNotFoundError as error:
        raise PluginNotFound(str(plugin), list(known)) from error
