"""Tasks: for a client that declares them, a run is a task under the same id, whichever server is asked."""

from __future__ import annotations

import anyio
import mcp.types as types
import pytest
from dataset_worlds import png
from mcp import Client, MCPError
from task_clients import KnowsTasks, ask, begin, ended, told_end
from tool_calls import call

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

SLOW = {"plugin": "hello", "action": "greet", "params": {"repeat": 600, "sleep_seconds": 0.1}}


@pytest.fixture
def tasks() -> KnowsTasks:
    return KnowsTasks()


@pytest.fixture
async def knowing(home, tasks):
    async with Client(build_server(Settings.make()), extensions=[tasks]) as connected:
        yield connected


async def test_a_run_is_a_task_whose_result_is_the_answer_of_the_tool(knowing):
    handle = await begin(knowing, "run_action", plugin="hello", action="greet", params={"name": "Ada"})

    assert handle.status == "working"
    assert handle.task_id.startswith("run-")
    task = await ended(knowing, handle.task_id)
    assert task["status"] == "completed"
    assert task["ttlMs"] is None
    assert task["createdAt"] <= task["lastUpdatedAt"]
    answer = types.CallToolResult.model_validate(task["result"])
    assert answer.structured_content["result"] == {"text": "Hello, Ada!", "steps": 1}
    blocking = await call(knowing, "get_run", run_id=handle.task_id)
    assert answer.structured_content == blocking


async def test_a_failed_run_is_a_completed_task_with_a_failed_answer(knowing):
    handle = await begin(knowing, "run_action", plugin="hello", action="misbehave", params={"way": "fail"})

    task = await ended(knowing, handle.task_id)

    assert task["status"] == "completed"
    assert task["result"]["isError"] is True
    assert "ValueError: asked to fail" in task["result"]["content"][0]["text"]


async def test_cancelling_a_task_stops_its_run_and_can_be_repeated(knowing):
    handle = await begin(knowing, "run_action", **SLOW)

    await ask(knowing, "tasks/cancel", handle.task_id)
    task = await ask(knowing, "tasks/get", handle.task_id)
    await ask(knowing, "tasks/cancel", handle.task_id)

    assert task["status"] == "cancelled"
    assert "result" not in task
    assert (await call(knowing, "get_run", run_id=handle.task_id))["state"] == "stopped"


async def test_a_task_survives_the_server_that_began_it(server_command):
    async with Client(server_command, extensions=[KnowsTasks()]) as first:
        handle = await begin(
            first, "run_action", plugin="hello", action="greet", params={"repeat": 10, "sleep_seconds": 0.1}
        )
    async with Client(server_command, extensions=[KnowsTasks()]) as second:
        task = await ended(second, handle.task_id)

    assert task["result"]["structuredContent"]["result"]["steps"] == 10


async def test_news_of_a_task_come_on_the_stream_that_asked_for_it(knowing, tasks):
    handle = await begin(
        knowing, "run_action", plugin="hello", action="greet", params={"repeat": 12, "sleep_seconds": 0.1}
    )
    asked = types.SubscriptionFilter.model_validate({"taskIds": [handle.task_id, "run-nothing"]})
    params = types.SubscriptionsListenRequestParams(notifications=asked)

    with anyio.fail_after(30):
        # The request is answered when the last task has ended.
        await knowing.session.send_request(
            types.SubscriptionsListenRequest(params=params), types.SubscriptionsListenResult
        )

    last = await told_end(tasks, handle.task_id)
    assert {each["taskId"] for each in tasks.news} == {handle.task_id}
    assert last["status"] == "completed"
    assert last["result"]["structuredContent"]["result"]["steps"] == 12
    assert len(tasks.news) >= 2
    assert tasks.news[0]["_meta"]["io.modelcontextprotocol/subscriptionId"] is not None


async def test_what_starts_nothing_is_answered_at_once(knowing):
    plan = await begin(knowing, "run_action", **SLOW, dry_run=True)
    refused = await begin(knowing, "run_action", plugin="hello", action="gret")
    too_long = await begin(knowing, "run_action", **SLOW, wait_seconds=99)

    assert plan.structured_content["dry_run"] is True
    assert refused.structured_content["error"]["code"] == "unknown_action"
    assert too_long.structured_content["error"]["code"] == "invalid_arguments"
    assert (await call(knowing, "list_runs"))["runs"] == []


async def test_a_call_repeated_with_its_run_key_is_answered_when_the_run_has_ended(knowing):
    greet = {"plugin": "hello", "action": "greet", "run_key": "once"}
    handle = await begin(knowing, "run_action", **greet)
    await ended(knowing, handle.task_id)

    again = await begin(knowing, "run_action", **greet)

    assert again.structured_content["run_id"] == handle.task_id
    assert again.structured_content["done"] is True


async def test_a_conversion_and_a_pipeline_are_tasks_too(knowing, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    (tmp_path / "pets" / "cat" / "a.png").write_bytes(png())
    conversion = await begin(
        knowing, "convert_dataset", path=str(tmp_path / "pets"), to="coco", output=str(tmp_path / "out")
    )
    pipeline = await begin(knowing, "run_pipeline", actions=["hello/greet"], params={"name": "Ada"})

    assert (await ended(knowing, conversion.task_id))["status"] == "completed"
    assert (await ended(knowing, pipeline.task_id))["status"] == "completed"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_an_unknown_task_is_refused_as_such(knowing, method):
    with pytest.raises(MCPError) as refusal:
        await ask(knowing, method, "run-nothing", input_responses={})

    assert refusal.value.code == types.INVALID_PARAMS
    assert "no run" in refusal.value.message


async def test_a_client_that_does_not_declare_tasks_gets_none(client):
    run = await call(client, "run_action", plugin="hello", action="greet")

    assert run["done"] is True
    with pytest.raises(MCPError) as refusal:
        await ask(client, "tasks/get", run["run_id"])
    # A client of an earlier protocol is told that there is no such method.
    assert refusal.value.code in (types.MISSING_REQUIRED_CLIENT_CAPABILITY, types.METHOD_NOT_FOUND)
