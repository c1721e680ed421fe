"""A trivial action in a process of its own, from the call to its answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.world import World

_BARE = [sys.executable, "-c", "import pydantic; pydantic.BaseModel"]


def figures(world: World) -> Iterator[Figure]:
    with world.server("local") as server:
        ours, baseline = interleaved(
            lambda: milliseconds(
                lambda: server.call("run_action", plugin="hello", action="greet", mode="local")
            ),
            lambda: milliseconds(lambda: subprocess.run(_BARE, check=True, env=world.environment)),
            world.pairs(15),
        )
    yield at_most("run_action, local (python -c 'import pydantic')", ours, baseline, 3)
