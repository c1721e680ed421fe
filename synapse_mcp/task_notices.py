"""`notifications/tasks`: news of tasks on the stream of a client that listens for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import anyio
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import require_client_extension
from mcp.server.session import ServerSession
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.types import INVALID_PARAMS, Notification, NotificationParams
from pydantic import ConfigDict

from synapse_core.events import Question
from synapse_core.runs import follow
from synapse_mcp.app import App
from synapse_mcp.tasks import TASKS, ServerContext, about_task

# Each is a run that is looked at many times a second.
_MOST_TASKS = 50
_INTERVAL_SECONDS = 0.5
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class _News(NotificationParams):
    model_config = ConfigDict(extra="allow")


class _Notice(Notification[_News, str]):
    pass


class _Stream:
    """Stands in for the session of a request to listen, to name the tasks in what is acknowledged."""

    def __init__(self, session: ServerSession, task_ids: Sequence[str]) -> None:
        self._session = session
        self._task_ids = list(task_ids)
        self.is_open = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send_notification(self, notification: Any, related_request_id: Any = None) -> None:
        if notification.method == _ACKNOWLEDGED:
            told = notification.params.notifications
            named = told.model_copy(update={"taskIds": self._task_ids})
            params = notification.params.model_copy(update={"notifications": named})
            notification = notification.model_copy(update={"params": params})
        await self._session.send_notification(notification, related_request_id)
        self.is_open.set()


async def task_notices(ctx: ServerContext, call_next: CallNext) -> HandlerResult:
    """Serve `taskIds` of `subscriptions/listen`: what has changed, at most twice a second, and each end.

    A stream that was opened for tasks only ends with the last of them. Ids that are none are left out of what
    is acknowledged. Raises MCPError for a client that did not declare tasks, and for too many of them.
    """
    wanted = (ctx.params or {}).get("notifications") if ctx.method == "subscriptions/listen" else None
    if not isinstance(wanted, dict) or not (ids := wanted.get("taskIds")):
        return await call_next(ctx)
    require_client_extension(ctx, TASKS)
    if not isinstance(ids, list) or len(ids) > _MOST_TASKS or not all(isinstance(each, str) for each in ids):
        raise MCPError(INVALID_PARAMS, f"taskIds has to be a list of at most {_MOST_TASKS} ids.")
    app: App = ctx.lifespan_context
    known = [each for each in dict.fromkeys(ids) if await app.has_run(each)]
    stream = _Stream(ctx.session, known)
    meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
    result: HandlerResult = {"resultType": "complete", "_meta": meta}
    async with anyio.create_task_group() as everything:

        async def tell_all() -> None:
            await stream.is_open.wait()
            async with anyio.create_task_group() as telling:
                for each in known:
                    telling.start_soon(_tell, ctx, each, meta)
            if known and not any(value for name, value in wanted.items() if name != "taskIds"):
                everything.cancel_scope.cancel()

        everything.start_soon(tell_all)
        result = await call_next(replace(ctx, session=cast(ServerSession, stream)))
        everything.cancel_scope.cancel()
    return result


async def _tell(ctx: ServerContext, run_id: str, meta: dict[str, Any]) -> None:
    """Send a task as it stands, whenever it has changed, and once it has ended."""
    app: App = ctx.lifespan_context
    runs = await app.call(lambda home: home.runs)
    told_at = 0.0
    asked: tuple[Question, ...] = ()
    async for run in follow(runs, run_id):
        # What is asked is told at once: nothing else may come before it is answered.
        is_urgent = run.is_done or run.questions != asked
        if not is_urgent and time.monotonic() - told_at < _INTERVAL_SECONDS:
            continue
        told_at, asked = time.monotonic(), run.questions
        news = {**await about_task(ctx, run_id), "_meta": meta}
        notice = _Notice(method="notifications/tasks", params=_News.model_validate(news))
        await ctx.session.send_notification(cast(Any, notice), ctx.request_id)
