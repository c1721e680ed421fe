"""What a call costs beside a tool of the bare SDK that answers with the same text, in memory and over stdio.

A guide is asked for, which is no work: what is left is the way there and back, and the record of the call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import anyio
from mcp import Client

from benchmarks.hello_server import server as bare_server
from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.stdio import HELLO, SYNAPSE, StdioServer
from benchmarks.world import World
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

_MOST_IN_MEMORY = 1.5
_MOST_OVER_STDIO = 1.2
# A single call is too short to be measured.
_CALLS = 20


def figures(world: World) -> Iterator[Figure]:
    os.environ["SYNAPSE_HOME"] = str(world.home)
    ours, baseline = anyio.run(_in_memory, world.pairs(41))
    yield at_most(f"{_CALLS} calls in memory (bare SDK)", ours, baseline, _MOST_IN_MEMORY)
    with (
        StdioServer(SYNAPSE, world.environment) as synapse,
        StdioServer(HELLO, world.environment) as hello,
    ):
        ours, baseline = interleaved(lambda: _asked(synapse), lambda: _asked(hello), world.pairs(41))
    yield at_most(f"{_CALLS} calls over stdio (bare SDK)", ours, baseline, _MOST_OVER_STDIO)


async def _in_memory(pairs: int) -> tuple[list[float], list[float]]:
    async with Client(build_server(Settings.make())) as synapse, Client(bare_server) as hello:
        await _awaited(synapse), await _awaited(hello)
        taken = [(await _awaited(synapse), await _awaited(hello)) for _ in range(pairs)]
    return [ours for ours, _ in taken], [baseline for _, baseline in taken]


async def _awaited(client: Client) -> float:
    """Return the milliseconds of some calls."""
    begun = time.perf_counter()
    for _ in range(_CALLS):
        await client.call_tool("get_guide", {"topic": "setup"})
    return (time.perf_counter() - begun) * 1000


def _asked(server: StdioServer) -> float:
    """Return the milliseconds of some calls."""
    call = {"name": "get_guide", "arguments": {"topic": "setup"}}

    def ask() -> None:
        for _ in range(_CALLS):
            server.ask("tools/call", call)

    return milliseconds(ask)
