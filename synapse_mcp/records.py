"""The records that answers are made of: small, complete, each naming the sensible next call."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from synapse_core.enums import RunState
from synapse_core.runs import Run, Runs

# A Run answer is at most 4 KB: what a plugin returns or measures gets its share of that.
_RESULT_CHARS = 1_500
_METRICS_CHARS = 700
_DETAILS_CHARS = 800
_EXCERPT_CHARS = 700
_MOST_ARTIFACTS = 5
_TEXT_CHARS = 400


class ProgressRecord(msgspec.Struct, omit_defaults=True):
    fraction: float
    step: str | None = None
    current: float | None = None
    total: float | None = None
    message: str | None = None
    eta_seconds: float | None = None


class ArtifactRecord(msgspec.Struct):
    name: str
    uri: str
    bytes: int


class FailureRecord(msgspec.Struct, omit_defaults=True):
    code: str
    message: str
    hint: str | None = None
    retryable: bool = False
    details: Any = None
    log_excerpt: str | None = None


class RunRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run as an agent sees it."""

    run_id: str
    state: str
    # Said also where it is False: nobody may take a running run for a finished one.
    done: bool | None
    plugin: str
    action: str
    mode: str
    created: str
    elapsed_seconds: float
    waiting: str | None = None
    progress: ProgressRecord | None = None
    metrics: Any = None
    result: Any = None
    result_warnings: list[str] | None = None
    artifacts: list[ArtifactRecord] = []
    artifacts_left_out: int = 0
    failure: FailureRecord | None = None
    log_cursor: int | None = None
    next: str


class RunLine(msgspec.Struct, kw_only=True):
    """A run in a list."""

    run_id: str
    state: str
    done: bool
    plugin: str
    action: str
    fraction: float
    age_seconds: float


def run_record(run: Run, runs: Runs) -> RunRecord:
    """Return a run as an agent sees it, at most 4 KB of it."""
    folder = runs.folder(run.run_id)
    return RunRecord(
        run_id=run.run_id,
        state=run.state.value,
        done=run.is_done,
        plugin=run.plugin,
        action=run.action,
        mode=run.mode,
        created=run.created.isoformat(timespec="seconds"),
        elapsed_seconds=run.elapsed_seconds,
        waiting=run.waiting,
        progress=_progress(run),
        metrics=fitted(run.metrics, _METRICS_CHARS) or None,
        result=fitted(run.result, _RESULT_CHARS),
        result_warnings=[warning[:_TEXT_CHARS] for warning in run.result_warnings[:5]] or None,
        artifacts=[
            ArtifactRecord(
                artifact.name[:200],
                artifact.uri if "://" in artifact.uri else str(folder.path / artifact.uri),
                artifact.size_bytes,
            )
            for artifact in run.artifacts[:_MOST_ARTIFACTS]
        ],
        artifacts_left_out=max(0, len(run.artifacts) - _MOST_ARTIFACTS),
        failure=_failure(run, runs),
        log_cursor=folder.output.stat().st_size if folder.output.exists() else 0,
        next=next_call(run),
    )


def run_line(run: Run, now: float) -> RunLine:
    return RunLine(
        run_id=run.run_id,
        state=run.state.value,
        done=run.is_done,
        plugin=run.plugin,
        action=run.action,
        fraction=run.progress.fraction,
        age_seconds=round(now - run.created.timestamp(), 1),
    )


def next_call(run: Run) -> str:
    """Return the one sensible call after seeing this run."""
    named = f'run_id="{run.run_id}"'
    if not run.is_done:
        return f"get_run({named}, wait_seconds=20) waits on; stop_run({named}) stops it."
    if run.state is RunState.SUCCEEDED:
        return f"Done: use result and artifacts. get_run_logs({named}) shows what it printed."
    if run.state is RunState.FAILED:
        return f"Repair the cause, then run_action again. get_run_logs({named}) shows the whole log."
    return f"run_action runs it again. get_run_logs({named}) shows how far it came."


def fitted(value: Any, most_chars: int) -> Any:
    """Return a value whose JSON is at most `most_chars` long, else its beginning and its true size."""
    text = json.dumps(msgspec.to_builtins(value, str_keys=True), ensure_ascii=False)
    if len(text) <= most_chars:
        return value
    return {"truncated": True, "chars": len(text), "beginning": text[: most_chars - 100]}


def log_excerpt(lines: list[str]) -> str | None:
    """Return the part of a log's end that tells most: a native crash from its first line, else the last."""
    for index, line in enumerate(lines):
        if line.startswith("Fatal Python error"):
            return "\n".join(lines[index:])[:_EXCERPT_CHARS]
    return "\n".join(lines)[-_EXCERPT_CHARS:] or None


def _progress(run: Run) -> ProgressRecord:
    progress = run.progress
    return ProgressRecord(
        fraction=progress.fraction,
        step=progress.step,
        current=progress.current,
        total=progress.total,
        message=progress.message,
        eta_seconds=progress.eta_seconds,
    )


def _failure(run: Run, runs: Runs) -> FailureRecord | None:
    if run.failure is None:
        return None
    excerpt = None
    if run.state in (RunState.FAILED, RunState.LOST):
        excerpt = log_excerpt(runs.log(run.run_id, tail=60, most_chars=8000).lines)
    return FailureRecord(
        code=run.failure.code,
        message=run.failure.message[:_TEXT_CHARS],
        hint=run.failure.hint,
        retryable=run.failure.retryable,
        details=fitted(run.failure.details, _DETAILS_CHARS) or None,
        log_excerpt=excerpt,
    )
