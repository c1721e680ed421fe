"""The tenth work of an agent: a deployment that fails is told as one, and what served before serves on."""

from __future__ import annotations

import os
import sys

import pytest
from mcp import StdioServerParameters
from scripted_agents import Impatient, Naive, Oracle, shown

pytestmark = [pytest.mark.ray("own"), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("kind", [Oracle, Naive, Impatient])
async def test_a_failed_deployment_is_never_called_done(kind, aviary, parrot, home, capsys):
    good = aviary.model("good")
    bad = aviary.model("bad", fails="request")
    if not aviary.home.deployments.list():
        assert aviary.deploy("bird", good).failure is None
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp", "--plugins", str(parrot.parent)],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )

    async with kind(server) as agent:
        run = await agent.deploy(model=str(bad.id), name="bird")
        (found,) = (await agent.call("list_deployments", name="bird"))["deployments"]
        answer = await agent.call("call_deployment", name="bird", inputs=[{"word": "hi"}])
        with capsys.disabled():
            print(shown(agent, "a_failed_deployment_is_never_called_done"))

    assert run["state"] == "failed"
    assert "the beak does not open" in run["failure"]["message"] + str(run["failure"])
    assert answer["results"][0]["says"] == "good hi"
    assert found["last_failure"]
