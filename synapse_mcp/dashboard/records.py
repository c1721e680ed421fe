"""What the pages show of runs, models and deployments: more than an agent is told, and never without end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from synapse_core.backend import Model
from synapse_core.deployments.deployments import Deployment
from synapse_core.run_folder import RunRequest
from synapse_core.runs import ActionEntry, Run, Runs
from synapse_mcp.records import RunRecord, fitted, run_record

_RESULT_CHARS = 40_000
_PARAMS_CHARS = 20_000
_DETAILS_CHARS = 8_000
_TEXT_CHARS = 4_000
_LINE_CHARS = 300
_MOST_ACTIONS = 200
# So many figures stand in a line of the list.
_MOST_FIGURES = 3


class RunEntry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run in the list. figures: its last metrics, those that one looks for first."""

    run_id: str
    state: str
    done: bool | None
    plugin: str
    action: str
    mode: str
    created: str
    elapsed_seconds: float
    fraction: float | None
    step: str | None = None
    current: float | None = None
    total: float | None = None
    eta_seconds: float | None = None
    note: str | None = None
    figures: dict[str, float] = {}
    actions: int = 0


class ActionPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One action of a pipeline."""

    name: str
    state: str
    fraction: float | None
    step: str | None = None
    attempt: int = 0
    elapsed_seconds: float = 0.0
    failure: str | None = None


class ModelEntry(msgspec.Struct, kw_only=True, omit_defaults=True):
    id: int
    name: str
    version: str
    size_bytes: int
    sha256: str
    created: float = 0.0
    plugin: str = ""
    run_id: str | None = None
    figures: dict[str, float] = {}
    description: str = ""


class DeploymentEntry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A deployment. probe_seconds: how long the last request that tried it took; probe_at: when."""

    name: str
    state: str
    version: int | None = None
    coming: int | None = None
    url: str | None = None
    replicas: int | None = 0
    replicas_wanted: int | None = 0
    model: str = ""
    plugin: str = ""
    run_id: str | None = None
    deployed_at: float | None = None
    probe_seconds: float | None = None
    probe_at: float | None = None
    error: str | None = None
    last_failure: str | None = None


def run_entry(run: Run) -> RunEntry:
    progress = run.progress
    asked = f"asks: {run.questions[0].message}" if run.questions else None
    note = run.failure.message if run.failure else run.waiting or asked or progress.message
    return RunEntry(
        run_id=run.run_id,
        state=run.state.value,
        done=run.is_done,
        plugin=run.plugin,
        action=run.action,
        mode=run.mode,
        created=run.created.isoformat(timespec="milliseconds"),
        # Of a run that goes on, the page itself counts: else every look would be news.
        elapsed_seconds=run.elapsed_seconds if run.is_done else 0.0,
        fraction=progress.fraction,
        step=progress.step,
        current=progress.current,
        total=progress.total,
        eta_seconds=progress.eta_seconds,
        note=note[:_LINE_CHARS] if note else None,
        figures=figures_of(run.metrics),
        actions=len(run.actions),
    )


def full_record(run: Run, runs: Runs) -> RunRecord:
    """Return a run as an agent sees it, with all of what is cut for an agent."""
    record = run_record(run, runs)
    failure = record.failure
    if failure is not None and run.failure is not None:
        failure = msgspec.structs.replace(
            failure,
            message=run.failure.message[:_TEXT_CHARS],
            details=fitted(run.failure.details, _DETAILS_CHARS) or None,
        )
    return msgspec.structs.replace(
        record,
        created=run.created.isoformat(timespec="milliseconds"),
        elapsed_seconds=run.elapsed_seconds if run.is_done else 0.0,
        actions=None,
        actions_left_out=max(0, len(run.actions) - _MOST_ACTIONS),
        metrics=fitted(run.metrics, _PARAMS_CHARS) or None,
        result=fitted(run.result, _RESULT_CHARS),
        failure=failure,
    )


def action_parts(run: Run) -> list[ActionPart]:
    return [_action_part(entry) for entry in run.actions[:_MOST_ACTIONS]]


def params_of(request: RunRequest | None) -> dict[str, Any]:
    """Return what a run was asked to do: its parameters, of a pipeline those of each action."""
    if request is None:
        return {}
    if not request.pipeline:
        return dict(fitted(request.params, _PARAMS_CHARS))
    parts = {entry.name: entry.request.params for entry in request.pipeline if entry.request.params}
    return dict(fitted(parts, _PARAMS_CHARS))


def model_entry(model: Model) -> ModelEntry:
    return ModelEntry(
        id=model.id,
        name=model.name,
        version=model.version,
        size_bytes=model.file.size_bytes,
        sha256=model.file.checksum,
        created=model.created,
        plugin=model.plugin,
        run_id=model.run_id,
        figures=figures_of(_by_category(model.metrics)),
        description=model.description[:_LINE_CHARS],
    )


def deployment_entry(deployment: Deployment) -> DeploymentEntry:
    failure = deployment.last_failure
    told = None
    if failure:
        told = f"Version {failure.get('version', '?')}: {failure.get('message') or failure}"[:_TEXT_CHARS]
    return DeploymentEntry(
        name=deployment.name,
        state=deployment.state,
        version=deployment.version,
        coming=deployment.coming,
        url=deployment.url,
        replicas=deployment.replicas,
        replicas_wanted=deployment.replicas_wanted,
        model=deployment.model_name,
        plugin=deployment.plugin,
        run_id=deployment.run_id,
        deployed_at=deployment.deployed_at,
        probe_seconds=_number(deployment.probe.get("seconds")),
        probe_at=_number(deployment.probe.get("at")),
        error=deployment.error[:_TEXT_CHARS] if deployment.error else None,
        last_failure=told,
    )


def figures_of(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return a few numbers of some metrics, the latest categories first: a test comes after the training."""
    found: dict[str, float] = {}
    for values in reversed(list(metrics.values())):
        for name, value in values.items():
            number = _number(value)
            if number is None or name in found or name in ("epoch", "step"):
                continue
            found[name] = number
    return dict(list(found.items())[:_MOST_FIGURES])


def _by_category(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the metrics of a model as a run has them: 'test/accuracy' is the accuracy of 'test'."""
    found: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        category, _, metric = name.rpartition("/")
        found.setdefault(category, {})[metric] = value
    return found


def _action_part(entry: ActionEntry) -> ActionPart:
    failure = entry.failure
    return ActionPart(
        name=entry.name,
        state=entry.state.value,
        fraction=entry.progress.fraction,
        step=entry.progress.step,
        attempt=entry.attempt,
        elapsed_seconds=round(entry.elapsed_seconds, 2),
        failure=f"{failure.code}: {failure.message}"[:_LINE_CHARS] if failure else None,
    )


def _number(value: Any) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_one else None
