"""Making a checked request of what a caller asks for: nothing is recorded or started here."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import msgspec

from synapse_core.config_request import resources_of, surroundings_of
from synapse_core.enums import ExecutionMode, RunMethod
from synapse_core.errors import InvalidRequest, nearest
from synapse_core.registry import CheckedAction, Registry
from synapse_core.run_folder import ActionRef, PipelineEntry, RunRequest

AUTO = "auto"
# In the place of a plugin's code, for actions that come with Synapse.
OWN_PLUGIN = "synapse"


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
    checked = registry.check(plugin, action, params)
    return _request(
        checked,
        params,
        mode=mode,
        modes=modes,
        resources=resources,
        timeout_seconds=timeout_seconds,
    )


def unchecked_request(
    registry: Registry,
    plugin: str,
    action: str,
    params: dict[str, Any],
    *,
    mode: str,
    modes: list[str],
    resources: dict[str, Any] | None = None,
    timeout_seconds: float | None = None,
) -> RunRequest:
    """Return the request to run an action whose parameters are not, or not all, known yet.

    Raises NotFound, PluginLoadError or InvalidRequest.
    """
    return _request(
        registry.found(plugin, action),
        params,
        mode=mode,
        modes=modes,
        resources=resources,
        timeout_seconds=timeout_seconds,
    )


def own_request(
    action: str,
    entrypoint: str,
    params: dict[str, Any],
    *,
    mode: str = AUTO,
    modes: list[str],
    timeout_seconds: float | None = None,
) -> RunRequest:
    """Return the request to run an action that comes with Synapse and belongs to no plugin.

    mode: `local` unless another one is asked for. params: checked already.
    """
    return RunRequest(
        run_id="",
        plugin=OWN_PLUGIN,
        root="",
        content=OWN_PLUGIN,
        actions=(ActionRef(action, entrypoint),),
        params=params,
        mode=choose_mode(RunMethod.LOCAL, mode, modes),
        timeout_seconds=None if timeout_seconds is None else _positive(timeout_seconds),
    )


def _request(
    checked: CheckedAction,
    params: dict[str, Any],
    *,
    mode: str,
    modes: list[str],
    resources: dict[str, Any] | None,
    timeout_seconds: float | None,
) -> RunRequest:
    config, spec, root = checked.config, checked.spec, checked.plugin.root
    action = spec.name
    entry = config.actions[action]
    return RunRequest(
        run_id="",
        plugin=checked.plugin.code,
        plugin_version=config.version,
        root=str(root),
        content=checked.content,
        actions=(ActionRef(action, spec.entrypoint, spec.strict_results, spec.category),),
        params=params,
        mode=choose_mode(entry.method, mode, modes),
        resources=resources_of(entry, resources or {}),
        timeout_seconds=entry.timeout_seconds if timeout_seconds is None else _positive(timeout_seconds),
        **surroundings_of(config),
    )


def fingerprint_of(request: RunRequest) -> str:
    """Return a digest of what makes two requests the same one."""
    same: dict[str, Any] = {
        "plugin": request.plugin,
        "actions": [action.name for action in request.actions],
        "params": request.params,
        "mode": request.mode,
        "resources": msgspec.to_builtins(request.resources),
    }
    if request.pipeline:
        same["pipeline"] = [_identity(entry) for entry in request.pipeline]
        same["resume_from"] = request.resume_from
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()


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


def _identity(entry: PipelineEntry) -> list[Any]:
    """Return what makes two entries of pipelines the same one."""
    request = entry.request
    parts = (request.plugin, request.actions[0].name, request.params, request.resources, entry.retry)
    return [entry.name, entry.after, request.timeout_seconds, *map(msgspec.to_builtins, parts)]


def own_key(principal: str | None, run_key: str | None) -> str | None:
    """Return the key under which a run is stored: two principals may use the same one."""
    if run_key is None or principal is None:
        return run_key
    return hashlib.sha256(f"{principal}\0{run_key}".encode()).hexdigest()
