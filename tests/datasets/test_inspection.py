"""inspect(): what is counted, what is told, and that the answer stays small."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from dataset_worlds import png, write_files

from synapse_core.datasets import inspect
from synapse_core.datasets.inspection import ClassSummary, SplitSummary

YOLO = {
    "data.yaml": "train: images/train\nval: images/val\nnames: [cat, dog, bird]\n",
    "images/train/a.png": png(100, 80),
    "images/train/b.png": png(100, 80),
    "images/val/c.png": png(64, 48),
    "labels/train/a.txt": "0 .5 .5 .2 .2\n1 .5 .5 .4 .4\n",
    "labels/val/c.txt": "1 .5 .5 .1 .1\n",
}


def test_everything_is_counted(tmp_path: Path):
    write_files(tmp_path, YOLO)

    found = inspect(tmp_path)

    assert found.format == "yolo"
    assert found.evidence == ["data.yaml names classes and images"]
    assert (found.images, found.images_with_annotations, found.images_without_annotations) == (3, 2, 1)
    assert found.annotations == 3
    assert found.kinds == {"box": 3}
    assert found.splits == [SplitSummary("train", 2, 2), SplitSummary("val", 1, 1)]
    assert found.classes == [ClassSummary("cat", 1), ClassSummary("dog", 2), ClassSummary("bird", 0)]
    assert found.unused_classes == 1
    assert (found.sizes.smallest, found.sizes.largest) == ((64, 48), (100, 80))
    assert found.sizes.frequent == [(100, 80, 2), (64, 48, 1)]
    assert found.objects_per_image is not None
    assert (found.objects_per_image.least, found.objects_per_image.most) == (0, 2)
    assert (found.objects_per_image.mean, found.objects_per_image.most_in) == (1.0, "a.png")
    assert found.problems == []


def test_problems_tell_the_file_and_the_line(tmp_path: Path):
    rows = "0 .5 .5 .2 .2\n7 .5 .5 .2 .2\n0 .5 .5 .2 -.2\n1 .98 .5 .2 .2\n"
    write_files(tmp_path, YOLO | {"labels/train/a.txt": rows})

    found = {problem.code: problem for problem in inspect(tmp_path).problems}

    assert list(found) == ["BAD_ROW", "UNKNOWN_CLASS", "LEAVES_IMAGE"]
    assert found["UNKNOWN_CLASS"].examples[0].where == "labels/train/a.txt:2"
    assert found["UNKNOWN_CLASS"].meaning == "the class is not in the dataset's list"
    assert found["LEAVES_IMAGE"].severity == "warning"
    assert found["LEAVES_IMAGE"].examples[0].message == "by 8 pixels; the image is 100 x 80 pixels"


def test_every_annotation_is_counted_once_whatever_is_wrong_with_it(tmp_path: Path):
    write_files(tmp_path, YOLO | {"labels/train/a.txt": "0 .5 .5 .2 .2\n0 nan .5 .2 .2\n0 .5\n"})

    found = inspect(tmp_path)

    assert found.annotations == 4


def test_a_large_dataset_with_many_classes_and_problems_has_a_small_answer(tmp_path: Path):
    classes = [{"id": number, "name": f"class {number} {'x' * 500}"} for number in range(5_000)]
    images = [
        {"id": number, "file_name": f"{'long' * 40}/{number}.jpg", "width": 1 + number, "height": 50}
        for number in range(12_000)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": n % 6_000, "bbox": [40, 5, 5 * (n % 3), 5 + n % 50]}
        for n in range(12_000)
    ]
    content = {"images": images, "annotations": boxes, "categories": classes}
    write_files(tmp_path, {"a.json": json.dumps(content)})

    found = inspect(tmp_path)
    encoded = msgspec.json.encode(found)

    assert len(encoded) <= 40_000
    assert found.class_count == 5_000
    assert found.classes_left_out == 5_000 - len(found.classes) > 0
    assert found.sizes.largest == (12_000, 50)
    assert {problem.code for problem in found.problems} >= {"IMAGE_MISSING", "UNKNOWN_CLASS", "ZERO_AREA"}
    assert all(problem.examples for problem in found.problems)


def test_of_too_many_classes_the_most_frequent_are_shown(tmp_path: Path):
    names = [f"class number {number}" for number in range(2_000)]
    write_files(
        tmp_path,
        YOLO
        | {
            "data.yaml": f"train: images/train\nnames: {json.dumps(names)}\n",
            "labels/train/a.txt": "1999 .5 .5 .2 .2\n" * 2,
        },
    )

    found = inspect(tmp_path)

    assert found.classes[0] == ClassSummary("class number 1999", 2)
    assert found.unused_classes == 1_999


def test_options_of_reading_are_taken(tmp_path: Path):
    rows = "0 .1 .1 .5 .1 .5 .5 .1 .5\n"
    write_files(tmp_path, YOLO | {"labels/train/a.txt": rows, "labels/val/c.txt": rows})

    assert inspect(tmp_path, task="segment").kinds == {"polygon": 2}
