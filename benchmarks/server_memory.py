"""Whether a server that has carried a thousand runs holds more than one that has carried a hundred."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure
from benchmarks.stdio import StdioServer, structure_of
from benchmarks.world import World

_MOST_GROWTH = 1.1
_IN_FLIGHT = 8
# What idles ends after 10 s (workers) and 10 s (threads); the connections of the pool stay.
_SETTLING_SECONDS = 1.0


def figures(world: World) -> Iterator[Figure]:
    """Most runs on a warm worker of Ray, which is fast; a hundred of them in processes of their own."""
    world.cluster  # noqa: B018  # started
    early, late = (50, 200) if world.is_short else (100, 1000)
    with world.server("task") as server:
        server.call("run_action", plugin="hello", action="greet", mode="local")
        _run(server, "local", early // 4)
        _run(server, "task", early - early // 4)
        before = _held(server.process.pid)
        _run(server, "local", early // 4)
        _run(server, "task", late - early - early // 4)
        after = _held(server.process.pid)
    of = f"(after {early} and {late} runs)"
    yield Figure(
        "memory of the server",
        f"{after[0] / 1e6:.1f} MB",
        f"{before[0] / 1e6:.1f} MB",
        after[0] / before[0],
        f"<= {_MOST_GROWTH:g} x",
        after[0] <= before[0] * _MOST_GROWTH,
        of,
    )
    for name, index in (("open files", 1), ("threads", 2)):
        yield Figure(
            f"{name} of the server",
            str(after[index]),
            str(before[index]),
            after[index] / before[index],
            f"<= {_MOST_GROWTH:g} x",
            after[index] <= before[index] * _MOST_GROWTH,
            of,
        )


def _run(server: StdioServer, mode: str, count: int) -> None:
    """Carry out `count` runs: in processes of their own several at a time, on Ray one after the other."""
    in_flight = _IN_FLIGHT if mode == "local" else 1
    arguments = {"plugin": "hello", "action": "greet", "mode": mode, "wait_seconds": 50}
    asked = 0
    for answered in range(count):
        while asked < count and asked - answered < in_flight:
            server.send("tools/call", {"name": "run_action", "arguments": arguments})
            asked += 1
        structure_of(server.receive()[1])


def _held(pid: int) -> tuple[int, int, int]:
    """Return the resident bytes, open descriptors and threads of a process that has come to rest."""
    time.sleep(_SETTLING_SECONDS)
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )
