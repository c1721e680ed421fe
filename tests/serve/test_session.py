"""From training to an address and back, as an agent does it, over the real server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mcp.types as types
import pytest
from mcp import Client, StdioServerParameters
from sklearn.datasets import load_digits

pytestmark = [pytest.mark.ray("own"), pytest.mark.anyio]

MOST_CALLS = 10


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Session:
    """A client that counts its calls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = 0

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        reply = await self.ask(tool, **arguments)
        assert not reply.is_error, "".join(part.text for part in reply.content if part.type == "text")
        return reply.structured_content

    async def ask(self, tool: str, **arguments: Any) -> Any:
        self.calls += 1
        return await self._client.call_tool(tool, arguments)

    async def ended(self, run: dict[str, Any]) -> dict[str, Any]:
        while not run["done"]:
            run = await self.call("get_run", run_id=run["run_id"], wait_seconds=50)
        return run


async def declines(_context: Any, params: types.ElicitRequestFormParams) -> types.ElicitResult:
    assert "digits" in params.message
    return types.ElicitResult(action="decline")


async def agrees(_context: Any, _params: types.ElicitRequestFormParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"confirm": True})


async def test_a_model_is_trained_deployed_called_and_deleted(home: Path):
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp"],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
    scans, digits = load_digits(return_X_y=True)
    async with Client(server) as client:
        session = Session(client)
        described = await session.call("describe_plugin", plugin="digits_classifier")
        assert {"train", "infer", "deploy"} <= {action["name"] for action in described["actions"]}
        begun = await session.call(
            "run_action",
            plugin="digits_classifier",
            action="train",
            params={"epochs": 12},
            wait_seconds=50,
        )
        trained = await session.ended(begun)
        registered = await session.call("register_model", name="digits", source=trained["run_id"])
        assert registered["model"]["metrics"]["test/accuracy"] > 0.9
        model = registered["model"]["model"]
        begun = await session.call("deploy_model", model=model, name="digits", wait_seconds=50)
        deployed = await session.ended(begun)
        assert deployed["result"]["url"].startswith("http://127.0.0.1:")
        answer = await session.call("call_deployment", name="digits", inputs=scans[:50].tolist())
        right = [one["digit"] == digit for one, digit in zip(answer["results"], digits[:50], strict=True)]
        assert sum(right) >= 45
        print(f"{session.calls} calls from training to an answer")
        assert session.calls <= MOST_CALLS

        read = await session.call(
            "run_action",
            plugin="digits_classifier",
            action="infer",
            params={"model": registered["model"]["id"], "inputs": scans[:5].tolist()},
            wait_seconds=50,
        )
        assert (await session.ended(read))["result"]["results"] == answer["results"][:5]
        listed = await session.call("list_models", model="digits")
        assert listed["models"][0]["run_id"] == trained["run_id"]
        plan = await session.call("deploy_model", model="digits", name="digits", replicas=2, dry_run=True)
        assert (plan["replaces"], plan["params"]["replicas"]) == (1, 2)
        for arguments, words in (
            ({"model": "digits", "name": "digits", "gpus": 1}, "1 GPUs"),
            ({"model": "digts", "name": "digits"}, "digits@1"),
            ({"model": "digits", "name": "no/name"}, "name"),
        ):
            refused = await session.ask("deploy_model", **arguments)
            assert refused.is_error
            assert words in refused.content[0].text
        wrong = await session.ask("call_deployment", name="digits", inputs=[[1, 2, 3]])
        assert "8 x 8 grey values" in wrong.content[0].text

        seen = (await session.call("list_deployments"))["deployments"]
        assert [(each["name"], each["state"], each["model"]) for each in seen] == [
            ("digits", "running", model)
        ]
        asked = await session.call("delete_deployment", name="digits")
        assert asked["deleted"] is False
        stale = await session.ask("delete_deployment", name="digits", confirm="0" * 12)
        assert stale.structured_content["error"]["code"] == "conflict"
        async with Client(server, elicitation_callback=declines) as asking:
            kept = await Session(asking).call("delete_deployment", name="digits")
        assert (kept["deleted"], "declined" in kept["next"]) == (False, True)
        async with Client(server, elicitation_callback=agrees) as asking:
            assert (await Session(asking).call("delete_deployment", name="digits"))["deleted"]
        assert (await session.call("list_deployments"))["deployments"] == []
        gone = await session.ask("call_deployment", name="digits", inputs=[])
        assert gone.structured_content["error"]["code"] == "unknown_deployment"
