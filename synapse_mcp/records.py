"""The records that answers are made of: small, complete, each naming the sensible next call."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec
from mcp.types import ResourceLink

from synapse_core.enums import RunState
from synapse_core.models import DEPLOY_ACTIONS
from synapse_core.runs import ActionEntry, Run, Runs, open_questions
from synapse_mcp.fencing import fence
from synapse_mcp.links import link
from synapse_mcp.masking import masked, masked_data

# A Run answer is at most 4 KB: what a plugin returns or measures gets its share of that.
_RESULT_CHARS = 1_500
_METRICS_CHARS = 700
_DETAILS_CHARS = 800
_EXCERPT_CHARS = 700
_ACTIONS_CHARS = 1_000
_MOST_ARTIFACTS = 5
_TEXT_CHARS = 400
_SCHEMA_CHARS = 1_200


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


class ActionRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One action of a pipeline. failure: its code and the beginning of its message."""

    name: str
    state: str
    fraction: float = 0.0
    attempt: int = 0
    elapsed_seconds: float = 0.0
    result: Any = None
    failure: str | None = None


class QuestionRecord(msgspec.Struct):
    """What a run asks the user. schema: the form to be filled in."""

    id: str
    message: str
    schema: Any


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
    question: QuestionRecord | None = None
    progress: ProgressRecord | None = None
    actions: list[ActionRecord] | None = None
    actions_left_out: int = 0
    metrics: Any = None
    result: Any = None
    result_warnings: list[str] | None = None
    artifacts: list[ArtifactRecord] = []
    artifacts_left_out: int = 0
    failure: FailureRecord | None = None
    log_cursor: int | None = None
    next: str

    foreign: ClassVar[tuple[str, ...]] = (
        *("waiting", "question", "progress", "actions", "metrics", "result", "result_warnings"),
        *("artifacts", "failure"),
    )

    def links(self) -> list[ResourceLink]:
        """Return where the run, its log and its curves can be read."""
        found = [link("runs", self.run_id), link("runs", self.run_id, "log", "text/plain")]
        if self.metrics:
            found.append(link("runs", self.run_id, "metrics.png", "image/png"))
        return found


class RunLine(msgspec.Struct, kw_only=True):
    """A run in a list."""

    run_id: str
    state: str
    done: bool
    plugin: str
    action: str
    fraction: float
    age_seconds: float


def run_record(run: Run, runs: Runs, *, asks: bool = False) -> RunRecord:
    """Return a run as an agent sees it, at most 4 KB of it. asks: get_run can put questions to the user."""
    folder = runs.folder(run.run_id)
    question = _question(run, runs)
    actions = _actions(run)
    # What the actions of a pipeline take of the 4 KB is taken from what they returned and measured.
    result_chars, metrics_chars = (_RESULT_CHARS, _METRICS_CHARS) if not actions else (600, 400)
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
        question=question,
        progress=_progress(run),
        actions=actions or None,
        actions_left_out=len(run.actions) - len(actions),
        metrics=fitted(run.metrics, metrics_chars) or None,
        result=fitted(run.result, result_chars),
        result_warnings=[masked(warning)[:_TEXT_CHARS] for warning in run.result_warnings[:5]] or None,
        artifacts=[
            ArtifactRecord(
                masked(artifact.name)[:200],
                artifact.uri if "://" in artifact.uri else str(folder.path / artifact.uri),
                artifact.size_bytes,
            )
            for artifact in run.artifacts[:_MOST_ARTIFACTS]
        ],
        artifacts_left_out=max(0, len(run.artifacts) - _MOST_ARTIFACTS),
        failure=_failure(run, runs),
        log_cursor=folder.output.stat().st_size if folder.output.exists() else 0,
        next=next_call(run) if question is None else _next_answer(run, asks),
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
    if run.actions and run.is_done and run.state is not RunState.SUCCEEDED:
        resumed = f'run_pipeline(…, resume_from="{run.run_id}")'
        return f"{resumed} goes on from what has succeeded. get_run_logs({named}) shows the whole log."
    if not run.is_done:
        return f"get_run({named}, wait_seconds=20) waits on; stop_run({named}) stops it."
    if run.state is RunState.SUCCEEDED:
        if run.action in DEPLOY_ACTIONS and isinstance(run.result, dict) and "deployment" in run.result:
            return f"call_deployment(name={run.result['deployment']!r}, inputs=[…]) asks it."
        return f"Done: use result and artifacts. get_run_logs({named}) shows what it printed."
    if run.state is RunState.FAILED:
        return f"Repair the cause, then run_action again. get_run_logs({named}) shows the whole log."
    return f"run_action runs it again. get_run_logs({named}) shows how far it came."


def _next_answer(run: Run, asks: bool) -> str:
    """Return how the user can answer what the run asks."""
    call = f'get_run(run_id="{run.run_id}", wait_seconds=20)'
    if asks:
        return f"{call} asks the user and waits on."
    command = f"synapse-mcp answer {run.run_id} KEY=VALUE …"
    return f"The user answers in a shell: {command}, or --decline. Then {call}."


def fitted(value: Any, most_chars: int) -> Any:
    """Return a value whose JSON is at most `most_chars` long, else its beginning and its true size."""
    plain = msgspec.to_builtins(value, str_keys=True)
    text = json.dumps(plain, ensure_ascii=False)
    if len(text) <= most_chars:
        return value
    # Masked before it is cut: a half of a secret is not known for one.
    text = json.dumps(masked_data(plain), ensure_ascii=False)
    return {"truncated": True, "chars": len(text), "beginning": text[: most_chars - 100]}


def log_excerpt(lines: list[str]) -> str | None:
    """Return the part of a log's end that tells most: a native crash from its first line, else the last."""
    for index, line in enumerate(lines):
        if line.startswith("Fatal Python error"):
            return "\n".join(lines[index:])[:_EXCERPT_CHARS]
    return "\n".join(lines)[-_EXCERPT_CHARS:] or None


def _actions(run: Run) -> list[ActionRecord]:
    """Return the actions of a pipeline, with their results where there is room for them."""
    for result_chars, failure_chars in ((400, 160), (150, 160), (0, 80), (0, 0)):
        told = [_action(entry, result_chars, failure_chars) for entry in run.actions]
        if len(msgspec.json.encode(told)) <= _ACTIONS_CHARS:
            break
    while len(msgspec.json.encode(told)) > _ACTIONS_CHARS:
        told.pop()
    return told


def _action(entry: ActionEntry, result_chars: int, failure_chars: int) -> ActionRecord:
    failure = entry.failure
    result = None
    if result_chars and len(json.dumps(entry.result, ensure_ascii=False)) <= result_chars:
        result = entry.result
    return ActionRecord(
        name=entry.name,
        state=entry.state.value,
        fraction=entry.progress.fraction,
        # The first attempt is nothing to speak of.
        attempt=entry.attempt if entry.attempt > 1 else 0,
        elapsed_seconds=round(entry.elapsed_seconds, 2),
        result=result,
        failure=masked(f"{failure.code}: {failure.message}")[:failure_chars]
        if failure and failure_chars
        else None,
    )


def _question(run: Run, runs: Runs) -> QuestionRecord | None:
    """Return the first question that is open."""
    found = open_questions(run, runs.folder(run.run_id))
    if not found:
        return None
    message = masked(found[0].message)[:_TEXT_CHARS]
    return QuestionRecord(found[0].question_id, message, fitted(found[0].schema, _SCHEMA_CHARS))


def _progress(run: Run) -> ProgressRecord:
    progress = run.progress
    return ProgressRecord(
        fraction=progress.fraction,
        step=progress.step,
        current=progress.current,
        total=progress.total,
        message=None if progress.message is None else masked(progress.message)[:_TEXT_CHARS],
        eta_seconds=progress.eta_seconds,
    )


def _failure(run: Run, runs: Runs) -> FailureRecord | None:
    if run.failure is None:
        return None
    excerpt = None
    if run.state in (RunState.FAILED, RunState.LOST):
        excerpt = log_excerpt(runs.log(run.run_id, tail=60, most_chars=8000, shown=masked).lines)
    return FailureRecord(
        code=run.failure.code,
        message=masked(run.failure.message)[:_TEXT_CHARS],
        hint=None if run.failure.hint is None else masked(run.failure.hint)[:_TEXT_CHARS],
        retryable=run.failure.retryable,
        details=fitted(run.failure.details, _DETAILS_CHARS) or None,
        log_excerpt=None if excerpt is None else fence(run.run_id, excerpt),
    )
