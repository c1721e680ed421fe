"""publish_plugin, which is shown only where it was asked for, and running what was published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client

from synapse_core.errors import InvalidRequest
from synapse_core.scaffold import create_plugin
from synapse_mcp.server import build_server
from synapse_mcp.settings import TOOLSETS, Settings
from synapse_mcp.tools import TOOLS

pytestmark = pytest.mark.anyio


async def names(toolsets: str | None) -> set[str]:
    async with Client(build_server(Settings.make(toolsets=toolsets))) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def test_only_the_chosen_sets_are_shown():
    everything = {spec.handler.__name__ for spec in TOOLS}

    assert await names(None) == everything - {"publish_plugin"}
    assert await names("all") == await names(",".join(TOOLSETS)) == everything
    assert await names("publish") == {"publish_plugin"}


def test_an_unknown_set_is_refused_with_the_nearest():
    with pytest.raises(InvalidRequest, match=r"no toolset 'cor'\. Did you mean core"):
        Settings.make(toolsets="cor")


async def test_a_plugin_is_published_and_run_where_only_the_backend_is(home: Path, tmp_path: Path):
    created = create_plugin("shout", path=tmp_path / "elsewhere")
    async with Client(build_server(Settings.make([str(created.path)], toolsets="all"))) as client:
        reply = await client.call_tool("publish_plugin", {"plugin": "shout"})
        again = await client.call_tool("publish_plugin", {"plugin": "shout", "version": "9.9.9"})
    assert not reply.is_error, reply.content
    release = reply.structured_content
    assert release["release"] == "shout@0.1.0"
    assert again.is_error
    assert "config.yaml says 0.1.0" in again.content[0].text

    async with Client(build_server(Settings.make())) as client:
        described = await client.call_tool("describe_plugin", {"plugin": "shout@0.1.0"})
        ended = await client.call_tool(
            "run_action",
            {"plugin": "shout@0.1.0", "action": release["actions"][0], "mode": "local", "wait_seconds": 50},
        )
        missing = await client.call_tool("run_action", {"plugin": "shout@7.0.0", "action": "main"})

    assert "shout" in json.dumps(described.structured_content)
    assert ended.structured_content["state"] == "succeeded"
    assert missing.is_error
    assert missing.structured_content["error"]["code"] == "unknown_record"


async def test_a_plugin_with_a_key_in_it_is_refused_and_the_key_is_not_shown(home: Path, tmp_path: Path):
    created = create_plugin("shout", path=tmp_path / "elsewhere")
    (created.path / ".env").write_text("API_KEY=a-very-secret-value")
    # The template leaves it out by its ignore files; this author takes that back.
    for name in (".gitignore", ".synapseignore"):
        (created.path / name).write_text("")

    async with Client(build_server(Settings.make([str(created.path)], toolsets="all"))) as client:
        reply = await client.call_tool("publish_plugin", {"plugin": "shout"})

    assert reply.is_error
    assert reply.structured_content["error"]["code"] == "secret_in_plugin"
    assert ".env" in reply.content[0].text
    assert "a-very-secret-value" not in reply.content[0].text
