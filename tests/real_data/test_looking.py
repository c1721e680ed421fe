"""Looking at the real sets: what is counted, what is wrong, what is the same, and that all of it can be
drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from real_data_places import DATA

from synapse_core.datasets import compare, convert, inspect, preview, validate
from synapse_core.datasets.drawing import colours_of
from synapse_core.datasets.preview import MOST_BYTES

VOC100 = DATA / "voc100_multiformat"
COCO = DATA / "coco_real_mini" / "cocomini"
SHARKS = DATA / "roboflow_sharks"
YOLO = DATA / "cvat_datumaro_assets" / "yolo_dataset"

pytestmark = pytest.mark.skipif(
    not all(place.is_dir() for place in (VOC100, COCO, SHARKS, YOLO)),
    reason="the real data sets are not here; SYNAPSE_TEST_DATA says where they are",
)

# Folder, format, images, annotations by kind, classes, options of reading.
SETS: list[tuple[Path, str, int, dict[str, int], int, dict[str, Any]]] = [
    (VOC100 / "coco_format_v1", "coco", 100, {"box": 273}, 20, {}),
    (VOC100 / "pascalvoc_format", "voc", 100, {"box": 273}, 20, {}),
    (COCO, "coco", 159, {"polygon": 1350, "mask": 13}, 80, {}),
    (SHARKS / "sharks-tiny-yolov9", "yolo", 10, {"box": 43, "polygon": 17}, 3, {}),
    (SHARKS / "sharks-tiny-coco", "coco", 10, {"box": 43, "polygon": 17}, 4, {}),
    (SHARKS / "chess_voc", "voc", 11, {"box": 180}, 12, {}),
    (SHARKS / "corrosion-singlelabel-classification", "imagefolder", 10, {"tag": 10}, 2, {}),
    (YOLO / "yolov8_detection", "yolo", 1, {"box": 2}, 10, {}),
    (YOLO / "yolov8_segmentation", "yolo", 1, {"polygon": 2}, 10, {}),
    (YOLO / "yolov8_pose", "yolo", 1, {"keypoints": 1}, 1, {}),
    (YOLO / "yolov8_oriented_boxes", "yolo", 1, {"rotated_box": 2}, 10, {"task": "obb"}),
]


@pytest.mark.parametrize(
    ("place", "name", "images", "kinds", "classes", "options"),
    SETS,
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_set_is_counted_and_drawn(
    place: Path, name: str, images: int, kinds: dict[str, int], classes: int, options: dict[str, Any]
):
    found = inspect(place, **options)
    report = validate(place, **options)
    picture = preview(place, max_pixels=300_000, **options)

    assert (found.format, found.images, found.kinds, found.class_count) == (name, images, kinds, classes)
    assert sum(entry.annotations for entry in found.classes) == found.annotations == sum(kinds.values())
    assert sum(split.images for split in found.splits) == images
    assert len(msgspec.json.encode(found)) < 8_000
    # Nothing is wrong with any of them but that some images were not handed on.
    assert {problem.code for problem in report.problems} <= {"IMAGE_MISSING", "FILE_LEFT_OUT"}
    assert report.is_valid == all(problem.severity == "warning" for problem in report.problems)
    assert len(picture) <= MOST_BYTES
    with Image.open(io.BytesIO(picture)) as sheet:
        assert sheet.format == "PNG"
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20) or ()}
    assert colours & set(colours_of([entry.name for entry in found.classes]))


def test_third_parties_forms_of_the_same_annotations_are_equal():
    result = compare(VOC100 / "coco_format_v1", VOC100 / "pascalvoc_format")

    assert result.is_equal
    assert (result.images, result.matched, result.largest_difference_pixels) == (100, 273, 0)


def test_two_exports_of_one_project_have_no_image_in_common():
    """Each export gave the images new names, and one of them new sizes."""
    result = compare(SHARKS / "sharks-tiny-coco", SHARKS / "sharks-tiny-yolov9")

    assert not result.is_equal
    assert (result.images_only_in_a, result.images_only_in_b) == (10, 10)
    assert (result.missing, result.extra) == (60, 60)
    assert result.classes_only_in_a == ["sharks"]


@pytest.mark.parametrize("target", ["coco", "dm_v2", "dm_v1"])
def test_polygons_and_crowds_survive_formats_that_hold_them(tmp_path: Path, target: str):
    convert(COCO, target, tmp_path / "out")

    result = compare(COCO, tmp_path / "out")

    assert result.is_equal, result
    assert result.matched == 1363
