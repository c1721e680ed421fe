"""Being told of a run that changes, whoever changes it, in both eras; and watching nothing for nobody."""

from __future__ import annotations

import json

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS
from tool_calls import call

from synapse_mcp.app import App
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings
from synapse_mcp.subscriptions import watching

pytestmark = pytest.mark.anyio

SLOW = {"repeat": 400, "sleep_seconds": 0.05}


async def begun(client):
    """Return the id of a run that has begun and goes on for a while."""
    run = await call(
        client, "run_action", plugin="hello", action="greet", params=SLOW, mode="local", wait_seconds=0
    )
    return run["run_id"]


async def state(client, uri):
    return json.loads((await client.read_resource(uri)).contents[0].text)["state"]


async def test_a_modern_client_is_told_of_a_run_of_another_server_until_it_ends():
    async with (
        Client(build_server(Settings.make())) as other,
        Client(build_server(Settings.make())) as client,
    ):
        run_id = await begun(other)
        uri = f"synapse://runs/{run_id}"
        assert client.server_capabilities.resources.subscribe
        told = 0
        with anyio.fail_after(120):
            async with client.listen(resource_subscriptions=[uri, "synapse://runs/run-x"]) as subscription:
                async for event in subscription:
                    assert event.uri == uri
                    told += 1
                    if told == 1:
                        await other.call_tool("stop_run", {"run_id": run_id})
                    if await state(client, uri) == "stopped":
                        break
        assert told >= 1


# The method of the old era is still what its clients call.
@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")
async def test_a_legacy_client_is_told_until_it_unsubscribes():
    told: list[str] = []

    async def heard(message):
        if getattr(message, "method", "") == "notifications/resources/updated":
            told.append(message.params.uri)

    async def until_told_of(uri, since):
        """Wait for one more than there were. since: how often it had been told."""
        with anyio.fail_after(120):
            while told.count(uri) <= since:
                await anyio.sleep(0.01)

    theirs, ours = build_server(Settings.make()), build_server(Settings.make())
    async with (
        Client(theirs) as other,
        Client(ours, mode="legacy", message_handler=heard) as client,
    ):
        assert client.server_capabilities.resources.subscribe
        run_id = await begun(other)
        log, events = (f"synapse://runs/{run_id}/{part}" for part in ("log", "events"))
        await client.subscribe_resource(log)
        await until_told_of(log, 0)
        await client.unsubscribe_resource(log)
        # What comes after this one was sent after it: nothing about the log is still on its way.
        await client.subscribe_resource(events)
        await until_told_of(events, 0)
        count, before = told.count(log), told.count(events)
        await other.call_tool("stop_run", {"run_id": run_id})
        await until_told_of(events, before)
        assert told.count(log) == count

        await client.subscribe_resource("synapse://status")
        for unknown in ("synapse://runs/run-nothing", "synapse://nothing"):
            with pytest.raises(MCPError) as caught:
                await client.subscribe_resource(unknown)
            assert (caught.value.code, caught.value.data["uri"]) == (INVALID_PARAMS, unknown)


async def test_a_run_is_watched_once_as_long_as_somebody_listens_or_it_goes():
    server = build_server(Settings.make())
    app = App(Settings.make())
    async with Client(server) as client, watching(server, app):
        watches = app.watches
        run_id = await begun(client)
        uri = f"synapse://runs/{run_id}"

        watches.begin(uri, run_id)
        watches.begin(uri, run_id)
        assert watches.watched == [uri]
        watches.end(uri)
        assert watches.watched == [uri]
        watches.end(uri)
        assert watches.watched == []

        watches.begin(uri, run_id)
        await client.call_tool("stop_run", {"run_id": run_id})
        with anyio.fail_after(60):
            while watches.watched:
                await anyio.sleep(0.01)
        watches.end(uri)
        watches.begin("synapse://runs/run-nothing", "run-nothing")
        with anyio.fail_after(60):
            while watches.watched:
                await anyio.sleep(0.01)
    app.close()
