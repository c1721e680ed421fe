"""How many events a second an action can write into its run folder."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.measure import Figure
from benchmarks.world import World

_LEAST = 20_000
_EVENTS = 11_000


def figures(world: World) -> Iterator[Figure]:
    """Measured in the worker itself while the server follows the run."""
    for kind in ("progress", "log"):
        with world.server() as server:
            params = {"kind": kind, "pairs": 9, "events": _EVENTS}
            run = server.call("run_action", plugin="gauge", action="flood", params=params, wait_seconds=50)
        ours = _EVENTS / statistics.median(run["result"]["events"])
        bare = _EVENTS / statistics.median(run["result"]["writes"])
        yield Figure(
            f"{kind} events into the run folder (bare os.write)",
            f"{ours:,.0f} /s",
            f"{bare:,.0f} /s",
            bare / ours,
            f">= {_LEAST:,} /s",
            ours >= _LEAST,
            f"(9 pairs of {_EVENTS:,})",
        )
