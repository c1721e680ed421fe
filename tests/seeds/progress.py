"""The blocks about the names of progress."""

from __future__ import annotations

import json
from typing import Any

import pytest
from backend_worlds import document
from pydantic import BaseModel
from seeds.bench import Bench, step_class
from seeds.documents import Block
from upload_worlds import pictures

from synapse_core import BaseAction
from synapse_core.actions import (
    AddTaskDataAction,
    BaseExportAction,
    BaseInferenceAction,
    BaseTrainAction,
    BaseUploadAction,
    DatasetAction,
    UploadParams,
)
from synapse_core.actions.train import BaseTrainParams
from synapse_core.steps import StepRegistry

DOCUMENT = "progress-categories"


def words(categories: Any) -> dict[str, str]:
    """Return the constants of a class of categories."""
    return {name: value for name, value in vars(categories).items() if name.isupper()}


def usage(block: Block, bench: Bench) -> None:
    """The line works with every category of every action that has some."""
    for kind in (BaseTrainAction, BaseExportAction, BaseInferenceAction, AddTaskDataAction, DatasetAction):
        for name, value in words(kind.progress).items():
            fragment = block.filled("CATEGORY_NAME", name).function("self", "current", "total")
            fragment(kind(None, bench.context()), 2, 4)
            assert bench.logger.progress(value) == [(2, 4)]


def of_training(block: Block, bench: Bench) -> None:
    promised = {"DATASET": "dataset", "TRAIN": "train", "MODEL_UPLOAD": "model_upload"}
    assert words(block.run().TrainProgressCategories) == promised


def training(block: Block, bench: Bench) -> None:
    class Counter:
        """Learns how many images a dataset has."""

        def train(self, data: Any) -> None:
            bench.write("model/count.txt", str(data["count"]))

    it = block.run(BaseTrainAction=BaseTrainAction, Params=BaseTrainParams, model=Counter())
    model = bench.run(it.MyTrainAction, {"dataset": bench.dataset})

    assert bench.backend.get_model(model["id"]).name == model.name
    told = [bench.logger.progress(category)[-1] for category in ("dataset", "train", "model_upload")]
    assert told == [(100, 100), (2, 3), (3, 3)]


def of_export(block: Block, bench: Bench) -> None:
    assert words(block.run().ExportProgressCategories)["DATASET_CONVERSION"] == "dataset_conversion"


def export(block: Block, bench: Bench) -> None:
    class Params(BaseModel):
        filter: dict[str, Any]

    processed: list[int] = []
    it = block.run(BaseExportAction=BaseExportAction, Params=Params)

    class Export(it.MyExportAction):  # type: ignore[name-defined,misc]
        def process(self, item: Any) -> None:
            processed.append(item.id)

    assert bench.run(Export, {"filter": {"project": bench.world.project.id}}) == {"exported": 3}
    assert processed == [one.id for one in bench.world.assignments]
    assert bench.logger.progress("dataset_conversion") == [(1, 3), (2, 3), (3, 3)]


def of_inference(block: Block, bench: Bench) -> None:
    promised = {"MODEL_LOAD": "model_load", "INFERENCE": "inference", "POSTPROCESS": "postprocess"}
    assert words(block.run().InferenceProgressCategories) == promised


def inference(block: Block, bench: Bench) -> None:
    class Params(BaseModel):
        model_id: int
        inputs: list[int]

    it = block.run(BaseInferenceAction=BaseInferenceAction, Params=Params)

    class Infer(it.MyInferenceAction):  # type: ignore[name-defined,misc]
        def infer(self, model: Any, inputs: list[int]) -> list[int]:
            factor = json.loads((model["path"] / "model.pt").read_text())["factor"]
            return [factor * one for one in inputs]

    params = {"model_id": bench.torch_model(3), "inputs": [1, 2]}
    assert bench.run(Infer, params) == {"results": [3, 6]}
    told = [event.category for event in bench.logger.events]
    assert told == ["model_load", "inference", "postprocess"]


def of_deployment(block: Block, bench: Bench) -> None:
    promised = {"INITIALIZE": "initialize", "DEPLOY": "deploy", "REGISTER": "register"}
    assert words(block.run().DeploymentProgressCategories) == promised


def of_pre_annotation(block: Block, bench: Bench) -> None:
    promised = {"ANNOTATE_TASK_DATA": "annotate_task_data"}
    assert words(block.run().AddTaskDataProgressCategories) == promised


def pre_annotation(block: Block, bench: Bench) -> None:
    it = block.run(AddTaskDataAction=AddTaskDataAction)
    ids = [task.id for task in bench.world.tasks]
    file = bench.write("boxes.json", json.dumps({str(number): document(30) for number in ids[:2]}))
    result = bench.run(it.MyPreAnnotationAction, {"task_ids": ids, "file_path": str(file)})

    assert (result["success_count"], result["failed_count"]) == (2, 1)
    assert bench.logger.progress("annotate_task_data") == [(1, 3), (2, 3), (3, 3)]
    # What the action tells, and nothing that the class it derives from would have told.
    assert bench.logger.metrics("annotate_task_data")[-1] == {"success": 2, "failed": 1}


def of_upload(block: Block, bench: Bench) -> None:
    with pytest.warns(DeprecationWarning, match="UploadProgressCategories is deprecated"):
        found = words(block.run().UploadProgressCategories)
    promised = {"INITIALIZE": "initialize", "VALIDATE": "validate", "UPLOAD": "upload", "CLEANUP": "cleanup"}
    assert found == promised


def upload(block: Block, bench: Bench) -> None:
    """Both lines, the one of old and the one of now, in a step of an upload."""
    fragment = block.function("self", "ctx")

    class Upload(BaseUploadAction[UploadParams]):
        def setup_steps(self, registry: StepRegistry[Any]) -> None:
            super().setup_steps(registry)
            step = step_class("look_around", lambda context: fragment(self, context))
            registry.insert_before("upload_files", step())

    with pytest.warns(DeprecationWarning, match="name of a step"):
        bench.run(Upload, {"path": str(pictures(bench.folder / "new", 2))})
    assert (1, 4) in bench.logger.progress("initialize")
    assert bench.logger.progress("look_around") == [(1, 10)]


def custom(block: Block, bench: Bench) -> None:
    class Action(BaseAction[BaseTrainParams]):
        execute = block.function("self")

    bench.run(Action)
    assert bench.logger.progress("custom_phase") == [(50, 100)]


CASES = {
    1: usage,
    2: of_training,
    3: training,
    4: of_export,
    5: export,
    6: of_inference,
    7: inference,
    8: of_deployment,
    9: of_pre_annotation,
    10: pre_annotation,
    11: of_upload,
    12: upload,
    13: custom,
}
