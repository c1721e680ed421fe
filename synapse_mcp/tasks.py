"""The extension `io.modelcontextprotocol/tasks`: a client that declares it gets a run as a task.

The task's id is the run's, and nothing is kept here: another server on the same home, or the next one after a
restart, answers for it as well. Notifications about tasks are in `task_notices`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.inbound import decode_header_value
from mcp.types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    ElicitResult,
    RequestParams,
)
from pydantic import ValidationError

from synapse_core.answers import Choice
from synapse_core.enums import RunState
from synapse_core.errors import Conflict, InvalidRequest, RunNotFound, SynapseError
from synapse_core.events import Question
from synapse_core.home import Home
from synapse_core.runs import Run, Runs, open_questions
from synapse_mcp.app import App
from synapse_mcp.asking import can_ask, may_answer, request_for
from synapse_mcp.masking import masked
from synapse_mcp.progress import describe_progress
from synapse_mcp.records import run_record
from synapse_mcp.tools.runs import MOST_WAIT_SECONDS, outcome

TASKS = "io.modelcontextprotocol/tasks"
# The tools that start runs.
TASK_TOOLS = ("run_action", "run_pipeline", "convert_dataset", "deploy_model")
# Only this revision of the protocol has answers that are tasks.
_MODERN = frozenset({"2026-07-28"})
_POLL_MS = 500

T = TypeVar("T")
ServerContext = ServerRequestContext[Any, Any]
Tell = Callable[[Run, Runs, bool], dict[str, Any]]


class TaskIdParams(RequestParams):
    task_id: str


class UpdateParams(TaskIdParams):
    input_responses: dict[str, Any]


class RunTasks(Extension):
    """Answers with tasks where the client declares on the call that it knows them; else calls go their way.

    tools: whose calls start runs.
    """

    identifier = TASKS

    def __init__(self, tools: Iterable[str] = TASK_TOOLS) -> None:
        self._tools = frozenset(tools)

    def methods(self) -> Sequence[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskIdParams, _get, _MODERN),
            MethodBinding("tasks/update", UpdateParams, _update, _MODERN),
            MethodBinding("tasks/cancel", TaskIdParams, _cancel, _MODERN),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerContext, call_next: CallNext
    ) -> HandlerResult:
        if params.name not in self._tools or not declares_tasks(ctx):
            return await call_next(ctx)
        _wait_not(params)
        result = await call_next(ctx)
        run_id = _begun(result)
        if run_id is None:  # refused, a plan, a question to the user, or a run that has ended already
            return result
        return {"resultType": "task", **await about_task(ctx, run_id, task)}


def declares_tasks(ctx: ServerContext) -> bool:
    """Tell whether the client said on this very request that it understands tasks."""
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return ctx.protocol_version in _MODERN and TASKS in (extensions or {})


def task(run: Run, runs: Runs, asks: bool) -> dict[str, Any]:
    """Return a run as the task that it is; it never expires. asks: the client can ask its user."""
    return _told(run, runs, open_questions(run, runs.folder(run.run_id)), asks)


def _told(run: Run, runs: Runs, questions: Sequence[Question], asks: bool) -> dict[str, Any]:
    message = describe_progress(run)
    if questions and not asks:
        message += f" (synapse-mcp answer {run.run_id} in a shell)"
    told: dict[str, Any] = {
        "taskId": run.run_id,
        "status": "input_required" if questions and asks else _status(run),
        "createdAt": _instant(run.created),
        "lastUpdatedAt": _instant(_last_change(run, runs)),
        "ttlMs": None,
        "pollIntervalMs": _POLL_MS,
        "statusMessage": masked(message),
    }
    return told


def detailed_task(run: Run, runs: Runs, asks: bool) -> dict[str, Any]:
    """Return the task, and what it asks or what came of it: the answer that the tool would have given."""
    questions = open_questions(run, runs.folder(run.run_id))
    told = _told(run, runs, questions, asks)
    if told["status"] == "input_required":
        told["inputRequests"] = {each.question_id: request_for(run, each) for each in questions}
    elif told["status"] == "completed":
        answer = outcome(run_record(run, runs), run)
        told["result"] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    elif told["status"] == "failed":
        record = run_record(run, runs)
        message = record.failure.message if record.failure else "Nobody knows how the run ended."
        data = {"code": "lost", "run_id": run.run_id, "next": record.next}
        told["error"] = {"code": INTERNAL_ERROR, "message": masked(message), "data": data}
    return told


async def about_task(ctx: ServerContext, run_id: str, tell: Tell = detailed_task) -> dict[str, Any]:
    """Return what `tell` says of a run. Raises MCPError where there is none, or it cannot be asked."""
    asks = can_ask(ctx.lifespan_context, ctx.session.client_capabilities)
    return await _asked(ctx, lambda home: tell(home.runs.get(run_id), home.runs, asks))


async def _get(ctx: ServerContext, params: TaskIdParams) -> dict[str, Any]:
    _check(ctx, params)
    return await about_task(ctx, params.task_id)


async def _update(ctx: ServerContext, params: UpdateParams) -> dict[str, Any]:
    """Give the run the answers to what it asks. What it does not ask, or not any more, is passed over."""
    _check(ctx, params)
    _check_may_change(ctx)

    def answer(home: Home) -> None:
        run = home.runs.get(params.task_id)
        for question in open_questions(run, home.runs.folder(run.run_id)):
            said = params.input_responses.get(question.question_id)
            if said is not None:
                with suppress(Conflict):  # somebody was faster
                    home.runs.answer(run.run_id, question.question_id, *_said(said))

    await _asked(ctx, answer)
    return {}


async def _cancel(ctx: ServerContext, params: TaskIdParams) -> dict[str, Any]:
    """Stop the run as stop_run does; acknowledged when all of it is gone."""
    _check(ctx, params)
    _check_may_change(ctx)
    await _asked(ctx, lambda home: home.runs.stop(params.task_id))
    return {}


def _check(ctx: ServerContext, params: TaskIdParams) -> None:
    """Refuse a client that did not declare tasks, and over HTTP a header that names another task."""
    require_client_extension(ctx, TASKS)
    headers = getattr(ctx.request, "headers", None)
    if headers is not None and decode_header_value(headers.get("mcp-name")) != params.task_id:
        raise MCPError(HEADER_MISMATCH, "The header Mcp-Name has to be params.taskId.")


def _check_may_change(ctx: ServerContext) -> None:
    """Refuse where the server only shows things, or the caller's token lets them only look."""
    if not may_answer(ctx.lifespan_context):
        raise MCPError(INVALID_REQUEST, "This server, or your token, lets you look at tasks only.")


