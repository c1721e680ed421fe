"""How many events a second an action can write into its run folder, and whether all of them are there."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.measure import Figure
from benchmarks.world import World
from synapse_core.events import Log, Progress
from synapse_core.run_folder import RunFolder
from synapse_core.runs.tail import iterate_events

_LEAST = {"local": 20_000, "task": 30_000}
_KINDS = {"progress": Progress, "log": Log}
# Short, so that some of them are free of whatever else the machine does.
_EVENTS = 2_000
_PAIRS = 45


def figures(world: World) -> Iterator[Figure]:
    """Measured in the worker itself while the server follows the run; the fastest pairs count."""
    for mode, least in _LEAST.items():
        for kind in _KINDS:
            yield _figure(world, mode, kind, least)


def _figure(world: World, mode: str, kind: str, least: int) -> Figure:
    with world.server() as server:
        params = {"kind": kind, "pairs": _PAIRS, "events": _EVENTS}
        run = server.call(
            "run_action", plugin="gauge", action="flood", params=params, mode=mode, wait_seconds=50
        )
    ours = _EVENTS / min(run["result"]["events"])
    usual = _EVENTS / statistics.median(run["result"]["events"])
    bare = _EVENTS / min(run["result"]["writes"])
    lost = _PAIRS * _EVENTS - _recorded(world, run["run_id"], kind)
    return Figure(
        f"{kind} events into the run folder, {mode} (os.write)",
        f"{ours:,.0f} /s",
        f"{bare:,.0f} /s",
        bare / ours,
        f">= {least:,} /s",
        ours >= least and lost == 0,
        f"(fastest of {_PAIRS} pairs of {_EVENTS:,}, median {usual:,.0f} /s, {lost} lost)",
    )


def _recorded(world: World, run_id: str, kind: str) -> int:
    """Return how many events of a kind are in the run's folder. Raises where their numbers have gaps."""
    events = list(iterate_events(RunFolder(world.home / "runs" / run_id).events))
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "numbered without gaps"
    return sum(type(event) is _KINDS[kind] for event in events)
