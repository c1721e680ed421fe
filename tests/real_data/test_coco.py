"""COCO as third parties write it, and the real set of 2017: everything loads, nothing goes unseen."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import read_all
from real_data_places import DATA
from trainer_rules import refused_by_the_trainer

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.masks import mask_iou, rings_to_mask

MINI = DATA / "coco_real_mini" / "cocomini"
INSTANCES = ("instances_train2017", "instances_val2017")
# Half of the sixth digit.
YOLO_ERROR = 5e-7

pytestmark = pytest.mark.skipif(
    not MINI.is_dir(), reason="the real data sets are not here; SYNAPSE_TEST_DATA says where they are"
)


@cache
def content_of(path: Path) -> Any:
    return json.loads(path.read_bytes())


def coco_files() -> list[Path]:
    """Return every JSON file of third parties that is an object with images and annotations."""
    found = []
    for path in sorted(DATA.rglob("*.json")):
        text = path.read_bytes()
        if b'"images"' in text and b'"annotations"' in text:
            try:
                content = json.loads(text)
            except ValueError:
                continue  # one of them is broken on purpose
            if isinstance(content, dict) and isinstance(content.get("annotations"), list):
                found.append(path)
    return found


FILES = coco_files() if MINI.is_dir() else []


def test_there_are_as_many_files_as_ever():
    assert len(FILES) >= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DATA)))
def test_every_file_of_others_loads(path: Path):
    content = content_of(path)

    header, items, losses = read_all(path, "coco")

    assert len(items) == len({image["file_name"] for image in content["images"]})
    assert len(header.classes) == len(content.get("categories", []))
    read = sum(len(item.annotations) for item in items.values())
    assert read + losses.counts.total() // 2 == len(content["annotations"])
    known = {image["id"] for image in content["images"]}
    strangers = [one for one in content["annotations"] if one.get("image_id") not in known]
    assert losses.codes["UNKNOWN_IMAGE"] == len(strangers)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DATA)))
def test_every_file_of_others_converts_to_what_a_trainer_takes(path: Path, tmp_path: Path):
    result = convert(path, "yolo", tmp_path / "out", source_format="coco", images="none")

    assert result.losses.seen == len(content_of(path)["annotations"])
    assert refused_by_the_trainer(tmp_path / "out") == {}


@pytest.mark.parametrize("name", INSTANCES)
def test_the_real_set_comes_back_as_it_was(name: str, tmp_path: Path):
    path = MINI / "annotations" / f"{name}.json"
    content = content_of(path)

    result = convert(path, "coco", tmp_path / "out", strict=True)

    again = json.loads(Path(result.config_path or "").read_bytes())
    for section in ("images", "annotations", "categories"):
        wanted = {entry["id"]: entry for entry in content[section]}
        found = {entry["id"]: entry for entry in again[section]}
        assert found == wanted
    assert again["info"] == content["info"]
    assert again["licenses"] == content["licenses"]


def test_all_thirteen_crowds_are_told():
    told = [convert(MINI / "annotations" / f"{name}.json", "yolo", dry_run=True) for name in INSTANCES]

    assert [result.losses.reasons["CROWD_DROPPED"] for result in told] == [8, 5]
    assert sum(result.losses.kinds["mask"].skipped for result in told) == 13
    assert all(result.losses.kinds["polygon"].skipped == 0 for result in told)


def test_eighty_classes_with_gaps_become_0_to_79(tmp_path: Path):
    path = MINI / "annotations/instances_val2017.json"
    content = content_of(path)
    names = [entry["name"] for entry in content["categories"]]
    place = {entry["id"]: index for index, entry in enumerate(content["categories"])}

    convert(path, "yolo", tmp_path / "out", task="detect", images="none")

    header, _, _ = read_all(path, "coco")
    assert [entry.name for entry in header.classes] == names
    assert (len(place), min(place), max(place)) == (80, 1, 90)
    sizes = {image["id"]: image for image in content["images"]}
    wanted: dict[str, Counter[int]] = {}
    for one in content["annotations"]:
        if not one["iscrowd"]:
            stem = Path(sizes[one["image_id"]]["file_name"]).stem
            wanted.setdefault(stem, Counter())[place[one["category_id"]]] += 1
    found = {
        label.stem: Counter(int(line.split()[0]) for line in label.read_text().splitlines())
        for label in (tmp_path / "out/labels").rglob("*.txt")
    }
    assert {stem: classes for stem, classes in found.items() if classes} == wanted
    assert len(found) == len(sizes)


@pytest.mark.parametrize("name", INSTANCES)
def test_boxes_and_polygons_are_the_set_s_own_to_the_sixth_digit(name: str, tmp_path: Path):
    path = MINI / "annotations" / f"{name}.json"
    content = content_of(path)
    for task in ("detect", "segment"):
        convert(path, "yolo", tmp_path / task, task=task, images="none")
    place = {entry["id"]: index for index, entry in enumerate(content["categories"])}

    for image in content["images"]:
        width, height = image["width"], image["height"]
        own = [one for one in content["annotations"] if one["image_id"] == image["id"] and not one["iscrowd"]]
        stem = Path(image["file_name"]).stem
        rows = {}
        for task in ("detect", "segment"):
            [label] = (tmp_path / task / "labels").rglob(f"{stem}.txt")
            rows[task] = [[float(part) for part in line.split()] for line in label.read_text().splitlines()]
        assert len(rows["detect"]) == len(rows["segment"]) == len(own)
        for one, box, ring in zip(own, rows["detect"], rows["segment"], strict=True):
            x, y, w, h = one["bbox"]
            wanted = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
            assert box[0] == ring[0] == place[one["category_id"]]
            assert box[1:] == pytest.approx(wanted, abs=2 * YOLO_ERROR)
            if len(one["segmentation"]) == 1:
                flat = [
                    number / (height if at % 2 else width) for at, number in enumerate(one["segmentation"][0])
                ]
                assert ring[1:] == pytest.approx(flat, abs=2 * YOLO_ERROR)


def test_polygons_of_several_parts_come_back_from_yolo(tmp_path: Path):
    path = MINI / "annotations/instances_val2017.json"
    content = content_of(path)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    convert(path, "yolo", tmp_path / "yolo", images="none")

    parts = 0
    for image in content["images"]:
        own = [one for one in content["annotations"] if one["image_id"] == image["id"] and not one["iscrowd"]]
        [label] = (tmp_path / "yolo/labels").rglob(f"{Path(image['file_name']).stem}.txt")
        height, width = sizes[image["id"]]
        for one, line in zip(own, label.read_text().splitlines(), strict=True):
            if len(one["segmentation"]) < 2 or one["area"] < 100:
                continue
            parts += 1
            numbers = [float(part) for part in line.split()[1:]]
            ring = [number * (height if at % 2 else width) for at, number in enumerate(numbers)]
            wanted = rings_to_mask(one["segmentation"], height, width)
            assert mask_iou(rings_to_mask([ring], height, width), wanted) >= 0.98
    assert parts > 30


def test_people_s_key_points_fit_the_trainer(tmp_path: Path):
    path = MINI / "annotations/person_keypoints_val2017.json"

    result = convert(path, "yolo", tmp_path / "out", images="none")

    assert result.losses.kinds["keypoints"].written > 50
    assert refused_by_the_trainer(tmp_path / "out") == {}
    assert "kpt_shape: [17, 3]" in (tmp_path / "out/data.yaml").read_text()
    assert "flip_idx: [0, 2, 1, 4, 3," in (tmp_path / "out/data.yaml").read_text()
