"""The example detector: it draws its data, reads any format, is measured, and tells in COCO what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synapse_core import run_plugin
from synapse_core.backend.local import LocalBackend
from synapse_core.datasets import read
from synapse_core.errors import SynapseError
from synapse_mcp.settings import example_plugins

PLUGIN = example_plugins() / "shape_detector"


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return Path(
        run_plugin(PLUGIN, "draw", {"output": str(tmp_path / "shapes"), "pictures": 60, "seed": 1}).path
    )


def boxes_of(path: str | Path, source_format: str = "auto") -> list[tuple[str, tuple[float, ...]]]:
    header, items = read(path, source_format)
    return sorted((header.classes[one.label].name, one.box) for item in items for one in item.annotations)


def test_what_is_found_in_pictures_is_a_dataset_that_evaluation_tools_can_compare(drawn: Path, home: Path):
    converted = run_plugin(PLUGIN, "convert", {"path": str(drawn)})
    trained = run_plugin(PLUGIN, "train", {"path": str(converted.path), "name": "shapes"})
    told = {"model": trained.model_id, "path": str(drawn), "split": "val"}
    found = run_plugin(PLUGIN, "infer", told)

    assert (trained.pictures, trained.unseen_pictures) == (45, 15)
    assert trained.map50 > 0.85
    assert trained.f1 > 0.85
    backend = LocalBackend(home)
    model = backend.get_model(trained.model_id)
    backend.close()
    assert model.metrics["validation/map50"] == trained.map50
    assert model.configuration["classes"] == ["circle", "square", "triangle", "star"]
    # The same pictures in YOLO and in COCO, whose boxes differ by rounding.
    assert found.metrics["map50"] == pytest.approx(trained.map50, abs=0.02)

    read_back = boxes_of(found.path)
    assert len(read_back) == sum(found.boxes.values()) > 20
    truth = json.loads((drawn / "annotations/instances_val.json").read_text())
    results = json.loads(Path(found.results_path).read_text())
    ids = {"image_id": "images", "category_id": "categories"}
    for key, where in ids.items():
        assert {one[key] for one in results} <= {one["id"] for one in truth[where]}
    names = {one["id"]: one["name"] for one in truth["categories"]}
    assert sorted((names[one["category_id"]], tuple(one["bbox"])) for one in results) == read_back
    # A list of results states no names: its classes are called by their numbers.
    assert sorted(box for _, box in boxes_of(found.results_path, "coco_results")) == sorted(
        box for _, box in read_back
    )


def test_a_folder_of_pictures_is_looked_at_too(drawn: Path):
    trained = run_plugin(PLUGIN, "train", {"path": str(drawn), "epochs": 8, "name": "shapes"})

    found = run_plugin(PLUGIN, "infer", {"model_id": trained.model_id, "path": str(drawn / "images/val")})

    assert (found.pictures, found.metrics) == (15, None)
    assert sum(found.boxes.values()) > 20


def test_what_cannot_be_done_is_told(drawn: Path, home: Path, tmp_path: Path):
    backend = LocalBackend(home)
    other = backend.create_model("other", drawn / "annotations/instances_val.json").id
    backend.close()
    pictures = sorted((drawn / "images/train").iterdir())[:4]
    rows = [
        {"id": n, "file_name": each.name, "width": 160, "height": 120} for n, each in enumerate(pictures, 1)
    ]
    for name, count in (("unannotated", 0), ("dots", 4)):
        (tmp_path / name).mkdir()
        for each in pictures:
            (tmp_path / name / each.name).write_bytes(each.read_bytes())
        dot = {"category_id": 1, "bbox": [60, 50, 2, 2], "area": 4, "iscrowd": 0}
        dots = [{"id": n, "image_id": n, **dot} for n in range(1, count + 1)]
        whole = {"images": rows, "annotations": dots, "categories": [{"id": 1, "name": "dot"}]}
        (tmp_path / name / "instances.json").write_text(json.dumps(whole))

    for action, params, words in (
        ("draw", {"output": str(drawn)}, "is there already"),
        ("train", {"path": str(tmp_path / "nothing")}, "nothing"),
        ("train", {"path": str(tmp_path / "unannotated")}, "has boxes on 0 pictures"),
        ("train", {"path": str(tmp_path / "dots")}, "stands out"),
        ("infer", {"model": other, "path": str(drawn)}, "no detector of this plugin"),
        ("infer", {"model": other + 1, "path": str(drawn)}, "model"),
    ):
        with pytest.raises(SynapseError, match=words):
            run_plugin(PLUGIN, action, params)
