"""Whether a server that has carried a thousand runs holds more than at its start, or after a hundred."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure
from benchmarks.stdio import StdioServer, structure_of
from benchmarks.world import World

_MOST_GROWTH = 1.1
_MOST_OF_START = 1.2
_EVENTS = 100
_IN_FLIGHT = 8
# What idles ends after 10 s (workers) and 10 s (threads); the connections of the pool stay.
_SETTLING_SECONDS = 1.0


def figures(world: World) -> Iterator[Figure]:
    """Most runs on a warm worker of Ray, which is fast; a hundred of them in processes of their own."""
    world.cluster  # noqa: B018  # started
    early, late = (50, 200) if world.is_short else (100, 1000)
    with world.server() as server:
        start = _held(server.process.pid)
        for mode in ("task", "local"):
            server.call("run_action", plugin="hello", action="greet", mode=mode, wait_seconds=50)
        first = _held(server.process.pid)
        _run(server, "local", early // 4)
        _run(server, "task", early - early // 4)
        before = _held(server.process.pid)
        _run(server, "local", early // 4)
        _run(server, "task", late - early - early // 4)
        after = _held(server.process.pid)
    of = f"(after {late} runs of {_EVENTS} events)"
    yield _growth("memory of the server since its start", start, after, _MOST_OF_START, of)
    yield _growth("memory of the server since its first runs", first, after, _MOST_OF_START, of)
    of = f"(after {early} and {late} runs)"
    yield _growth("memory of the server", before, after, _MOST_GROWTH, of)
    for name, index in (("open files", 1), ("threads", 2)):
        yield _growth(f"{name} of the server", before, after, _MOST_GROWTH, of, index)


def _growth(
    name: str, before: tuple[int, ...], after: tuple[int, ...], most: float, of: str, index: int = 0
) -> Figure:
    """Return the figure of what is held; index: of which of the numbers of `_held`."""
    held, then = after[index], before[index]
    shown = [str(number) if index else f"{number / 1e6:.1f} MB" for number in (held, then)]
    return Figure(name, *shown, held / then, f"<= {most:g} x", held <= then * most, of)


def _run(server: StdioServer, mode: str, count: int) -> None:
    """Carry out `count` runs: in processes of their own several at a time, on Ray one after the other."""
    in_flight = _IN_FLIGHT if mode == "local" else 1
    params = {"repeat": _EVENTS}
    arguments = {"plugin": "hello", "action": "greet", "params": params, "mode": mode, "wait_seconds": 50}
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
