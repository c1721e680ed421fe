"""Running actions, and everything about runs."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.types import CallToolResult
from pydantic import Field

from synapse_core.enums import LogLevel, RunState
from synapse_core.errors import SynapseError
from synapse_core.home import Home
from synapse_core.run_folder import RunRequest
from synapse_core.runs import Run, follow, open_questions
from synapse_core.runs.log import LogPage
from synapse_core.runs.request import make_request
from synapse_mcp.app import App
from synapse_mcp.asking import Form, Pending, asks, pending_question, put_question, take_answer
from synapse_mcp.boundary import answer, failure
from synapse_mcp.confirmation import Answer, Refused, agreed, can_ask, mark_of, question
from synapse_mcp.fencing import fence
from synapse_mcp.lookup import app_of
from synapse_mcp.masking import masked
from synapse_mcp.progress import ProgressReporter
from synapse_mcp.records import RunLine, RunRecord, fitted, run_line, run_record

MOST_WAIT_SECONDS = 50
WaitSeconds = Annotated[float, Field(ge=0, le=MOST_WAIT_SECONDS)]
Mode = Literal["auto", "local", "task", "job"]
State = Literal["active", "queued", "running", "succeeded", "failed", "stopped", "lost"]
_LOG_CHARS = 3_600


class Plan(msgspec.Struct, kw_only=True):
    """What run_action would do."""

    dry_run: bool
    plugin: str
    action: str
    mode: str
    params: Any
    resources: dict[str, float]
    next: str


class RunPage(msgspec.Struct, kw_only=True, omit_defaults=True):
    runs: list[RunLine]
    next_cursor: str | None = None
    next: str


class StopPreview(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run that was not stopped. confirm: what has to be given for it to be killed."""

    # Said also where it is False: nobody may take what is asked about for what is done.
    stopped: bool | None
    run_id: str
    state: str
    plugin: str
    action: str
    confirm: str | None = None
    next: str


async def run_action(
    ctx: Context[App, Any],
    plugin: str,
    action: str,
    params: dict[str, Any] | None = None,
    mode: Mode = "auto",
    wait_seconds: WaitSeconds = 20,
    run_key: Annotated[str | None, Field(max_length=200)] = None,
    resources: dict[str, Any] | None = None,
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None,
    dry_run: bool = False,
) -> CallToolResult | Plan:
    """Run an action as a durable run; done:false: it goes on after wait_seconds (at most 50). mode: local
    process, task on Ray, Ray job. run_key: a retry returns the same run. resources: num_cpus, num_gpus,
    memory (bytes)."""
    app = app_of(ctx)

    def request_of(home: Home) -> RunRequest:
        return make_request(
            home.registry,
            plugin,
            action,
            params or {},
            mode=mode,
            modes=home.runs.modes,
            resources=resources,
            timeout_seconds=timeout_seconds,
        )

    request = await app.call(request_of)
    if dry_run:
        return await app.call(lambda home: _plan(home, request))
    run = await app.call(lambda _: app.submit(request, run_key))
    run = await wait_for(ctx, run.run_id, wait_seconds)
    return await app.call(lambda home: outcome(run_record(run, home.runs, asks=asks(ctx)), run))


async def get_run(
    ctx: Context[App, Any],
    run_id: str,
    pending: Annotated[Pending | None, Resolve(pending_question)],
    said: Annotated[ElicitationResult[Form], Resolve(put_question)],
    wait_seconds: WaitSeconds = 0,
) -> RunRecord:
    """A run: state, progress, metrics, result, failure. wait_seconds (at most 50): for its end."""
    await take_answer(ctx, pending, said)
    run = await wait_for(ctx, run_id, wait_seconds)
    return await app_of(ctx).call(lambda home: run_record(run, home.runs, asks=asks(ctx)))


async def list_runs(
    ctx: Context[App, Any],
    state: State | None = None,
    plugin: str | None = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 15,
    cursor: str | None = None,
) -> RunPage:
    """Recorded runs, newest first."""

    def page(home: Home) -> RunPage:
        runs, more = home.runs.list(state=state, plugin=plugin, limit=limit, cursor=cursor)
        now = time.time()
        return RunPage(
            runs=[run_line(run, now) for run in runs],
            next_cursor=more,
            next="get_run(run_id) tells all about one.",
        )

    return await app_of(ctx).call(page)


async def get_run_logs(
    ctx: Context[App, Any],
    run_id: str,
    tail: Annotated[int, Field(ge=1, le=1000)] = 100,
    grep: Annotated[str | None, Field(max_length=300)] = None,
    cursor: Annotated[int | None, Field(ge=0)] = None,
    level: Literal["debug", "info", "warning", "error"] | None = None,
) -> str:
    """A run's output, newest last. grep: regular expression. cursor: of the last answer."""

    def read(home: Home) -> str:
        page = home.runs.log(
            run_id,
            tail=tail,
            grep=grep,
            level=None if level is None else LogLevel.parse(level),
            cursor=cursor,
            most_chars=_LOG_CHARS,
            shown=masked,
        )
        return fenced_page(home.runs.get(run_id), page)

    return await app_of(ctx).call(read)


