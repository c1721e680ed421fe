"""Making a checked request of a pipeline that a caller asks for: nothing is recorded or started here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from synapse_core.describe import ActionSpec
from synapse_core.enums import ExecutionMode
from synapse_core.errors import InvalidRequest, Unavailable, nearest
from synapse_core.pipelines import coordinator
from synapse_core.pipelines.checks import Check, Stage, check_params, check_stages
from synapse_core.pipelines.graph import PipelineAction, arranged
from synapse_core.registry import Registry
from synapse_core.run_folder import (
    ActionRef,
    PipelineEntry,
    Resources,
    RetryPolicy,
    RunFolder,
    RunRequest,
    TakenOver,
)
from synapse_core.runs.request import AUTO, unchecked_request
from synapse_core.runs.run import Run
from synapse_core.runs.runs import Runs

_MOST_ATTEMPTS = 20
# What is left of an earlier pipeline that was killed ends by itself in this time.
_GONE_SECONDS = 12.0


@dataclass(frozen=True)
class Found:
    """An action of a pipeline, found: what is known of it, how to run it, and how to check its parameters.

    method: how it asks to be run. request: makes its request for a mode and resources.
    """

    spec: ActionSpec
    check: Check
    method: str
    request: Callable[[str, dict[str, Any]], RunRequest]


Find = Callable[[PipelineAction], Found]


def find_named(registry: Registry, modes: Sequence[str], action: object) -> Found:
    """Return the action that "plugin/action" stands for.

    Raises InvalidRequest for another form, NotFound with the nearest names, or PluginLoadError.
    """
    plugin, slash, name = action.partition("/") if isinstance(action, str) else ("", "", "")
    if not slash or not plugin or not name:
        raise InvalidRequest(
            f"{action!r} is not the name of an action; write it as 'plugin/action'.",
            hint="list_plugins names the plugins and their actions.",
        )
    spec = registry.spec(plugin, name)

    def request(mode: str, resources: dict[str, Any]) -> RunRequest:
        return unchecked_request(
            registry, plugin, name, {}, mode=mode, modes=list(modes), resources=resources
        )

    def check(params: Mapping[str, Any]) -> None:
        registry.check(plugin, name, dict(params))

    return Found(spec, check, spec.method, request)


def plan_pipeline(
    find: Find,
    actions: Sequence[PipelineAction],
    params: Mapping[str, Any],
    runs: Runs,
    *,
    mode: str = AUTO,
    resume_from: str | None = None,
    is_strict: bool = True,
) -> RunRequest:
    """Return the request to run a pipeline, checked as far as anything can be known before it runs.

    find: how an action is found by what it is called. mode: 'local' or 'task', or 'auto' for what the actions
    ask for: Ray where any does. resume_from: a run of the same pipeline whose successes are not done again.
    is_strict: types that do not fit are an error.
    Raises InvalidRequest, NotFound, SchemaIncompatibleError, ValidationError or PluginLoadError.
    """
    found = [find(action) for action in actions]
    nodes = arranged(actions, [each.spec.name for each in found])
    by_action = {id(action): each for action, each in zip(actions, found, strict=True)}
    chosen = _mode(mode, {each.method for each in found}, runs.modes)
    entries = tuple(
        _entry(node.name, node.after, node.asked, by_action[id(node.asked)], chosen) for node in nodes
    )
    earlier, given = _resumed(runs, resume_from, entries)
    given = {**given, **params}
    entries = tuple(msgspec.structs.replace(entry, earlier=earlier.get(entry.name)) for entry in entries)
    stages = [_stage(entry, by_action[id(node.asked)]) for entry, node in zip(entries, nodes, strict=True)]
    (check_stages if is_strict else check_params)(stages, given)
    taken = {stage.name: stage.takes for stage in stages}
    return RunRequest(
        run_id="",
        plugin="+".join(dict.fromkeys(entry.request.plugin for entry in entries)),
        root="",
        content="coordinator",
        actions=(ActionRef("+".join(entry.name for entry in entries), coordinator.ENTRYPOINT),),
        params=given,
        mode=chosen,
        # It only waits: on a cluster of one CPU its actions need that one.
        resources=Resources(num_cpus=0.0),
        passed_names=tuple(dict.fromkeys(name for entry in entries for name in entry.request.passed_names)),
        pipeline=tuple(msgspec.structs.replace(entry, takes=taken[entry.name]) for entry in entries),
        resume_from=resume_from,
    )


def _mode(asked: str, methods: set[str], modes: Sequence[str]) -> str:
    """Return the mode of all actions. Raises InvalidRequest for one in which pipelines do not run."""
    there = [mode for mode in coordinator.MODES if mode in modes]
    if asked == AUTO:
        is_local = methods == {ExecutionMode.LOCAL.value} or ExecutionMode.TASK.value not in there
        return ExecutionMode.LOCAL.value if is_local else ExecutionMode.TASK.value
    if asked not in there:
        raise InvalidRequest(
            f"Pipelines have no mode {asked!r}; the modes are {', '.join([AUTO, *there])}.",
            {"asked": asked, "nearest": nearest(asked, there)},
            hint="Leave mode out to take what the plugins' config.yaml ask for.",
        )
    return asked


def _entry(
    name: str, after: tuple[str, ...], asked: PipelineAction, found: Found, mode: str
) -> PipelineEntry:
    request = found.request(mode, asked.resources)
    limit = asked.timeout_seconds
    if limit is not None and not limit > 0:
        raise InvalidRequest(f"timeout_seconds of {name!r} is {limit}; it has to be above 0.")
    _check_retry(name, asked.retry)
    request = msgspec.structs.replace(
        request,
        params=dict(asked.params),
        timeout_seconds=request.timeout_seconds if limit is None else limit,
    )
    return PipelineEntry(name, request, after, retry=asked.retry)


def _check_retry(name: str, retry: RetryPolicy) -> None:
    if not 1 <= retry.max_attempts <= _MOST_ATTEMPTS:
        raise InvalidRequest(
            f"max_attempts of {name!r} is {retry.max_attempts}; it can be 1 to {_MOST_ATTEMPTS}."
        )
    if retry.delay_seconds < 0 or retry.backoff < 0:
        raise InvalidRequest(f"delay_seconds and backoff of {name!r} have to be at least 0.")


def _stage(entry: PipelineEntry, found: Found) -> Stage:
    stage = Stage(entry.name, entry.after, found.spec, found.check, entry.request.params)
    if entry.earlier is None:
        return stage
    return replace(stage, is_done=True, returned=entry.earlier.result)


def _resumed(
    runs: Runs, run_id: str | None, entries: Sequence[PipelineEntry]
) -> tuple[dict[str, TakenOver], dict[str, Any]]:
    """Return what an earlier run has done already, by entry, and the parameters that it was given.

    Raises RunNotFound, or InvalidRequest where it is no pipeline, another one, or goes on.
    """
    if run_id is None:
        return {}, {}
    run = runs.get(run_id)
    request = runs.folder(run_id).request()
    if request is None or not request.pipeline:
        raise InvalidRequest(
            f"Run {run_id} ({run.plugin}/{run.action}) is not a pipeline; there is nothing to resume."
        )
    if not run.is_done:
        raise InvalidRequest(
            f"Run {run_id} still goes on, so there is nothing to resume yet.",
            hint=f'Wait for it with get_run(run_id="{run_id}"), or stop it first.',
        )
    before, now = _outline(request.pipeline), _outline(entries)
    if before != now:
        raise InvalidRequest(
            f"Run {run_id} was another pipeline: {'; '.join(before)}. This one is: {'; '.join(now)}.",
            hint="Resume with the same actions under the same names, in the same order; their parameters may "
            "differ.",
        )
    _await_gone(runs.folder(run_id))
    return _successes(run, request.pipeline), request.params


def _outline(entries: Sequence[PipelineEntry]) -> list[str]:
    """Return what makes two pipelines the same one, in words."""
    return [
        f"{entry.name} = {entry.request.plugin}/{entry.request.actions[0].name}"
        + (f" after {', '.join(entry.after)}" if entry.after else "")
        for entry in entries
    ]


def _successes(run: Run, entries: Sequence[PipelineEntry]) -> dict[str, TakenOver]:
    origins = {entry.name: entry.earlier.run_id for entry in entries if entry.earlier is not None}
    return {
        entry.name: TakenOver(origins.get(entry.name, run.run_id), entry.result)
        for entry in run.actions
        if entry.state.is_done_well
    }


def _await_gone(folder: RunFolder) -> None:
    """Wait until no action of a pipeline that was killed is still rolling back what it did."""
    deadline = time.monotonic() + _GONE_SECONDS
    while any(one.is_being_executed for one in folder.action_folders()):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Actions of run {folder.run_id} are still ending.", hint="Try again in a few seconds."
            )
        time.sleep(0.02)
