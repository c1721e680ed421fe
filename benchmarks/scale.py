"""What the same calls cost on a store as it is after years of use, beside a small one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.large_stores import fill_runs, write_dataset, write_log, write_plugins
from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.stdio import SYNAPSE, StdioServer
from benchmarks.world import World

# A list call on the large store is to be over in 100 ms, whatever the small one takes.
_MOST_MS = 100.0


def figures(world: World) -> Iterator[Figure]:
    sizes = {"small": (100, 1_000, 50, 5), "large": (10_000, 200_000, 5_000, 500)}
    calls: dict[str, dict[str, tuple[str, dict[str, object]]]] = {}
    with ExitStack() as stack:
        servers = {}
        for name, (runs, lines, classes, plugins) in sizes.items():
            home = world.home / name
            run_id = fill_runs(home, runs)[-1]
            write_log(home, run_id, lines)
            write_dataset(home / "data", classes)
            write_plugins(home / "plugins", plugins)
            servers[name] = stack.enter_context(_server(world, home))
            calls[name] = {
                "list_runs": ("list_runs", {}),
                "list_runs of a state": ("list_runs", {"state": "failed"}),
                "get_run": ("get_run", {"run_id": run_id}),
                "get_run_logs": ("get_run_logs", {"run_id": run_id}),
                "list_plugins": ("list_plugins", {}),
                "get_status": ("get_status", {}),
                "inspect_dataset": ("inspect_dataset", {"path": str(home / "data")}),
            }
        for name in calls["large"]:

            def timed(size: str, name: str = name) -> float:
                tool, arguments = calls[size][name]
                return milliseconds(lambda: servers[size].call(tool, **arguments))

            large, small = interleaved(lambda: timed("large"), lambda: timed("small"), world.pairs(25))
            # Looking into a dataset is reading it: that costs by its size.
            most = 1.0 if name != "inspect_dataset" else 100.0
            yield at_most(f"{name}: a large store beside a small one", large, small, most, _MOST_MS)


def _server(world: World, home: Path) -> StdioServer:
    return StdioServer(SYNAPSE, {**world.environment, "SYNAPSE_HOME": str(home)})
