"""Drawing a dataset: pictures and annotations in COCO, a file for each split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from plugin.drawing import CLASSES, draw_picture
from synapse_core import BaseAction
from synapse_core.errors import Conflict
from synapse_core.types import COCODataset

# Every fourth picture is for validation.
_VALIDATION = 4


class DrawParams(BaseModel):
    """What to draw, and where to."""

    pictures: int = Field(default=160, ge=8, le=20_000, description="Every fourth is for validation")
    width: int = Field(default=160, ge=64, le=2000, description="Pixels")
    height: int = Field(default=120, ge=64, le=2000, description="Pixels")
    most_shapes: int = Field(default=6, ge=1, le=50, description="Shapes in one picture, at most")
    seed: int = Field(default=0, ge=0)
    output: str | None = Field(default=None, description="A new folder; one of the run's own if left out")


class DrawResult(BaseModel):
    """What was drawn. path: the dataset's folder."""

    path: str
    format: str
    pictures: int
    boxes: dict[str, int]


class DrawAction(BaseAction[DrawParams]):
    """Draw pictures of shapes, with the box of each, as a COCO dataset with the splits train and val."""

    output_type = COCODataset
    result_model = DrawResult

    def execute(self) -> DrawResult:
        params = self.params
        root = Path(params.output).expanduser() if params.output else self.ctx.artifacts_dir / "shapes"
        if root.exists() and any(root.iterdir()):
            raise Conflict(f"{root} is there already.", hint="Give a new folder as `output`.")
        dice = np.random.default_rng(params.seed)
        splits = {"train": _empty(), "val": _empty()}
        for split in splits:
            (root / "images" / split).mkdir(parents=True)
        boxes = dict.fromkeys(CLASSES, 0)
        for number in range(1, params.pictures + 1):
            split = "train" if number % _VALIDATION else "val"
            drawn = draw_picture(dice, params.width, params.height, params.most_shapes)
            name = f"{number:05}.png"
            drawn.picture.save(root / "images" / split / name)
            told = splits[split]
            told["images"].append(
                {"id": number, "file_name": name, "width": params.width, "height": params.height}
            )
            for shape, box in drawn.shapes:
                boxes[shape] += 1
                told["annotations"].append(
                    {
                        "id": sum(boxes.values()),
                        "image_id": number,
                        "category_id": CLASSES.index(shape) + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
            self.set_progress(number, params.pictures, category="draw")
        (root / "annotations").mkdir()
        for split, told in splits.items():
            (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(told))
        self.set_metrics({"pictures": params.pictures, "boxes": sum(boxes.values())}, category="draw")
        return DrawResult(path=str(root), format="coco", pictures=params.pictures, boxes=boxes)


def _empty() -> dict[str, list[Any]]:
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    return {"images": [], "annotations": [], "categories": categories}
