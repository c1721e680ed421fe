"""What the tests share: homes below temporary folders, the example plugins, one Ray cluster a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from synapse_core.events import AnyEvent
from synapse_core.executors import Executor, ProcessExecutor
from synapse_core.executors.ray import RayActorExecutor, RayCluster, RayJobRuns
from synapse_core.registry import Registry
from synapse_core.runs import Run, Runs
from synapse_core.runs.request import make_request
from synapse_mcp.settings import example_plugins
from synapse_mcp.switches import SWITCHES

WAIT_SECONDS = 60.0

# What commands print does not depend on the terminal from which the tests were started.
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS"):
    os.environ.pop(_name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-long", action="store_true", help="200 kills and large floods; takes an hour")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those on Ray share one of them, and with it one cluster.

    Those with clusters of their own share another. First, because the plugin that shares the tests out reads
    the groups in the same hook.
    """
    for item in items:
        if (marker := item.get_closest_marker("ray")) is not None:
            item.add_marker(pytest.mark.xdist_group(" ".join((*marker.args, "ray"))))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a home of its own, and nothing of the user's settings."""
    for name in ("SYNAPSE_PLUGIN_PATHS", "SYNAPSE_RAY_ADDRESS", "RAY_ADDRESS", "SYNAPSE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for switch in SWITCHES:
        monkeypatch.delenv(switch.variable, raising=False)
    for name in ("SYNAPSE_PROFILE", "SYNAPSE_HOST", "SYNAPSE_ACCESS_TOKEN", "SYNAPSE_TENANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNAPSE_CONFIG", str(tmp_path / "config.yaml"))
    folder = tmp_path / "home"
    monkeypatch.setenv("SYNAPSE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The example plugins."""
    opened = Registry([example_plugins()], tmp_path_factory.mktemp("descriptions"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def ray_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running Ray cluster of its own, stopped at the end of the session."""
    folder = tmp_path_factory.mktemp("ray-home")
    cluster = RayCluster(folder)
    cluster.connect()
    yield folder
    cluster.disconnect()
    assert cluster.stop()


@pytest.fixture(scope="module")
def unconnected() -> None:
    """Let go of the cluster that other tests of this session use; they connect to it anew."""
    if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
        ray.shutdown()


@pytest.fixture(scope="session")
def cluster(ray_home: Path) -> RayCluster:
    return RayCluster(ray_home)


@dataclass
class Laboratory:
    """Runs of the example plugins in one mode."""

    mode: str
    home: Path
    registry: Registry
    executors: dict[str, Executor]
    runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        self.runs = Runs(self.home, self.executors)

    def begin(self, action: str, params: dict[str, Any] | None = None, run_key: str | None = None) -> str:
        """Submit an action of `hello` and have it started. Returns the run_id."""
        request = make_request(
            self.registry, "hello", action, params or {}, mode=self.mode, modes=self.runs.modes
        )
        run, is_new = self.runs.submit(request, run_key)
        if is_new:
            self.runs.start(run.run_id)
        return run.run_id

    def run(self, action: str, params: dict[str, Any] | None = None) -> Run:
        """Run an action of `hello` to its end."""
        ended = self.runs.wait(self.begin(action, params), WAIT_SECONDS)
        assert ended.is_done, f"{ended.run_id} did not end within {WAIT_SECONDS:g} s: {ended}"
        return ended

    def events(self, run: Run) -> list[AnyEvent]:
        return list(self.runs.events(run.run_id))

    def until(self, run_id: str, wanted: Callable[[Run], bool]) -> Run:
        """Return the run once it is as wanted."""
        import time

        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            run = self.runs.get(run_id)
            if wanted(run):
                return run
            time.sleep(0.01)
        raise AssertionError(f"{run_id} never became as wanted: {self.runs.get(run_id)}")


@pytest.fixture
def local_lab(home: Path, registry: Registry) -> Iterator[Laboratory]:
    laboratory = Laboratory("local", home, registry, {"local": ProcessExecutor()})
    yield laboratory
    laboratory.runs.close()


@pytest.fixture(
    params=["local", pytest.param("task", marks=pytest.mark.ray), pytest.param("job", marks=pytest.mark.ray)]
)
def lab(request: pytest.FixtureRequest, home: Path, registry: Registry) -> Iterator[Laboratory]:
    """One laboratory for each executor of recorded runs."""
    executors: dict[str, Executor] = {"local": ProcessExecutor()}
    if request.param == "task":
        executors["task"] = RayActorExecutor(cluster=request.getfixturevalue("cluster"))
    if request.param == "job":
        executors["job"] = RayJobRuns(request.getfixturevalue("cluster"))
    laboratory = Laboratory(request.param, home, registry, executors)
    yield laboratory
    for run in laboratory.runs.list(state="active", limit=100)[0]:
        laboratory.runs.stop(run.run_id, force=True)
    laboratory.runs.close()
