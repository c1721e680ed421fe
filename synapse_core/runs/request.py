"""Making a checked request of what a caller asks for: nothing is recorded or started here."""

from __future__ import annotations

import math
from typing import Any

from synapse_core.config_request import resources_of, surroundings_of
from synapse_core.enums import ExecutionMode, RunMethod
from synapse_core.errors import InvalidRequest, nearest
from synapse_core.registry import Registry
from synapse_core.run_folder import ActionRef, RunRequest

AUTO = "auto"


def make_request(
    registry: Registry,
    plugin: str,
    action: str,
    params: dict[str, Any],
    *,
    mode: str = AUTO,
    modes: list[str],
    resources: dict[str, Any] | None = None,
    timeout_seconds: float | None = None,
) -> RunRequest:
    """Return the request to run an action, its parameters checked against the action's own model.

    mode: one of `modes`, or 'auto' for the method of config.yaml. resources: num_cpus, num_gpus and memory
    (bytes), over those of config.yaml. timeout_seconds: how long the run may take, in place of what
    config.yaml says. The request has no run_id yet.
    Raises NotFound, PluginLoadError, ValidationError with every problem, or InvalidRequest.
    """
    spec = registry.spec(plugin, action)
    registry.check(plugin, action, params)
    found, config = registry.usable(plugin)
    entry = config.actions[action]
    return RunRequest(
        run_id="",
        plugin=plugin,
        plugin_version=config.version,
        root=str(found.root),
        content=registry.content(found.root),
        actions=(ActionRef(action, spec.entrypoint, spec.strict_results, spec.category),),
        params=params,
        mode=choose_mode(entry.method, mode, modes),
        resources=resources_of(entry, resources or {}),
        timeout_seconds=entry.timeout_seconds if timeout_seconds is None else _positive(timeout_seconds),
        **surroundings_of(config),
    )


def choose_mode(method: RunMethod, asked: str, modes: list[str]) -> str:
    """Return the mode of a run. 'auto' takes the config's method, and Ray for what is no mode of its own.

    Raises InvalidRequest for a mode that is not there.
    """
    if asked == AUTO:
        if method.value in modes:
            return method.value
        return ExecutionMode.TASK.value if ExecutionMode.TASK.value in modes else modes[0]
    if asked not in modes:
        raise InvalidRequest(
            f"There is no mode {asked!r}; the modes are {', '.join([AUTO, *modes])}.",
            {"asked": asked, "nearest": nearest(asked, modes)},
            hint="Leave mode out to take what the plugin's config.yaml asks for.",
        )
    return asked


def _positive(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise InvalidRequest(
            f"timeout_seconds is {seconds:g}; it should be a number above 0.",
            hint="Leave it out for the limit of config.yaml, or none where that has none.",
        )
    return seconds
