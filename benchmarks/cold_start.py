"""From the start of the process to its first tools/list answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.stdio import HELLO, SYNAPSE, StdioServer
from benchmarks.world import World

_HEAVY = ("ray", "numpy", "sqlalchemy", "fastapi")


def figures(world: World) -> Iterator[Figure]:
    for is_modern, era in ((True, "modern"), (False, "legacy")):
        ours, baseline = interleaved(
            lambda is_modern=is_modern: _first_list(SYNAPSE, world, is_modern),
            lambda is_modern=is_modern: _first_list(HELLO, world, is_modern),
            world.pairs(11),
        )
        yield at_most(f"cold start to tools/list, {era} (hello server)", ours, baseline, 1.15)
    heavy = _imported(world).intersection(_HEAVY)
    yield Figure(
        f"cold start imports none of {', '.join(_HEAVY)}",
        ", ".join(sorted(heavy)) or "none",
        target="none",
        is_met=not heavy,
    )


def _first_list(command: Sequence[str], world: World, is_modern: bool) -> float:
    """Return the milliseconds to the first answer; the end of the process is not timed."""
    servers: list[StdioServer] = []

    def start() -> None:
        servers.append(StdioServer(command, world.environment, is_modern=is_modern))
        servers[0].ask("tools/list")

    took = milliseconds(start)
    servers[0].close()
    return took


def _imported(world: World) -> set[str]:
    """Return the top-level packages that a server has imported by its first answer."""
    command = [SYNAPSE[0], "-X", "importtime", *SYNAPSE[1:]]
    # A file: nobody reads a pipe while the server starts, and its lines would fill one.
    with tempfile.TemporaryFile("w+") as told:
        with StdioServer(command, world.environment, stderr=told.fileno()) as server:
            server.ask("tools/list")
            server.process.kill()  # nothing that its clean-up may import counts
        told.seek(0)
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in told if "|" in line}
