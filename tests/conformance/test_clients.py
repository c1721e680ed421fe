"""The core loop through clients that nobody here wrote, and the Inspector's strict look at the tool list."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastmcp import Client as FastClient
from fastmcp.client.transports import StdioTransport

INSPECTOR = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
TYPESCRIPT = ["v1", "v2", "v2-modern"]
TRANSPORTS = ["stdio", "http"]
CORE = {"get_status", "list_plugins", "describe_plugin", "run_action", "get_run", "get_run_logs"}
CALLS = 3
SERVER = ["-m", "synapse_mcp"]


@contextmanager
def served(transport: str) -> Iterator[list[str]]:
    """Give how to reach the real server: a command, or an address after `http`."""
    if transport == "stdio":
        yield ["stdio", sys.executable, *SERVER]
        return
    told = subprocess.run([sys.executable, *SERVER, "--help"], capture_output=True, text=True, check=True)
    if "--http" not in told.stdout:
        pytest.skip("this server does not speak HTTP")
    command = [sys.executable, *SERVER, "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = None
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+/\S*", line):
                    break
            assert found, "the server did not say where it listens"
            yield ["http", found.group().rstrip(".,;)")]
        finally:
            process.terminate()
            process.stderr.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("which", TYPESCRIPT)
def test_a_typescript_client_goes_through_the_core_loop_and_loses_no_word(node, home, which, transport):
    with served(transport) as place:
        ran = node.run("core_loop.mjs", which, str(CALLS), *place)

    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout)
    assert set(told["tools"]) >= CORE
    assert told["described"]["example"]["action"] == "greet"
    for each in told["runs"]:
        assert each["run"]["state"] == "succeeded"
        values = [value for value, _ in each["progress"]]
        assert values == sorted(set(values)), "progress rises strictly"
        assert each["progress"][-1] == [100, f"{each['run']['run_id']} succeeded"]
        assert each["late"] == 0
    assert told["again"] == told["runs"][0]["run"]
    assert "Hello, Ada!" in told["log"]


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_fastmcps_client_goes_through_the_core_loop(home, transport):
    progress = []

    async def on_progress(value, total, message):
        progress.append((value, message))

    with served(transport) as (kind, target, *arguments):
        reached = target if kind == "http" else StdioTransport(target, arguments, env=dict(os.environ))
        async with FastClient(reached) as client:
            tools = {tool.name for tool in await client.list_tools()}
            described = await client.call_tool("describe_plugin", {"plugin": "hello", "action": "greet"})
            greet = {"plugin": "hello", "action": "greet", "params": {"repeat": 5, "sleep_seconds": 0.03}}
            run = (
                await client.call_tool("run_action", greet, progress_handler=on_progress)
            ).structured_content
            again = (await client.call_tool("get_run", {"run_id": run["run_id"]})).structured_content
            log = (await client.call_tool("get_run_logs", {"run_id": run["run_id"]})).content[0].text

    assert tools >= CORE
    assert described.structured_content["plugin"] == "hello"
    assert run["state"] == "succeeded"
    assert again == run
    assert progress[-1] == (100, f"{run['run_id']} succeeded")
    assert "Hello, world!" in log


def inspect(node, *arguments):
    return node.run(INSPECTOR, "--cli", "--connect-timeout", "60000", *arguments)


def test_the_inspector_has_nothing_to_say_against_the_tools(node, home):
    ran = inspect(node, "--strict", sys.executable, *SERVER, "--method", "tools/list", "--format", "json")

    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "problem" not in ran.stderr.lower().replace("0 problems", "")


def test_the_inspector_follows_a_task_to_its_end(node, home):
    greet = {
        "plugin": "hello",
        "action": "greet",
        "params": {"name": "Ada", "repeat": 10, "sleep_seconds": 0.1},
    }
    ran = inspect(
        node,
        sys.executable,
        *SERVER,
        *("--protocol-era", "modern", "--method", "tools/call", "--tool-name", "run_action"),
        *("--tool-args-json", json.dumps(greet), "--format", "json"),
    )

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Hello, Ada!" in ran.stdout
    assert '"done": true' in ran.stdout or '"done":true' in ran.stdout
