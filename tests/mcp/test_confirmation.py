"""Asking before something is lost: in both protocol eras, with clients that can ask and that cannot."""

from __future__ import annotations

from contextlib import asynccontextmanager

import mcp.types as types
import pytest
from mcp import Client
from tool_calls import call, refused

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

SLOW = {"plugin": "hello", "action": "greet", "params": {"repeat": 600, "sleep_seconds": 0.1}}


class User:
    """Answers each question the same way, and remembers it."""

    def __init__(self, action: str, confirm: bool = True) -> None:
        self.questions: list[str] = []
        self._answer = types.ElicitResult(
            action=action, content={"confirm": confirm} if action == "accept" else None
        )

    async def __call__(self, context, params) -> types.ElicitResult:
        self.questions.append(params.message)
        return self._answer


@asynccontextmanager
async def session(era, user=None):
    server = build_server(Settings.make())
    async with Client(server, mode=era, elicitation_callback=user) as client:
        run = await call(client, "run_action", **SLOW, wait_seconds=0)
        yield client, run["run_id"]
        await call(client, "stop_run", run_id=run["run_id"])


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_user_who_agrees_has_the_run_killed(home, era):
    user = User("accept")
    async with session(era, user) as (client, run_id):
        run = await call(client, "stop_run", run_id=run_id, force=True)

    assert (run["state"], run["done"]) == ("stopped", True)
    assert len(user.questions) == 1
    assert run_id in user.questions[0]


@pytest.mark.parametrize("era", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("user", "said"),
    [
        (User("decline"), "declined"),
        (User("cancel"), "closed the question"),
        (User("accept", confirm=False), "said no"),
    ],
    ids=["declined", "closed", "no"],
)
async def test_a_user_who_does_not_agree_keeps_the_run_and_the_agent_is_told(home, era, user, said):
    async with session(era, user) as (client, run_id):
        answer = await call(client, "stop_run", run_id=run_id, force=True)
        run = await call(client, "get_run", run_id=run_id)

    assert answer["stopped"] is False
    assert said in answer["next"]
    assert "confirm" not in answer
    assert run["done"] is False


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_that_cannot_ask_gets_a_word_that_confirms(home, era):
    async with session(era) as (client, run_id):
        preview = await call(client, "stop_run", run_id=run_id, force=True)
        wrong = await refused(client, "stop_run", run_id=run_id, force=True, confirm="0" * 12)
        still = await call(client, "get_run", run_id=run_id)
        run = await call(client, "stop_run", run_id=run_id, force=True, confirm=preview["confirm"])

    assert preview["stopped"] is False
    assert f'confirm="{preview["confirm"]}"' in preview["next"]
    assert wrong["code"] == "conflict"
    assert still["done"] is False
    assert run["state"] == "stopped"


async def test_nobody_is_asked_about_a_run_that_has_ended_or_is_not_there(home):
    user = User("accept")
    async with session("auto", user) as (client, run_id):
        await call(client, "stop_run", run_id=run_id)
        await call(client, "stop_run", run_id=run_id, force=True)
        error = await refused(client, "stop_run", run_id="run-nothing", force=True)
        gone = await refused(client, "delete_deployment", name="nothing")

    assert user.questions == []
    assert error["code"] == "unknown_run"
    assert gone["code"] == "unknown_deployment"
