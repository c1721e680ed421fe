"""A client that knows the Tasks extension, with its requests as they are on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import anyio
import mcp.types as types
from mcp import Client
from mcp.client import ClientExtension, NotificationBinding, ResultClaim
from pydantic import ConfigDict

from synapse_mcp.tasks import TASKS


class Loose(types.Result):
    """A result, whatever is in it."""

    model_config = ConfigDict(**types.Result.model_config | {"extra": "allow"})


class Handle(Loose):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(types.Request[TaskParams, str]):
    name_param = "taskId"


class News(types.NotificationParams):
    model_config = ConfigDict(**types.NotificationParams.model_config | {"extra": "allow"})


class KnowsTasks(ClientExtension):
    """Declares the extension, hands tasks over as they come, and keeps what it is told about them."""

    identifier = TASKS

    def __init__(self) -> None:
        self.news: list[dict[str, Any]] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Handle, resolve=self._resolve)]

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        return [NotificationBinding(method="notifications/tasks", params_type=News, handler=self._hear)]

    async def _hear(self, params: News) -> None:
        self.news.append(params.model_dump(by_alias=True))

    async def _resolve(self, handle: Handle, context: Any) -> types.CallToolResult:
        raise AssertionError("the tests ask for tasks as they are")


async def begin(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool; a task is returned as it is."""
    return await client.session.call_tool(tool, arguments, allow_claimed=True)


async def ask(client: Client, method: str, task_id: str, **more: Any) -> dict[str, Any]:
    params = TaskParams(task_id=task_id, **more)
    reply = await client.session.send_request(TaskRequest(method=method, params=params), Loose)
    return reply.model_dump(by_alias=True, mode="json")


async def told_end(tasks: KnowsTasks, task_id: str) -> dict[str, Any]:
    """Return the notification of a task's end, when it has come."""
    with anyio.fail_after(30):
        while True:
            for news in tasks.news:
                if news["taskId"] == task_id and news["status"] != "working":
                    return news
            await anyio.sleep(0.02)


async def ended(client: Client, task_id: str) -> dict[str, Any]:
    with anyio.fail_after(60):
        while (task := await ask(client, "tasks/get", task_id))["status"] == "working":
            await anyio.sleep(0.02)
    return task
