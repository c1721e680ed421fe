"""What a block is run on: a home with a backend, plugins in a folder, a logger that keeps what it is told."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger, World, seed
from seeds.documents import blocks

from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.events import Log
from synapse_core.executors import LocalExecutor
from synapse_core.steps import BaseStep, Orchestrator, StepRegistry, StepResult

GUIDE = "action-development-guide"


@dataclass
class Bench:
    """One test's home and working folder."""

    home: Path
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest
    logger: RecordingLogger = field(default_factory=RecordingLogger)

    @cached_property
    def backend(self) -> LocalBackend:
        opened = LocalBackend(self.home)
        self.request.addfinalizer(opened.close)
        return opened

    @cached_property
    def world(self) -> World:
        """A project of three images, all annotated."""
        return seed(self.backend, self.folder / "images", [f"car{number}.png" for number in range(3)])

    @cached_property
    def dataset(self) -> int:
        """A version of what is annotated."""
        return self.backend.create_ground_truth_version("cars", "1", project=self.world.project.id).id

    def run(self, action: Any, params: dict[str, Any] | None = None) -> Any:
        """Run an action as a script does, with the home's backend. The logger keeps what this run tells."""
        self.logger = RecordingLogger()
        return LocalExecutor(job_id="run-1", logger=self.logger).execute(action, params)

    def context(self) -> RuntimeContext:
        """Return what an action is given, for what is called without an executor."""
        self.logger = RecordingLogger()
        return RuntimeContext(self.logger, client=self.backend, job_id="run-1")

    def work_through(self, context: Any, *steps: BaseStep[Any]) -> dict[str, Any]:
        registry: StepRegistry[Any] = StepRegistry()
        for one in steps:
            registry.register(one)
        return Orchestrator(registry, context).execute()

    def logs(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries that the last run logged under names of its own."""
        return [(event.event, dict(event.data)) for event in self.logger.events if isinstance(event, Log)]

    def write(self, name: str, text: str = "content") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plugin(self, code: str, config: str, **modules: str) -> Path:
        """Write a plugin where plugins are looked for."""
        root = self.folder / "plugins" / code
        self.write(f"plugins/{code}/config.yaml", config)
        for name, text in modules.items():
            self.write(f"plugins/{code}/{name}.py", text)
        self.monkeypatch.setenv("SYNAPSE_PLUGIN_PATHS", str(root.parent))
        return root

    def guide_plugin(self) -> Path:
        """Write the plugin of the guide: its config.yaml, and its first action."""
        (config,) = blocks(GUIDE, "yaml")
        return self.plugin("my_plugin", config.text, actions=blocks(GUIDE)[0].after(_REST_OF_PLUGIN).source)

    def dataset_plugin(self) -> Path:
        """Write a plugin called `plugin`, with the guide's action for datasets."""
        source = next(one for one in blocks(GUIDE) if "class MyDatasetAction" in one.text).source
        config = 'name: Plugin\ncode: plugin\nactions: {dataset: {entrypoint: "datasets:MyDatasetAction"}}\n'
        # The calls behind it are the user's, not the plugin's.
        return self.plugin("plugin", config, datasets=source.partition("# Usage")[0])

    def use_torch(self) -> None:
        """Put something called torch in place, whose `load` reads JSON: 900 MB for one call are too much."""

        class Model:
            def __init__(self, path: Any) -> None:
                self.factor = json.loads(Path(path).read_text())["factor"]

            def predict(self, value: Any) -> Any:
                return self.factor * value["x"]

        torch = types.ModuleType("torch")
        torch.load = Model  # type: ignore[attr-defined]
        self.monkeypatch.setitem(sys.modules, "torch", torch)

    def torch_model(self, factor: int = 3) -> int:
        """Register a model that `use_torch` can read."""
        self.write("torch-model/model.pt", json.dumps({"factor": factor}))
        return self.backend.create_model("multiplier", self.folder / "torch-model").id

    def use_ultralytics(self) -> None:
        """Where the real package is not installed, put a trainer where it has one, to be listened to."""
        if importlib.util.find_spec("ultralytics") is not None:
            return

        class BaseTrainer:
            def train(self) -> None:
                return

        engine = types.ModuleType("ultralytics.engine.trainer")
        engine.BaseTrainer = BaseTrainer  # type: ignore[attr-defined]
        for name in ("ultralytics", "ultralytics.engine"):
            self.monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        self.monkeypatch.setitem(sys.modules, engine.__name__, engine)

    def use_cluster(self) -> Any:
        """Make the home that of the session's cluster, so that 'auto' means it. Returns the cluster."""
        cluster = self.request.getfixturevalue("cluster")
        self.monkeypatch.setenv("SYNAPSE_HOME", str(self.request.getfixturevalue("ray_home")))
        cluster.connect()
        return cluster


def step_class(
    title: str,
    work: Callable[[Any], Any] = lambda context: None,
    undo: Callable[[Any, StepResult], Any] = lambda context, result: None,
    weight: float = 0.1,
) -> type[BaseStep[Any]]:
    """Return a step that does something small."""

    class Step(BaseStep[Any]):
        @property
        def name(self) -> str:
            return title

        @property
        def progress_weight(self) -> float:
            return weight

        def execute(self, context: Any) -> StepResult:
            made = work(context)
            return made if isinstance(made, StepResult) else StepResult()

        def rollback(self, context: Any, result: StepResult) -> None:
            undo(context, result)

    return Step


def make_bench(home: Path, folder: Path, request: pytest.FixtureRequest) -> Bench:
    """Return a bench whose folder is the working folder of the test."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Bench(home, folder, monkeypatch, request)


_REST_OF_PLUGIN = """
from synapse_core import BaseAction as _Base


def train_epoch(epoch, lr):
    return lr / (epoch + 1)


class ExportAction(_Base):
    def execute(self):
        return {"exported": 1}


class InferAction(_Base):
    def execute(self):
        return {"inferred": 1}

"""
