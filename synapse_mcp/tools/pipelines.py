"""Running several actions as one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult
from pydantic import Field

from synapse_core.decoding import converted
from synapse_core.errors import InvalidRequest, did_you_mean
from synapse_core.home import Home
from synapse_core.pipelines.graph import PipelineAction
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.run_folder import PipelineEntry, RetryPolicy, RunRequest
from synapse_mcp.app import App
from synapse_mcp.asking import asks
from synapse_mcp.lookup import app_of
from synapse_mcp.records import fitted, run_record
from synapse_mcp.tools.runs import WaitSeconds, outcome, wait_for

_KEYS = ("action", "name", "after", "params", "max_attempts", "timeout_seconds", "resources")
_MOST_NAME_CHARS = 400
_PARAMS_CHARS = 300


class PlannedAction(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One action of a plan. is_skipped: it succeeded in the run that is resumed."""

    name: str
    action: str
    after: list[str] = []
    params: Any = None
    max_attempts: int = 1
    timeout_seconds: float | None = None
    resources: dict[str, float] = {}
    is_skipped: bool = False


class PipelinePlan(msgspec.Struct, kw_only=True):
    """What run_pipeline would do."""

    dry_run: bool
    mode: str
    params: Any
    actions: list[PlannedAction]
    next: str


async def run_pipeline(
    ctx: Context[App, Any],
    actions: list[Any],
    params: dict[str, Any] | None = None,
    mode: Literal["auto", "local", "task"] = "auto",
    wait_seconds: WaitSeconds = 20,
    run_key: Annotated[str | None, Field(max_length=200)] = None,
    resume_from: str | None = None,
    dry_run: bool = False,
) -> CallToolResult | PipelinePlan:
    """Run actions as one run, results becoming parameters. actions: "plugin/action" in order, or a graph of
    {action, name, after: [names], params, max_attempts, timeout_seconds, resources}. resume_from: a run whose
    successes are skipped."""
    app = app_of(ctx)
    asked = [action_asked(action) for action in actions]

    def request_of(home: Home) -> RunRequest:
        return plan_pipeline(
            lambda action: find_named(home.registry, home.runs.modes, action.action),
            asked,
            params or {},
            home.runs,
            mode=mode,
            resume_from=resume_from,
        )

    request = await app.call(request_of)
    if dry_run:
        return await app.call(lambda home: _plan(home, request))
    run = await app.call(lambda _: app.submit(request, run_key))
    run = await wait_for(ctx, run.run_id, wait_seconds)
    return await app.call(lambda home: outcome(run_record(run, home.runs, asks=asks(ctx)), run))


def action_asked(value: Any) -> PipelineAction:
    """Return an entry of a pipeline as an agent writes it: a name, or an object.

    Raises InvalidRequest that names the key that is wrong.
    """
    if isinstance(value, str):
        if len(value) > _MOST_NAME_CHARS or "\0" in value:
            raise InvalidRequest(f"{value[:80]!r} is no action: an action is named 'plugin/action'.")
        return PipelineAction(value)
    if not isinstance(value, Mapping):
        raise InvalidRequest(
            f"{value!r} is no action: it is 'plugin/action', or an object with action in it."
        )
    if unknown := [key for key in value if key not in _KEYS]:
        raise InvalidRequest(
            f"An action of a pipeline has no {unknown[0]!r}.{did_you_mean(unknown[0], _KEYS)} It takes: "
            f"{', '.join(_KEYS)}."
        )
    fields = {key: entry for key, entry in value.items() if key != "max_attempts" and entry is not None}
    retry = {"max_attempts": value.get("max_attempts") or 1}
    try:
        policy = converted(retry, RetryPolicy)
        return converted({**fields, "retry": policy}, PipelineAction)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The action {value.get('action')!r} of the pipeline: {error}.") from error


def _plan(home: Home, request: RunRequest) -> PipelinePlan:
    home.runs.check(request)
    return PipelinePlan(
        dry_run=True,
        mode=request.mode,
        params=fitted(request.params, 1000),
        actions=[_planned(entry) for entry in request.pipeline],
        next="run_pipeline(…) without dry_run runs it; nothing was started.",
    )


def _planned(entry: PipelineEntry) -> PlannedAction:
    return PlannedAction(
        name=entry.name,
        action=f"{entry.request.plugin}/{entry.request.actions[0].name}",
        after=list(entry.after),
        params=fitted(entry.request.params, _PARAMS_CHARS) or None,
        max_attempts=entry.retry.max_attempts,
        timeout_seconds=entry.request.timeout_seconds,
        resources=msgspec.to_builtins(entry.request.resources),
        is_skipped=entry.earlier is not None,
    )