async def ask_to_kill(context: Context[App, Any], run_id: str, force: bool) -> Elicit[Answer] | Answer:
    """Return the question whether a run is to be killed; other stops are not asked about."""
    if not force or not can_ask(context):
        return question(context, None)
    try:
        run = await app_of(context).call(lambda home: home.runs.get(run_id))
    except SynapseError:  # the tool itself tells it
        return question(context, None)
    if run.is_done:
        return question(context, None)
    named = f"{run.run_id} ({run.plugin}/{run.action})"
    return question(context, f"Kill the run {named} at once? Its rollbacks will not run.")


async def stop_run(
    ctx: Context[App, Any],
    run_id: str,
    answer: Annotated[ElicitationResult[Answer], Resolve(ask_to_kill)],
    force: bool = False,
    confirm: str | None = None,
) -> RunRecord | StopPreview:
    """Stop a run: rollbacks, then a kill of all it started. force: kill at once."""

    def stop(home: Home) -> RunRecord | StopPreview:
        run = home.runs.get(run_id)
        if force and not run.is_done:
            mark = mark_of("kill", run.run_id)
            try:
                if not agreed(ctx, answer, confirm, mark, f"the run {run_id}"):
                    call = f'stop_run(run_id="{run_id}", force=true, confirm="{mark}")'
                    said = f"If the user agrees: {call}. Without force its rollbacks run."
                    return _not_stopped(run, said, mark)
            except Refused as refusal:
                return _not_stopped(run, refusal.said)
        return run_record(home.runs.stop(run_id, force), home.runs)

    return await app_of(ctx).call(stop)


async def wait_for(ctx: Context[App, Any], run_id: str, wait_seconds: float) -> Run:
    """Return the run when it has ended, asks something, or the time is up; its progress is told meanwhile."""
    app = app_of(ctx)
    runs = await app.call(lambda home: home.runs)
    run: Run | None = None
    if wait_seconds:
        async with ProgressReporter.open(ctx) as reporter:
            with app.waiting(wait_seconds):
                async for run in follow(runs, run_id):
                    await reporter.report(run)
                    if run.questions and open_questions(run, runs.folder(run_id)):
                        break
    if run is None:
        run = await app.call(lambda home: home.runs.get(run_id))
    return run


def outcome(record: RunRecord, run: Run) -> CallToolResult:
    """Return the answer of a call that wanted the run to succeed: a run that did not is a failed call."""
    if run.state in (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED):
        return answer(record)
    told = record.failure
    message = f"Run {run.run_id} ({run.plugin}/{run.action}) {run.state.value}"
    if told is None:
        return failure("run_failed", message, extra={"run": record}, links=record.links())
    # All that the worker told of its end can be the plugin's words, the hint too.
    words = [told.message, *([f"Hint: {told.hint}"] if told.hint else [])]
    message += f" [{told.code}].\n{fence(run.run_id, chr(10).join(words))}"
    if told.log_excerpt:
        message += "\n" + told.log_excerpt
    return failure(
        told.code,
        message,
        hint=record.next,
        retryable=told.retryable,
        details={"run_id": run.run_id, **(told.details if isinstance(told.details, dict) else {})},
        extra={"run": record},
        links=record.links(),
    )


def _not_stopped(run: Run, next_call: str, confirm: str | None = None) -> StopPreview:
    return StopPreview(
        stopped=False,
        run_id=run.run_id,
        state=run.state.value,
        plugin=run.plugin,
        action=run.action,
        confirm=confirm,
        next=next_call,
    )


def _plan(home: Home, request: RunRequest) -> Plan:
    home.runs.executor(request.mode).check(request)
    named = f'plugin="{request.plugin}", action="{request.actions[0].name}"'
    return Plan(
        dry_run=True,
        plugin=request.plugin,
        action=request.actions[0].name,
        mode=request.mode,
        params=fitted(request.params, 1500),
        resources=msgspec.to_builtins(request.resources),
        next=f"run_action({named}, …) without dry_run runs it; nothing was started.",
    )


def fenced_page(run: Run, page: LogPage) -> str:
    """Return a header and the lines, marked as data that nobody may take for instructions."""
    header = (
        f"run {run.run_id} state={run.state.value} done={str(run.is_done).lower()} lines={len(page.lines)} "
        f"cursor={page.cursor} truncated={str(page.is_cut).lower()}"
    )
    return f"{header}\n{fence(run.run_id, chr(10).join(page.lines))}"
