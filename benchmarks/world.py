"""What the benchmarks share: a temporary home, servers on it, one Ray cluster."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stdio import HERE, SYNAPSE, StdioServer
from synapse_core.executors.ray import RayCluster
from synapse_core.executors.ray.connection import prepare_environment

PLUGINS = HERE / "plugins"


@dataclass
class World:
    """home: a folder of this run's own. is_short: fewer pairs, for a look rather than a statement."""

    home: Path
    is_short: bool
    environment: dict[str, str] = field(init=False)
    _cluster: RayCluster | None = None

    def __post_init__(self) -> None:
        self.environment = {**os.environ, "SYNAPSE_HOME": str(self.home)}
        for name in ("SYNAPSE_PLUGIN_PATHS", "SYNAPSE_RAY_ADDRESS", "RAY_ADDRESS", "SYNAPSE_DATABASE_URL"):
            self.environment.pop(name, None)
        # Installed packages come compiled; ours is compiled by its first run, which is not measured.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def pairs(self, usual: int) -> int:
        """Return how many pairs to take."""
        return 9 if self.is_short else usual

    @property
    def cluster(self) -> RayCluster:
        """The home's cluster, started when first asked for, and this process connected to it."""
        if self._cluster is None:
            self._cluster = RayCluster(self.home)
            self._cluster.connect()
        return self._cluster

    @contextmanager
    def server(self, mode: str | None = None) -> Iterator[StdioServer]:
        """Give a Synapse server that has described the example plugin, and run it once in `mode`."""
        with StdioServer(SYNAPSE, self.environment) as server:
            server.call("describe_plugin", plugin="hello", action="greet")
            if mode is not None:
                server.call("run_action", plugin="hello", action="greet", mode=mode, wait_seconds=50)
            yield server

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.disconnect()
            self._cluster.stop()


@contextmanager
def temporary_world(is_short: bool) -> Iterator[World]:
    """Give a world; everything that it started is ended and deleted afterwards."""
    home = Path(tempfile.mkdtemp(prefix="synapse-bench-"))
    prepare_environment()  # before a benchmark imports Ray
    world = World(home, is_short)
    try:
        yield world
    finally:
        world.close()
        shutil.rmtree(home, ignore_errors=True)
