"""One run_key, one run, however many ask at once and through however many servers."""

from __future__ import annotations

import anyio
import pytest
from mcp import Client
from tool_calls import call

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

ASKED = {"plugin": "hello", "action": "greet", "params": {"name": "all"}, "run_key": "one"}


async def test_a_hundred_calls_with_one_key_through_two_servers_make_one_run(home):
    answers = []

    async def ask(client):
        answers.append(await call(client, "run_action", **ASKED, wait_seconds=20))

    async with Client(build_server(Settings.make())) as one, Client(build_server(Settings.make())) as other:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask, one)
                tasks.start_soon(ask, other)
        listed = (await call(one, "list_runs"))["runs"]

    assert len(answers) == 100
    assert {answer["run_id"] for answer in answers} == {run["run_id"] for run in listed}
    assert len(listed) == 1
