"""How long an event takes from its emission in the action to whoever watches the run."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import anyio
from mcp import Client, StdioServerParameters

from benchmarks.measure import Figure
from benchmarks.stdio import SYNAPSE
from benchmarks.world import PLUGINS, World
from synapse_core.home import Home
from synapse_core.runs import follow
from synapse_core.runs.request import make_request

_EMITTED = re.compile(r"emitted (\d+\.\d+)")

Delays = dict[str, float]
Measure = Callable[[World, str, int], Awaitable[Delays]]


def figures(world: World) -> Iterator[Figure]:
    for mode in ("local", "task"):
        if mode == "task":
            world.cluster  # noqa: B018  # started
        yield _figure(f"event to a watcher in this process, {mode}", _to_watcher, world, mode, 25)
        yield _figure(f"event to the client's callback, {mode}", _to_client, world, mode, 50)


def _figure(
    name: str,
    measure: Measure,
    world: World,
    mode: str,
    most_ms: float,
) -> Figure:
    count = 20 if world.is_short else 50
    delays = list(anyio.run(measure, world, mode, count).values())
    # The last message may be passed over in favour of the run's end.
    assert len(delays) >= count - 1, f"{len(delays)} of {count} messages arrived"
    median = statistics.median(delays)
    return Figure(
        name,
        f"{median:.2f} ms",
        target=f"<= {most_ms:g} ms",
        is_met=median <= most_ms,
        of=f"(median of {len(delays)}, {min(delays):.1f} to {max(delays):.1f} ms)",
    )


async def _to_watcher(world: World, mode: str, count: int) -> Delays:
    """Return the milliseconds after which each message of a ticking run was seen by `follow`."""
    delays: Delays = {}
    home = Home(world.home, [PLUGINS])
    try:
        request = make_request(
            home.registry, "gauge", "tick", {"count": count}, mode=mode, modes=home.runs.modes
        )
        run, _ = home.runs.submit(request)
        home.runs.begin(run)
        async for now in follow(home.runs, run.run_id):
            _take(delays, now.progress.message)
    finally:
        home.registry.close()
        home.runs.close()
    return delays


async def _to_client(world: World, mode: str, count: int) -> Delays:
    """Return the milliseconds after which each message of a ticking run reached a client."""
    delays: Delays = {}

    async def on_progress(_progress: float, _total: float | None, message: str | None) -> None:
        _take(delays, message)

    arguments = {"plugin": "gauge", "action": "tick", "mode": mode, "wait_seconds": 50}
    arguments["params"] = {"count": count}
    server = StdioServerParameters(command=SYNAPSE[0], args=SYNAPSE[1:], env=world.environment)
    async with Client(server) as client:
        reply = await client.call_tool("run_action", arguments, progress_callback=on_progress)
    assert not reply.is_error, reply
    return delays


def _take(delays: Delays, message: str | None) -> None:
    """Note when a message is seen first; it may be told twice."""
    if found := _EMITTED.search(message or ""):
        delays.setdefault(found.group(1), (time.time() - float(found.group(1))) * 1000)
