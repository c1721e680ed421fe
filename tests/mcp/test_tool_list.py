"""The list that every agent reads on every turn: small, stable, portable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synapse_mcp.server import INSTRUCTIONS
from synapse_mcp.settings import DEFAULT_TOOLSETS
from synapse_mcp.tools import TOOLS

GOLDEN = Path(__file__).parent / "tools.golden.json"
MOST_BYTES_CORE = 5_000
MOST_BYTES = 10_000

pytestmark = pytest.mark.anyio


async def listed(client):
    tools = (await client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


async def test_the_list_is_the_golden_one(client):
    """After a wanted change: write the list that this prints into tools.golden.json."""
    found = await listed(client)

    assert json.loads(GOLDEN.read_text()) == found, json.dumps(found, indent=1)


async def test_the_list_and_its_core_are_small(client):
    core = {spec.handler.__name__ for spec in TOOLS if spec.toolset == "core"}
    tools = await listed(client)

    assert size_of([tool for tool in tools if tool["name"] in core]) <= MOST_BYTES_CORE
    assert size_of(tools) <= MOST_BYTES


def size_of(tools) -> int:
    return len(json.dumps(tools, separators=(",", ":")).encode())


async def test_every_tool_says_what_it_does_to_the_world(client):
    for tool in await listed(client):
        assert tool["title"]
        assert len(tool["description"]) > 20
        assert set(tool["annotations"]) >= {
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        }
        assert "outputSchema" not in tool


async def test_every_array_says_what_is_in_it(client):
    """A host refuses a tool with an array that does not."""

    def arrays(node):
        if isinstance(node, dict):
            if node.get("type") == "array":
                yield node
            for entry in node.values():
                yield from arrays(entry)

    found = [array for tool in await listed(client) for array in arrays(tool["inputSchema"])]

    assert len(found) > 3
    assert all("items" in array for array in found)


async def test_schemas_are_portable(client):
    for tool in await listed(client):
        text = json.dumps(tool["inputSchema"])
        assert tool["inputSchema"]["additionalProperties"] is False
        for word in ('"$ref"', '"$defs"', '"title"', '"anyOf"', '"null"'):
            assert word not in text, f"{tool['name']}: {word}"


async def test_the_order_is_that_of_the_table(client):
    assert [tool["name"] for tool in await listed(client)] == [
        spec.handler.__name__ for spec in TOOLS if spec.toolset in DEFAULT_TOOLSETS
    ]


def test_the_instructions_are_short():
    assert len(INSTRUCTIONS.encode()) <= 700
