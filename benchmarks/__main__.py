"""`python -m benchmarks [NAME …] [--short]`: measure, and print one line a figure."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time

from benchmarks.world import temporary_world

# The order in which they run: without Ray first.
BENCHMARKS = (
    "cold_start",
    "call_overhead",
    "local_run",
    "scale",
    "scaffold",
    "http_load",
    "dataset_conversion",
    "backend_http",
    "upload",
    "event_rate",
    "task_run",
    "job_run",
    "pipeline_run",
    "deployment",
    "event_delay",
    "server_memory",
)


def main() -> None:
    """Print the figures that were asked for. A missed target is told, not raised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--short", action="store_true", help="fewer pairs and runs")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    # Ended from outside, it still ends its cluster and deletes its home.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    begun = time.monotonic()
    with temporary_world(given.short) as world:
        for name in given.names or BENCHMARKS:
            # Only what is measured is imported: Ray is a burden for the figures that do without.
            for figure in importlib.import_module(f"benchmarks.{name}").figures(world):
                print(figure.line(), flush=True)
    print(f"measured in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