def _said(response: Any) -> tuple[Choice, dict[str, Any] | None]:
    """Return an answer as the core takes it. Raises MCPError for what is none."""
    try:
        result = ElicitResult.model_validate(response)
    except ValidationError as error:
        raise MCPError(INVALID_PARAMS, "An entry of inputResponses is no answer to a question.") from error
    return result.action, dict(result.content or {})


async def _asked(ctx: ServerContext, work: Callable[[Home], T]) -> T:
    app: App = ctx.lifespan_context
    try:
        return await app.call(work)
    except RunNotFound as error:
        raise MCPError(INVALID_PARAMS, f"Task not found: {masked(error.message)}") from error
    except InvalidRequest as error:
        raise MCPError(INVALID_PARAMS, masked(error.message), {"code": error.code}) from error
    except SynapseError as error:
        raise MCPError(INTERNAL_ERROR, masked(error.message), {"code": error.code}) from error


def _wait_not(params: CallToolRequestParams) -> None:
    """Have the tool answer as soon as its run is recorded; a wait that it would refuse it is to refuse."""
    arguments = params.arguments or {}
    asked = arguments.get("wait_seconds", 0)
    if isinstance(asked, int | float) and 0 <= asked <= MOST_WAIT_SECONDS:
        params.arguments = {**arguments, "wait_seconds": 0}


def _begun(result: HandlerResult) -> str | None:
    """Return the id of the run that a tool's answer tells of and that still goes."""
    if not isinstance(result, CallToolResult) or result.is_error:
        return None
    record = result.structured_content
    if not isinstance(record, dict) or record.get("done") is not False:
        return None
    run_id = record.get("run_id")
    return run_id if isinstance(run_id, str) else None


def _status(run: Run) -> str:
    """Return the task's state: a run that failed is an answer, one whose end nobody knows is an error."""
    if not run.is_done:
        return "working"
    if run.state is RunState.STOPPED:
        return "cancelled"
    return "failed" if run.state is RunState.LOST else "completed"


def _last_change(run: Run, runs: Runs) -> datetime:
    if run.ended is not None:
        return run.ended
    try:
        changed = runs.folder(run.run_id).events.stat().st_mtime
    except OSError:  # nothing has been told yet
        return run.created
    return max(run.created, datetime.fromtimestamp(changed, UTC))


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
