"""A new plugin, from the call that writes it to the answer of its first run."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Figure, interleaved, milliseconds
from benchmarks.world import World

_BARE = [sys.executable, "-c", "import pydantic; pydantic.BaseModel"]
_MOST_MS = 2000.0


def figures(world: World) -> Iterator[Figure]:
    numbers = itertools.count()
    with world.server("local") as server:

        def ours() -> None:
            code = f"new{next(numbers)}"
            place = str(world.home / "plugins")
            made = server.call("create_plugin", code=code, category="neural_net", path=place)
            server.call("run_action", plugin=code, action=made["actions"][0], mode="local", wait_seconds=50)

        mine, theirs = interleaved(
            lambda: milliseconds(ours),
            lambda: milliseconds(lambda: subprocess.run(_BARE, check=True, env=world.environment)),
            world.pairs(15),
        )
    middle, bare = statistics.median(mine), statistics.median(theirs)
    yield Figure(
        "create_plugin and its first run (python -c)",
        f"{middle:.2f} ms",
        f"{bare:.2f} ms",
        middle / bare,
        f"<= {_MOST_MS:g} ms",
        middle <= _MOST_MS,
        f"({len(mine)} pairs, fastest {min(mine):.2f} and {min(theirs):.2f} ms)",
    )
