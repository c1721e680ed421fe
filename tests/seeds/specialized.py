"""The blocks that show the ready-made actions side by side, and the two ways to write one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from backend_worlds import document
from pydantic import BaseModel
from seeds.bench import Bench, step_class
from seeds.documents import Block
from upload_worlds import pictures

from synapse_core import actions
from synapse_core.actions.train import BaseTrainParams
from synapse_core.actions.upload import InitializeStep, UploadFilesStep
from synapse_core.steps import StepRegistry

DOCUMENT = "specialized-actions"


class InferParams(BaseModel):
    model_id: int
    inputs: list[int]


def side_by_side(block: Block, bench: Bench) -> None:
    bench.use_ultralytics()
    # `...` stands for the parameters that are not written out there, and for annotations.
    block = block.filled("primary_url, ...", "primary_url, primary_name, data_url, data_name, task_data=None")
    it = block.filled("[...]", "[primary_name]").run(
        Any=Any,
        StepRegistry=StepRegistry,
        BaseTrainAction=actions.BaseTrainAction,
        TrainParams=BaseTrainParams,
        BaseExportAction=actions.BaseExportAction,
        ExportParams=actions.ExportParams,
        BaseUploadAction=actions.BaseUploadAction,
        UploadParams=actions.UploadParams,
        UploadContext=actions.UploadContext,
        InitStep=InitializeStep,
        UploadFilesStep=UploadFilesStep,
        BaseInferenceAction=actions.BaseInferenceAction,
        InferParams=InferParams,
        AddTaskDataAction=actions.AddTaskDataAction,
    )
    world = bench.world

    bench.write("model.pt", "weights")
    model = bench.run(it.TrainAction, {"dataset": bench.dataset})
    assert bench.backend.get_model(model["id"]).dataset == bench.dataset

    exported = bench.run(it.ExportAction, {"filter": {"project": world.project.id}})
    assert (exported["success"], exported["exported_count"]) == (True, 3)
    assert Path(unquote(exported["output_path"].removeprefix("file://")), "labels/car0.json").is_file()

    uploaded = bench.run(it.UploadAction, {"path": str(pictures(bench.folder / "new", 2))})
    assert bench.logger.steps() == ["initialize", "upload_files"]
    assert (uploaded["steps_executed"], uploaded["data_units"]) == (2, 2)

    class Infer(it.InferAction):  # type: ignore[name-defined,misc]
        def infer(self, model: Any, inputs: list[int]) -> list[int]:
            factor = json.loads((model["path"] / "model.pt").read_text())["factor"]
            return [factor * one for one in inputs]

    params = {"model_id": bench.torch_model(3), "inputs": [1, 2]}
    assert bench.run(Infer, params) == {"predictions": [3, 6]}

    task = world.tasks[0]
    file = bench.write("boxes.json", json.dumps({str(task.id): document(30)}))
    annotated = bench.run(it.PreAnnotateAction, {"task_ids": [task.id], "file_path": str(file)})
    assert annotated["success_count"] == 1
    assert bench.backend.get_task(task.id).data == {"annotations": ["car0.png"]}


def two_modes(block: Block, bench: Bench) -> None:
    it = block.run(
        BaseTrainAction=actions.BaseTrainAction,
        Params=BaseTrainParams,
        StepRegistry=StepRegistry,
        TrainContext=actions.TrainContext,
        LoadDatasetStep=step_class("load_dataset"),
        TrainStep=step_class("train"),
        UploadModelStep=step_class("upload_model"),
    )

    assert bench.run(it.SimpleTrainAction) == {"weights_path": "/model.pt"}
    assert bench.run(it.StepTrainAction) == {"success": True, "steps_executed": 3, "steps_total": 3}
    assert bench.logger.steps() == ["load_dataset", "train", "upload_model"]


CASES = {1: side_by_side, 2: two_modes}
