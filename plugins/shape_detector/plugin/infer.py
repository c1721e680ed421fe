"""Inference: a registered detector looks at pictures, and what it finds is written in COCO."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, Field

from plugin.detector import Detector, Found
from plugin.pictures import Picture, read_pictures
from plugin.scoring import LEAST_SCORE, measure
from synapse_core.actions.inference import BaseInferenceAction
from synapse_core.datasets import ClassDef
from synapse_core.errors import Conflict, InvalidRequest
from synapse_core.types import InferenceResults


class InferParams(BaseModel):
    """What to look at, and with which model."""

    model: int = Field(
        ge=1,
        validation_alias=AliasChoices("model", "model_id"),
        description="The id of the registered model",
    )
    path: str = Field(description="A folder of pictures, or a dataset")
    split: str | None = Field(default=None, description="Only this split of the dataset")
    least_score: float = Field(default=LEAST_SCORE, ge=0, le=1, description="Leave out what is less sure")
    output: str | None = Field(default=None, description="A new folder; one of the run's own if left out")


class Predictions(BaseModel):
    """What was found. path: a COCO dataset of it. results_path: the same as a list of COCO results.

    metrics: map50, precision, recall and f1 where the pictures are annotated.
    """

    path: str
    format: str
    results_path: str
    pictures: int
    boxes: dict[str, int]
    metrics: dict[str, float] | None


class InferAction(BaseInferenceAction[InferParams]):
    """Find things in pictures; writes annotations/instances_default.json, results.json and the images."""

    output_type = InferenceResults
    result_model = Predictions

    def execute(self) -> Predictions:
        params = self.params
        root = Path(params.output).expanduser() if params.output else self.ctx.artifacts_dir / "predictions"
        if root.exists() and any(root.iterdir()):
            raise Conflict(f"{root} is there already.", hint="Give a new folder as `output`.")
        detector = Detector.load(self.load_model(params.model)["path"])
        self.set_progress(1, 1, self.progress.MODEL_LOAD)
        defined, pictures = read_pictures(params.path)
        chosen = [one for one in pictures if params.split in (None, one.split)]
        if not chosen:
            splits = ", ".join(sorted({str(one.split) for one in pictures}))
            raise InvalidRequest(f"No picture is in the split {params.split!r}; there is {splits or 'none'}.")
        found = self.infer(detector, chosen)
        sure = [[one for one in each if one.score >= params.least_score] for each in found]
        boxes = {name: sum(one.name == name for each in sure for one in each) for name in detector.classes}
        self._write(root, chosen, sure, _ids_of(detector, defined))
        self.set_progress(1, 1, self.progress.POSTPROCESS)
        truth = [one.truth for one in chosen]
        metrics = measure(found, truth, detector.classes) if any(truth) else None
        self.set_metrics(
            {"pictures": len(chosen), "boxes": sum(boxes.values()), **(metrics or {})}, category="test"
        )
        return Predictions(
            path=str(root),
            format="coco",
            results_path=str(root / "results.json"),
            pictures=len(chosen),
            boxes=boxes,
            metrics=metrics,
        )

    def infer(self, model: Detector, inputs: list[Picture]) -> list[list[Found]]:
        """Return everything found in each picture, however unsure."""
        found = []
        for number, picture in enumerate(inputs, start=1):
            found.append(model.find(picture.pixels(), 0.0))
            self.set_progress(number, len(inputs), self.progress.INFERENCE)
        return found

    def _write(
        self, root: Path, pictures: list[Picture], found: list[list[Found]], ids: dict[str, int]
    ) -> None:
        (root / "images").mkdir(parents=True)
        (root / "annotations").mkdir()
        # Ids of the dataset, so that evaluation tools can compare; counted where it has none for each.
        own = [one.id for one in pictures]
        numbers = own if None not in own and len(set(own)) == len(own) else list(range(1, len(own) + 1))
        images, results = [], []
        for number, picture, each in zip(numbers, pictures, found, strict=True):
            name = f"{number}_{Path(picture.name).name}"
            height, width = picture.pixels().shape[:2]
            _place(picture.file, root / "images" / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for one in each:
                box, score = [round(value, 2) for value in one.box], round(one.score, 5)
                results.append(
                    {"image_id": number, "category_id": ids[one.name], "bbox": box, "score": score}
                )
        annotations = [
            {"id": number, **one, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
            for number, one in enumerate(results, start=1)
        ]
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        for file, content in (("annotations/instances_default.json", whole), ("results.json", results)):
            (root / file).write_text(json.dumps(content))
            self.ctx.add_artifact(root / file)


def _ids_of(detector: Detector, defined: list[ClassDef]) -> dict[str, Any]:
    """Return the category id of each class: the dataset's where it has numbers for all of them."""
    theirs = {one.name: one.source_id for one in defined if isinstance(one.source_id, int)}
    if all(name in theirs for name in detector.classes):
        return {name: theirs[name] for name in detector.classes}
    return {name: number for number, name in enumerate(detector.classes, start=1)}


def _place(file: Path, target: Path) -> None:
    """Put a picture there without a second copy of it, where the disk can."""
    try:
        os.link(file.resolve(), target)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(file, target)
