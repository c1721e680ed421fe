"""How long an event takes from its emission in the action to the client's callback."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator

import anyio
from mcp import Client, StdioServerParameters

from benchmarks.measure import Figure
from benchmarks.stdio import SYNAPSE
from benchmarks.world import World

_MOST_MS = 50.0
_EMITTED = re.compile(r"emitted (\d+\.\d+)")


def figures(world: World) -> Iterator[Figure]:
    for mode in ("local", "task"):
        if mode == "task":
            world.cluster  # noqa: B018  # started
        delays = anyio.run(_delays, world, mode)
        median = statistics.median(delays)
        yield Figure(
            f"event to the client's callback, {mode}, median",
            f"{median:.2f} ms",
            target=f"<= {_MOST_MS:g} ms",
            is_met=median <= _MOST_MS,
            of=f"({len(delays)} events, slowest {max(delays):.1f} ms)",
        )


async def _delays(world: World, mode: str) -> list[float]:
    """Return the milliseconds that each message of a ticking run took."""
    delays: dict[str, float] = {}

    async def on_progress(_progress: float, _total: float | None, message: str | None) -> None:
        now = time.time()
        if found := _EMITTED.search(message or ""):
            # A message may be told twice; it has arrived when it is told first.
            delays.setdefault(found.group(1), (now - float(found.group(1))) * 1000)

    count = 20 if world.is_short else 60
    arguments = {"plugin": "gauge", "action": "tick", "mode": mode, "wait_seconds": 50}
    arguments["params"] = {"count": count}
    server = StdioServerParameters(command=SYNAPSE[0], args=SYNAPSE[1:], env=world.environment)
    async with Client(server) as client:
        reply = await client.call_tool("run_action", arguments, progress_callback=on_progress)
    assert not reply.is_error, reply
    assert len(delays) >= count - 1, f"{len(delays)} of {count} messages arrived"
    return list(delays.values())
