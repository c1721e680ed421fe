"""The guide's blocks about the ready-made actions, each used as it is and with an own step or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from backend_worlds import document
from pydantic import BaseModel
from seeds.bench import GUIDE, Bench, step_class
from seeds.documents import Block
from upload_worlds import pictures

from synapse_core import run_plugin

DOCUMENT = GUIDE
EXPORT_STEPS = ["initialize", "fetch_results", "prepare_export", "convert_data", "save_files", "finalize"]
UPLOAD_STEPS = [
    "initialize",
    "validate_files",
    "analyze_collection",
    "organize_files",
    "generate_data_units",
    "upload_files",
    "(process_metadata)",  # there is no table with metadata
    "cleanup",
]


def training(block: Block, bench: Bench) -> None:
    bench.write("model/weights.pt", "weights")
    it = block.run()
    result = bench.run(it.MyTrainAction, {"dataset": bench.dataset})

    stored = bench.backend.get_model(result["model_id"])
    assert (stored.name, stored.dataset, stored.run_id) == ("trained-model", bench.dataset, "run-1")
    assert bench.logger.progress("train") == [(2, 3)]
    assert bench.logger.progress("dataset")[-2:] == [(100, 100), (1, 3)]
    # With a model to start from.
    bench.write("model/weights.pt", "better weights")
    again = bench.run(it.MyTrainAction, {"dataset": bench.dataset, "checkpoint": stored.id})
    assert bench.backend.get_model(again["model_id"]).checkpoint == stored.id


def export(block: Block, bench: Bench) -> None:
    it = block.run(MyCustomStep=step_class("my_custom"))
    result = bench.run(it.MyExportAction, {"filter": {"project": bench.world.project.id}})

    assert bench.logger.steps() == ["my_custom", *EXPORT_STEPS]
    assert (result["exported_count"], result["failed_count"], result["total_count"]) == (3, 0, 3)
    folder = Path(unquote(result["output_path"].removeprefix("file://")))
    assert json.loads((folder / "labels/car0.json").read_text()) == document(0)


def export_by_hand(block: Block, bench: Bench) -> None:
    it = block.run(BaseModel=BaseModel, Any=Any)
    params = {"filter": {"project": bench.world.project.id}, "output_format": "json"}

    assert bench.run(it.MyExportAction, params) == {"exported": 3}
    assert bench.logger.progress("dataset_conversion") == [(0, 3)]
    assert bench.logger.steps() == []


def inference(block: Block, bench: Bench) -> None:
    bench.use_torch()
    it = block.run(BaseModel=BaseModel, Any=Any)
    params = {"model_id": bench.torch_model(3), "inputs": [{"x": 1}, {"x": 5}]}

    assert bench.run(it.MyInferenceAction, params) == {"results": [{"prediction": 3}, {"prediction": 15}]}
    assert [event.category for event in bench.logger.events] == ["model_load", "inference"]


def datasets(block: Block, bench: Bench) -> None:
    bench.dataset_plugin()
    results = []

    def run_and_keep(*arguments: Any) -> Any:
        results.append(run_plugin(*arguments))
        return results[-1]

    block.filled("123", str(bench.dataset)).run(run_plugin=run_and_keep)

    downloaded, converted = results
    assert (downloaded.format, downloaded.count, converted.format, converted.count) == ("dm_v2", 3, "yolo", 3)
    assert len(list((downloaded.path / "original_files").rglob("*.png"))) == 3
    assert converted.config_path.name == "data.yaml"
    assert len(list(converted.path.rglob("labels/**/*.txt"))) == 3


def upload(block: Block, bench: Bench) -> None:
    it = block.run(MyCustomStep=step_class("my_custom"))
    result = bench.run(it.S3UploadAction, {"path": str(pictures(bench.folder / "new", 3))})

    assert bench.logger.steps() == ["my_custom", *UPLOAD_STEPS]
    assert (result["uploaded_files"], result["data_units"], result["status"]) == (3, 3, "completed")
    assert len(list(bench.backend.list_data_units())) == 3


def pre_annotation(block: Block, bench: Bench) -> None:
    it = block.run()
    ids = [task.id for task in bench.world.tasks[:2]]
    file = bench.write("boxes.json", json.dumps({str(number): document(30) for number in ids}))
    result = bench.run(it.MyAddTaskDataAction, {"task_ids": ids, "file_path": str(file)})

    assert bench.logger.steps() == [
        "validate_file",
        "load_annotations",
        "process_tasks",
        "upload_annotations",
    ]
    assert (result["status"], result["success_count"], result["failed_count"]) == ("completed", 2, 0)
    assert bench.backend.get_task(ids[0]).data == document(30)
    assert bench.logger.progress("annotate_task_data")[-1] == (2, 2)


def steps_of_a_training(block: Block, bench: Bench) -> None:
    class MyParams(BaseModel):
        dataset: str
        epochs: int = 100

    it = block.run(MyParams=MyParams, load_dataset=lambda path: Path(path).read_text().split())
    dataset = bench.write("words.txt", "some words of a dataset")
    result = bench.run(it.MyTrainAction, {"dataset": str(dataset), "epochs": 3})

    assert result == {"success": True, "steps_executed": 2, "steps_total": 2}
    assert bench.logger.steps() == ["load_dataset", "train"]
    # What a step tells stands under the step's own name.
    assert bench.logger.progress("train") == [(1, 3), (2, 3), (3, 3)]


CASES = {
    6: training,
    7: export,
    8: export_by_hand,
    9: inference,
    10: datasets,
    11: upload,
    12: pre_annotation,
    15: steps_of_a_training,
}
