"""The step guide's blocks about the ready-made actions, whose steps are added to, replaced or left out."""

from __future__ import annotations

import json
from typing import Any

from backend_worlds import document
from seeds.bench import Bench, step_class
from seeds.documents import Block
from seeds.guide_ready_made import EXPORT_STEPS, UPLOAD_STEPS
from upload_worlds import pictures

from synapse_core import run_plugin
from synapse_core.actions import AddTaskDataParams, UploadParams
from synapse_core.actions.train import BaseTrainParams
from synapse_core.actions.upload import OrganizeFilesStep, UploadFilesStep, ValidateFilesStep
from synapse_core.steps import StepRegistry

DOCUMENT = "step-guide"


def changed_upload(block: Block, bench: Bench) -> None:
    seen: list[int] = []
    it = block.run(
        UploadParams=UploadParams,
        StepRegistry=StepRegistry,
        MyPreUploadStep=step_class("pre", lambda context: seen.append(len(context.data_units))),
        MyPostUploadStep=step_class("post", lambda context: seen.append(len(context.uploaded_files))),
        MyCustomMetadataStep=step_class("custom_metadata"),
    )
    result = bench.run(it.MyUploadAction, {"path": str(pictures(bench.folder / "new", 3))})

    steps = [*UPLOAD_STEPS[:5], "pre", "upload_files", "post", "cleanup", "custom_metadata"]
    assert bench.logger.steps() == steps
    assert (result["data_units"], seen) == (3, [3, 3])


def changed_export(block: Block, bench: Bench) -> None:
    it = block.run(
        MyValidationStep=step_class("validate"),
        MyNotificationStep=step_class("notify"),
        MyCustomFinalizeStep=step_class("custom_finalize"),
    )
    result = bench.run(it.MyExportAction, {"filter": {"project": bench.world.project.id}})

    *begun, convert, save, _ = EXPORT_STEPS
    assert bench.logger.steps() == [*begun, "validate", convert, save, "notify", "custom_finalize"]
    assert (result["exported_count"], result["steps_executed"]) == (3, 8)


def pre_annotation(block: Block, bench: Bench) -> None:
    it = block.run(AddTaskDataParams=AddTaskDataParams)
    task = bench.world.tasks[0]
    file = bench.write("boxes.json", json.dumps({str(task.id): document(30)}))
    result = bench.run(it.MyAddTaskDataAction, {"task_ids": [task.id], "file_path": str(file)})

    assert (result["success_count"], bench.backend.get_task(task.id).data) == (1, document(30))
    assert len(bench.logger.steps()) == 4

    class Predicting(it.MyAddTaskDataAction):  # type: ignore[name-defined,misc]
        def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
            return [document(20) for _ in inputs]

    params = {"task_ids": [task.id], "method": "inference", "model_id": bench.torch_model()}
    assert bench.run(Predicting, params)["success_count"] == 1
    assert bench.logger.steps() == ["load_model", "run_inference", "format_results", "upload_annotations"]
    assert bench.backend.get_task(task.id).data == document(20)


def conversion(block: Block, bench: Bench) -> None:
    bench.dataset_plugin()
    it = block.filled("123", str(bench.dataset)).run(run_plugin=run_plugin)

    assert (it.result.format, it.result.count) == ("yolo", 3)
    assert it.result.config_path.is_file()


def training(block: Block, bench: Bench) -> None:
    steps = {
        "PrepareDatasetStep": step_class("prepare_dataset", lambda context: context.training.get_dataset()),
        "InitializeModelStep": step_class("initialize_model"),
        "TrainModelStep": step_class("train_model", lambda context: bench.write("model.pt", "weights")),
        "SaveCheckpointStep": step_class("save_checkpoint"),
        "UploadModelStep": step_class("upload", lambda context: context.training.create_model("model.pt")),
    }
    it = block.run(TrainParams=BaseTrainParams, **steps)
    result = bench.run(it.MyTrainAction, {"dataset": bench.dataset})

    assert (result["success"], result["steps_executed"], result["steps_total"]) == (True, 5, 5)
    assert bench.backend.get_model(result["model_id"]).dataset == bench.dataset
    # execute() by itself runs the same steps.
    summary = it.MyTrainAction(BaseTrainParams(dataset=bench.dataset), bench.context()).execute()
    assert summary == {"success": True, "steps_executed": 5, "steps_total": 5}
    assert len(bench.logger.steps()) == 5


def upload(block: Block, bench: Bench) -> None:
    stored: list[int] = []

    def verify(context: Any) -> None:
        stored.extend(context.storage.stat(file.path).size_bytes for file in context.uploaded_files)

    it = block.run(
        UploadParams=UploadParams,
        ValidateFilesStep=ValidateFilesStep,
        OrganizeFilesStep=OrganizeFilesStep,
        UploadFilesStep=UploadFilesStep,
        VerifyUploadStep=step_class("verify_upload", verify),
    )
    folder = pictures(bench.folder / "new", 3)
    result = bench.run(it.MyUploadAction, {"path": str(folder)})

    assert bench.logger.steps() == ["validate_files", "organize_files", "upload_files", "verify_upload"]
    assert result["data_units"] == 3
    assert sorted(stored) == sorted(path.stat().st_size for path in folder.iterdir())


CASES = {13: changed_upload, 14: changed_export, 15: pre_annotation, 16: conversion, 17: training, 18: upload}
