"""Agents that are programs: one that knows how, one that guesses, and one that has no patience.

Each works on the tools of the real server alone, and reads answers and errors as a model would: what to do
next is taken from them, never from knowledge of the server's code.
"""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError, StdioServerParameters

# The impatient one's limit for a call; everything slow here takes longer.
PATIENCE_SECONDS = 2.0
_MOST_TRIES = 60
_MOST_BYTES = 40_000


class Refused(Exception):
    """A call that failed, with the error that the agent was told."""

    def __init__(self, text: str, error: dict[str, Any]) -> None:
        super().__init__(text)
        self.error = error

    @property
    def details(self) -> dict[str, Any]:
        return self.error.get("details") or {}


class Oracle:
    """Knows the tools and their arguments, and waits with the calls that wait."""

    def __init__(self, server: StdioServerParameters) -> None:
        self.server = server
        self.calls = 0
        self.bytes = 0
        self.tools: dict[str, dict[str, Any]] = {}
        self._client: Client
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Oracle:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def connect(self) -> None:
        """Start a server, in the place of the one before."""
        await self._open.aclose()
        self._client = await self._open.enter_async_context(Client(self.server))
        self.tools = {tool.name: tool.input_schema for tool in (await self._client.list_tools()).tools}

    # What every agent has to do with a call

    async def send(self, tool: str, arguments: dict[str, Any], limit: float | None = None) -> Any:
        """Return the record, or the text where there is none. Raises Refused, MCPError at the limit."""
        self.calls += 1
        reply = await self._client.call_tool(tool, arguments, read_timeout_seconds=limit)
        text = "".join(part.text for part in reply.content if part.type == "text")
        self.bytes += len(text)
        assert len(text) <= _MOST_BYTES, f"{tool} answered with {len(text)} characters"
        if reply.is_error and "run" in reply.structured_content:
            return reply.structured_content["run"]  # it was made, and it failed
        if reply.is_error:
            raise Refused(text, reply.structured_content["error"])
        return reply.structured_content or text

    async def call(self, tool: str, **arguments: Any) -> Any:
        return await self.send(tool, arguments)

    # What an agent wants

    async def plugin_for(self, words: str) -> str:
        """Return the code of the plugin that fits the words."""
        found = await self.call("list_plugins", query=words)
        assert len(found["plugins"]) == 1, found
        return found["plugins"][0]["code"]

    async def start(self, plugin: str, action: str, key: str, **params: Any) -> dict[str, Any]:
        """Return a run as it stands. key: what makes it one run, however often it is asked for."""
        return await self.call("run_action", plugin=plugin, action=action, params=params, wait_seconds=0)

    async def finished(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the run when it is done; an agent never believes in anything but `done`."""
        while not run["done"]:
            run = await self.call("get_run", run_id=run["run_id"], wait_seconds=50)
        return run

    async def convert(self, **arguments: Any) -> dict[str, Any]:
        return await self.finished(await self.call("convert_dataset", **arguments))

    async def deploy(self, **arguments: Any) -> dict[str, Any]:
        return await self.finished(await self.call("deploy_model", **arguments))


class Naive(Oracle):
    """Guesses the names of tools and arguments, mends what errors name, and asks for a run every second."""

    async def call(self, tool: str, **arguments: Any) -> Any:
        guessed_tool = re.sub(r"_(\w)", lambda found: found[1].upper(), tool)
        guessed = {f"{name}_name" if name == "plugin" else name: value for name, value in arguments.items()}
        for _ in range(6):
            try:
                return await self.send(guessed_tool, guessed)
            except Refused as refused:
                if refused.error["code"] == "unknown_tool":
                    guessed_tool = re.findall(r"Did you mean (\w+)", str(refused))[0]
                    assert guessed_tool == tool
                elif "It takes:" in str(refused):
                    taken = re.split(r"[,.] ?", re.findall(r"It takes: ([^.]*\.)", str(refused))[0])
                    wrong = [name for name in guessed if name not in taken]
                    for name in wrong:
                        right = max(taken, key=lambda each: (each in name, len(each)) if each else (False, 0))
                        guessed[right] = guessed.pop(name)
                else:
                    raise
        raise AssertionError(f"{tool} could not be called from what its errors say")

    async def plugin_for(self, words: str) -> str:
        try:
            return (await self.call("describe_plugin", plugin=words.split()[0]))["plugin"]
        except Refused as refused:
            assert refused.error["code"] == "unknown_plugin"
        return await super().plugin_for(words)

    async def finished(self, run: dict[str, Any]) -> dict[str, Any]:
        while not run["done"]:
            run = await self.call("get_run", run_id=run["run_id"], wait_seconds=1)
        return run


class Impatient(Oracle):
    """Gives every call two seconds, and makes it again where that was too short."""

    async def call(self, tool: str, **arguments: Any) -> Any:
        for _ in range(_MOST_TRIES):
            if (answer := await self._tried(tool, arguments)) is not None:
                return answer
        raise AssertionError(f"{tool} never answered within {PATIENCE_SECONDS} s")

    async def start(self, plugin: str, action: str, key: str, **params: Any) -> dict[str, Any]:
        # The usual time to wait is longer than its patience; run_key is there for whoever repeats a call.
        asked = {"plugin": plugin, "action": action, "params": params, "run_key": key}
        return await self._tried("run_action", asked) or await self.call(
            "run_action", **asked, wait_seconds=0
        )

    async def convert(self, **arguments: Any) -> dict[str, Any]:
        return await self._begun("convert_dataset", arguments)

    async def deploy(self, **arguments: Any) -> dict[str, Any]:
        return await self._begun("deploy_model", arguments)

    async def finished(self, run: dict[str, Any]) -> dict[str, Any]:
        while not run["done"]:
            run = await self.call("get_run", run_id=run["run_id"], wait_seconds=50)
        return run

    async def _tried(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Return the answer, None where it did not come in time."""
        try:
            return await self.send(tool, arguments, PATIENCE_SECONDS)
        except MCPError as error:
            assert "imed out" in str(error), error
            return None

    async def _begun(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the ended run of a tool that takes no run_key: what it began is looked up before it is
        called again."""
        before = {run["run_id"] for run in (await self.call("list_runs"))["runs"]}
        for _ in range(_MOST_TRIES):
            if (run := await self._tried(tool, arguments)) is not None:
                return await self.finished(run)
            listed = (await self.call("list_runs"))["runs"]
            if new := [run for run in listed if run["run_id"] not in before]:
                return await self.finished(await self.call("get_run", run_id=new[0]["run_id"]))
        raise AssertionError(f"{tool} neither answered nor began anything")


def shown(agent: Oracle, work: str) -> str:
    """Return a line about what a work cost."""
    return json.dumps(
        {"work": work, "agent": type(agent).__name__, "calls": agent.calls, "bytes": agent.bytes}
    )
