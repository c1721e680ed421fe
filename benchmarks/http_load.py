"""Fifty clients over HTTP while eight runs go on: how long a tools/list takes, and whether anything fails."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from mcp import Client

from benchmarks.measure import Figure
from benchmarks.world import World

_CLIENTS = 50
_LISTS = 10
_RUNS = 8
_MOST_MS = 100.0
_START_SECONDS = 60.0
_HEADERS = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/list",
}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
_LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": _META}})
# An agent thinks between two calls; without a pause the queue is what is measured.
_PAUSE_SECONDS = 0.5


def figures(world: World) -> Iterator[Figure]:
    lists = 3 if world.is_short else _LISTS
    port = _free_port()
    hello = [sys.executable, "-m", "benchmarks.hello_http_server", str(port)]
    with _served(hello, world, f"http://127.0.0.1:{port}/mcp") as url:
        theirs, their_errors = asyncio.run(_load(url, lists, 0))
    synapse = [sys.executable, "-m", "synapse_mcp", "--http", "127.0.0.1:0"]
    with _served(synapse, world) as url:
        ours, errors = asyncio.run(_load(url, lists, _RUNS))
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        mine, baseline = _quantile(ours, share), _quantile(theirs, share)
        yield Figure(
            f"tools/list over HTTP, {_CLIENTS} clients, {_RUNS} runs, {name}",
            f"{mine:.1f} ms",
            f"{baseline:.1f} ms",
            mine / baseline,
            f"<= {_MOST_MS:g} ms" if share == 0.99 else "-",
            mine <= _MOST_MS if share == 0.99 else None,
            f"({len(ours)} lists; the hello server has no runs beside it)",
        )
    yield Figure("errors of those clients", str(errors), str(their_errors), target="0", is_met=errors == 0)


async def _load(url: str, lists: int, runs: int) -> tuple[list[float], int]:
    """Return the milliseconds of each tools/list, and how many calls failed.

    Lists are asked for over bare httpx: fifty of the SDK's clients in one process would measure themselves.
    """
    took: list[float] = []
    failed = 0
    # Runs that last for longer than all lists take; they are stopped at the end.
    are_going = [asyncio.Event() for _ in range(runs)]

    async def run(is_going: asyncio.Event) -> None:
        nonlocal failed

        async def heard(done: float, _total: float | None, _message: str | None) -> None:
            if done > 0:
                is_going.set()

        params = {"repeat": 1000, "sleep_seconds": 0.1}
        asked = {"plugin": "hello", "action": "greet", "params": params, "mode": "local", "wait_seconds": 50}
        async with Client(url) as client:
            try:
                reply = await client.call_tool("run_action", asked, progress_callback=heard)
                failed += not reply.is_error or reply.structured_content["error"]["code"] != "stopped"
            finally:
                is_going.set()

    async def work(number: int) -> None:
        nonlocal failed
        async with httpx.AsyncClient(headers=_HEADERS, timeout=60) as client:
            await asyncio.sleep(_PAUSE_SECONDS * number / _CLIENTS)
            for _ in range(lists):
                began = time.perf_counter()
                reply = await client.post(url, content=_LIST)
                took.append((time.perf_counter() - began) * 1000)
                failed += reply.status_code != 200 or b'"tools"' not in reply.content
                await asyncio.sleep(_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as beside:
        for is_going in are_going:
            beside.create_task(run(is_going))
        for is_going in are_going:
            await is_going.wait()
        async with asyncio.TaskGroup() as working:
            for number in range(_CLIENTS):
                working.create_task(work(number))
        if runs:
            await _stop_all(url)
    return took, failed


async def _stop_all(url: str) -> None:
    async with Client(url) as client:
        going = await client.call_tool("list_runs", {"state": "active"})
        for run in going.structured_content["runs"]:
            await client.call_tool("stop_run", {"run_id": run["run_id"]})


@contextmanager
def _served(command: Sequence[str], world: World, url: str | None = None) -> Iterator[str]:
    """Give the address of a server that answers, and end it."""
    with subprocess.Popen(command, env=world.environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process, url)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str], url: str | None) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://[\d.:]+(/mcp)?", line):
            return url or found[0]
    raise RuntimeError("the server ended before it answered")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _quantile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100)[int(share * 100) - 1]
