"""What a run asks its user: in both protocol eras, as a task, and in a shell where the client cannot ask."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import mcp.types as types
import pytest
from asking_plugin import write_asking
from mcp import Client, MCPError
from task_clients import KnowsTasks, ask, begin
from tool_calls import call, refused
from typer.testing import CliRunner

from synapse_mcp.cli import app
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

FIRST = {"plugin": "asking", "action": "ask"}


class User:
    """Answers each question with the next answer, and remembers it."""

    def __init__(self, *answers) -> None:
        self.questions: list[types.ElicitRequestFormParams] = []
        self._answers = list(answers)

    async def __call__(self, context, params) -> types.ElicitResult:
        self.questions.append(params)
        answer = self._answers.pop(0)
        if isinstance(answer, str):
            return types.ElicitResult(action=answer)
        return types.ElicitResult(action="accept", content=answer)


@asynccontextmanager
async def connected(tmp_path, era="auto", user=None, extensions=(), **settings):
    plugins = tmp_path / "plugins"
    if not plugins.exists():
        write_asking(plugins)
    server = build_server(Settings.make([str(plugins)], **settings))
    async with Client(server, mode=era, elicitation_callback=user, extensions=list(extensions)) as client:
        yield client


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_get_run_asks_the_user_with_the_runs_own_form_and_waits_on(tmp_path, era):
    user = User({"count": 4, "speed": "fast"}, {"count": 5, "colour": "blue"})
    async with connected(tmp_path, era, user) as client:
        run = await call(client, "run_action", **FIRST, params={"message": "Well?\nrun x asks"})
        again = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        ended = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)

    assert run["state"] == "running"
    assert run["question"]["id"] == "question-1"
    assert run["question"]["schema"]["required"] == ["count"]
    assert "question" in run["untrusted"]
    assert run["next"] == f'get_run(run_id="{run["run_id"]}", wait_seconds=20) asks the user and waits on.'
    # What only the plugin knew to be wrong is asked once more.
    assert again["question"]["id"] == "question-2"
    assert ended["result"]["data"]["count"] == 5
    assert ended["result"]["data"]["colour"] == "blue"
    assert [question.requested_schema for question in user.questions] == [run["question"]["schema"]] * 2
    lines = user.questions[0].message.splitlines()
    assert run["run_id"] in lines[0]
    assert lines[1:] == ["> Well?", "> run x asks"], "no line of the plugin passes for one of ours"
    assert "has to be odd" in user.questions[1].message


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_user_can_decline_and_an_answer_that_does_not_fit_is_refused(tmp_path, era):
    user = User({"count": 99}, "decline")
    async with connected(tmp_path, era, user) as client:
        run_id = (await call(client, "run_action", **FIRST))["run_id"]
        error = await refused(client, "get_run", run_id=run_id)
        run = await call(client, "get_run", run_id=run_id, wait_seconds=20)

    assert error["code"] == "invalid_request"
    assert "count: Input should be less than or equal to 9" in error["message"]
    assert run["result"] == {"said": "decline", "data": None}


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_where_the_client_cannot_ask_the_user_answers_in_a_shell(tmp_path, era):
    async with connected(tmp_path, era) as client:
        run = await call(client, "run_action", **FIRST)
        still = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        command = f"synapse-mcp answer {run['run_id']}"
        assert f"{command} KEY=VALUE" in run["next"]
        shown = await shell(run["run_id"])
        wrong = await shell(run["run_id"], "cuont=3")
        given = await shell(run["run_id"], "count=3", "name=42")
        late = await shell(run["run_id"], "--decline")
        ended = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)

    assert still["question"] == run["question"]
    assert "> Which ones?" in shown.stdout
    assert 'count={"type": "integer"' in shown.stdout
    assert (wrong.exit_code, "Did you mean count?" in wrong.stdout) == (1, True), wrong.stdout
    assert given.exit_code == 0, given.stdout
    assert (late.exit_code, "conflict" in late.stdout) == (1, True), late.stdout
    assert (ended["result"]["data"]["count"], ended["result"]["data"]["name"]) == (3, "42")


async def shell(*arguments):
    return await anyio.to_thread.run_sync(CliRunner().invoke, app, ["answer", *arguments])


async def test_a_server_that_only_shows_asks_nobody(tmp_path):
    async with connected(tmp_path) as client:
        run = await call(client, "run_action", **FIRST)
    user = User()
    async with connected(tmp_path, user=user, read_only=True, extensions=[KnowsTasks()]) as looking:
        still = await call(looking, "get_run", run_id=run["run_id"])
        task = await ask(looking, "tasks/get", run["run_id"])
        said = {"question-1": {"action": "accept", "content": {"count": 3}}}
        with pytest.raises(MCPError):
            await ask(looking, "tasks/update", run["run_id"], input_responses=said)
        with pytest.raises(MCPError):
            await ask(looking, "tasks/cancel", run["run_id"])
    async with connected(tmp_path) as client:
        stopped = await call(client, "stop_run", run_id=run["run_id"])

    assert still["question"]["id"] == "question-1"
    assert task["status"] == "working"
    assert user.questions == []
    assert stopped["state"] == "stopped"


async def until(client, task_id, wanted):
    with anyio.fail_after(30):
        while not wanted(task := await ask(client, "tasks/get", task_id)):
            await anyio.sleep(0.02)
    return task


async def test_a_run_that_asks_is_a_task_that_needs_input(tmp_path):
    tasks = KnowsTasks()
    async with connected(tmp_path, user=User(), extensions=[tasks]) as client:
        handle = await begin(client, "run_action", plugin="asking", action="both")
        asked = types.SubscriptionFilter.model_validate({"taskIds": [handle.task_id]})
        listening = types.SubscriptionsListenRequest(
            params=types.SubscriptionsListenRequestParams(notifications=asked)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.session.send_request, listening, types.SubscriptionsListenResult)
            task = await until(client, handle.task_id, lambda task: len(task.get("inputRequests", ())) == 2)
            first, second = task["inputRequests"]
            with anyio.fail_after(60):
                while not any(news["status"] == "input_required" for news in tasks.news):
                    await anyio.sleep(0.01)
            given = {
                second: {"action": "accept", "content": {"name": "b"}},
                "question-99": {"action": "accept", "content": {}},
            }
            with pytest.raises(MCPError) as unfit:
                await ask(
                    client, "tasks/update", handle.task_id, input_responses={first: {"action": "accept"}}
                )
            await ask(client, "tasks/update", handle.task_id, input_responses=given)
            left = await ask(client, "tasks/get", handle.task_id)
            given = {first: {"action": "accept", "content": {"name": "a"}}}
            await ask(client, "tasks/update", handle.task_id, input_responses=given)
            ended = await until(client, handle.task_id, lambda task: task["status"] == "completed")

    request = task["inputRequests"][first]
    assert task["status"] == "input_required"
    assert request["method"] == "elicitation/create"
    assert request["params"]["mode"] == "form"
    assert request["params"]["requestedSchema"]["required"] == ["name"]
    assert request["params"]["message"].splitlines()[1] in ("> First?", "> Second?")
    assert unfit.value.code == types.INVALID_PARAMS
    assert (left["status"], list(left["inputRequests"])) == ("input_required", [first])
    assert ended["result"]["structuredContent"]["result"] == {"names": ["a", "b"]}
    told = [news["status"] for news in tasks.news]
    assert told[-1] == "completed"
