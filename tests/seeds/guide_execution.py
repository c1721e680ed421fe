"""The guide's blocks about running actions: executors, pipelines, discovery, and a test of an action."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from seeds.bench import GUIDE, Bench
from seeds.documents import Block, block

from synapse_core import run_plugin
from synapse_core.discovery import PluginDiscovery
from synapse_core.enums import RunStatus
from synapse_core.errors import ActionNotFoundError, InvalidRequest
from synapse_core.executors.ray import RayPipelineExecutor
from synapse_core.pipelines import ActionPipeline

DOCUMENT = GUIDE
FLOW = """
import time
from pathlib import Path

from pydantic import BaseModel

from synapse_core import BaseAction


class Params(BaseModel):
    dataset: int = 0
    count: int = 0
    gate: str | None = None


class Result(BaseModel):
    count: int


class DownloadAction(BaseAction[Params]):
    result_model = Result

    def execute(self):
        self.set_progress(1, 1, category="download")
        while self.params.gate and not Path(self.params.gate).exists():
            time.sleep(0.01)
            self.ctx.raise_if_stopped()
        return Result(count=self.params.dataset)


class ProcessAction(DownloadAction):
    def execute(self):
        return Result(count=self.params.count + 1)


class UploadAction(DownloadAction):
    def execute(self):
        return Result(count=2 * self.params.count)
"""
FLOW_NAMES = {"download": "DownloadAction", "process": "ProcessAction", "upload": "UploadAction"}


def flow(bench: Bench) -> dict[str, Any]:
    """Write a plugin of three actions, and return them by the names of their classes."""
    entries = "".join(f'  {name}: {{entrypoint: "flow:{kind}"}}\n' for name, kind in FLOW_NAMES.items())
    root = bench.plugin("flow", f"name: Flow\ncode: flow\nactions:\n{entries}", flow=FLOW)
    plugin = PluginDiscovery.from_path(root)
    return {kind: plugin.get_action_class(name) for name, kind in FLOW_NAMES.items()}


def train_action() -> SimpleNamespace:
    """Return what the guide's first block defines."""
    return block(GUIDE, 1).after("def train_epoch(epoch, lr):\n    return lr / (epoch + 1)\n").run()


def guide_result(epochs: int) -> dict[str, Any]:
    """Return what the guide's training returns, as plain data."""
    return {"weights_path": "/model/weights.pt", "final_loss": 0.001 / epochs, "epochs_completed": epochs}


def pipeline(block: Block, bench: Bench) -> None:
    bench.use_cluster()
    told: list[str] = []
    it = block.run(print=told.append, **flow(bench))
    final = asyncio.run(it.run_pipeline_async())

    assert told == ["Pipeline completed: completed"]
    assert (final.status, final.overall_progress) == (RunStatus.COMPLETED, 100)
    assert list(final.actions) == list(FLOW_NAMES)
    with RayPipelineExecutor() as executor:
        assert executor.get_result(final.run_id) == {"count": 248}


def watched_pipeline(block: Block, bench: Bench) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("Current: download"):
            bench.write("gate")

    monitor = block.run(print=tell).monitor_progress
    actions = flow(bench)
    with RayPipelineExecutor(mode="local") as executor:
        params = {"dataset": 123, "gate": str(bench.folder / "gate")}
        run_id = ActionPipeline(list(actions.values())).submit(params, executor)
        final = asyncio.run(monitor(executor, run_id))

    assert final.status == "COMPLETED"
    assert told[-2:] == ["Status: completed", "Progress: 100.0%"]


def by_code(block: Block, bench: Bench) -> None:
    bench.guide_plugin()
    result = block.run().result

    assert result.model_dump() == guide_result(10)


def by_executor(block: Block, bench: Bench) -> None:
    it = block.run(TrainAction=train_action().TrainAction)
    assert it.result.model_dump() == guide_result(10)


def on_an_actor(block: Block, bench: Bench) -> None:
    bench.use_cluster()
    root = bench.guide_plugin()
    action = PluginDiscovery.from_path(root).get_action_class("train")
    block = block.filled("/path/to/plugin", str(root))

    # The cluster of the tests has no GPU: that is said, and not waited for.
    with pytest.raises(InvalidRequest, match="1 GPUs; the largest node of the cluster has 0 GPUs"):
        block.run(TrainAction=action)
    block = block.filled("num_gpus=1", "num_gpus=0")
    # A class of the plugin, and one that was defined in the script itself.
    for kind in (action, train_action().TrainAction):
        assert block.run(TrainAction=kind).result.model_dump() == guide_result(100)


def as_a_job(block: Block, bench: Bench) -> None:
    cluster = bench.use_cluster()
    root = bench.guide_plugin()
    block = block.filled("http://ray-cluster:8265", cluster.status().dashboard_url)
    it = block.filled("/path/to/plugin", str(root)).run()

    assert it.result == guide_result(100)
    assert it.status in ("PENDING", "RUNNING", "SUCCEEDED")
    assert isinstance(it.logs, str)
    assert it.executor.get_status(it.job_id) == "SUCCEEDED"
    assert "train_start" in it.executor.get_logs(it.job_id)
    it.executor.close()


def as_a_job_of_the_jobs_api(block: Block, bench: Bench) -> None:
    cluster = bench.use_cluster()
    block = block.filled("http://ray-cluster:8265", cluster.status().dashboard_url)
    # Installing needs the network; that a run's packages are installed is tested with wheels elsewhere.
    block = block.filled("['ultralytics>=8.0']", "[]")
    it = block.filled("/path/to/plugin", str(bench.guide_plugin())).run()

    assert it.result == guide_result(100)
    assert it.executor.get_status(it.job_id) == "SUCCEEDED"
    it.executor.close()


def discovery(block: Block, bench: Bench) -> None:
    it = block.filled("/path/to/plugin", str(bench.guide_plugin())).run()

    assert it.actions == ["train", "export", "infer"]
    assert (it.TrainAction.__name__, it.TrainAction.action_name) == ("TrainAction", "train")
    with pytest.raises(ActionNotFoundError, match="train, export, infer"):
        it.discovery.get_action_class("test")
    assert run_plugin("my_plugin", "export") == {"exported": 1}
    assert Path(it.discovery.root).name == "my_plugin"


def test_of_an_action(block: Block, bench: Bench) -> None:
    """The test reads the result as a mapping, so its action returns one."""
    it = train_action()

    class TrainAction(it.TrainAction):  # type: ignore[name-defined,misc]
        def execute(self) -> Any:
            return super().execute().model_dump()

    block.run(TrainAction=TrainAction).test_train_action()


CASES = {
    17: pipeline,
    18: watched_pipeline,
    19: by_code,
    20: by_executor,
    21: on_an_actor,
    22: as_a_job,
    23: as_a_job_of_the_jobs_api,
    34: discovery,
    37: test_of_an_action,
}
ON_RAY = (17, 21, 22, 23)
