"""validate(): what is an error, what is a warning, and that sound datasets are valid."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png, write_files

from synapse_core.datasets import validate

DATA = "train: images\nnames: [cat, dog]\n"


def yolo(root: Path, rows: str, **more: str | bytes) -> Path:
    files = {"data.yaml": DATA, "images/a.png": png(100, 80), "labels/a.txt": rows}
    return write_files(root, {**files, **more})


def coco(root: Path, *annotations: dict[str, Any], **image: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80, **image}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, **one} for number, one in enumerate(annotations)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return write_files(root, {"a.json": json.dumps(content), "a.png": png(100, 80)})


def codes(root: Path) -> dict[str, int]:
    return {problem.code: problem.count for problem in validate(root).problems}


def test_a_sound_dataset_is_valid(tmp_path: Path):
    report = validate(yolo(tmp_path, "0 .5 .5 .2 .2\n1 .5 .5 1 1\n"))

    assert report.is_valid
    assert (report.images, report.annotations, report.errors, report.warnings) == (1, 2, 0, 0)
    assert report.problems == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 nan .5 .2 .2", "NOT_FINITE"),
        ("0 .5 .5 inf .2", "NOT_FINITE"),
        ("0 .5 .5 0 .2", "ZERO_AREA"),
        ("0 .5 .5 -.1 .2", "BAD_ROW"),
        ("0 .5 .5", "BAD_ROW"),
        ("9 .5 .5 .2 .2", "UNKNOWN_CLASS"),
        ("0 1.5 .5 .2 .2", "OUTSIDE_IMAGE"),
    ],
)
def test_what_no_reader_understands_is_an_error(tmp_path: Path, row: str, code: str):
    report = validate(yolo(tmp_path, f"0 .5 .5 .2 .2\n{row}\n"))

    assert not report.is_valid
    assert [(problem.code, problem.count) for problem in report.problems] == [(code, 1)]
    assert report.problems[0].examples[0].where.startswith("labels/a.txt")


def test_what_one_can_live_with_is_a_warning(tmp_path: Path):
    report = validate(yolo(tmp_path, "0 .95 .5 .2 .2\n0 .95 .5 .2 .2\n"))

    assert report.is_valid
    assert report.warnings == 3
    assert {problem.code: problem.count for problem in report.problems} == {"LEAVES_IMAGE": 2, "DUPLICATE": 1}


def test_labels_without_image_and_images_that_are_none(tmp_path: Path):
    yolo(tmp_path, "", **{"labels/gone.txt": "0 .5 .5 .2 .2\n", "images/b.png": "no image"})

    assert codes(tmp_path) == {"ORPHAN_LABEL": 1, "BAD_FILE": 1, "IMAGE_MISSING": 1}


def test_the_stated_size_is_held_against_the_file(tmp_path: Path):
    assert codes(coco(tmp_path / "right")) == {}
    assert codes(coco(tmp_path / "wrong", width=101)) == {"SIZE_MISMATCH": 1}
    assert codes(coco(tmp_path / "turned", width=80, height=100)) == {"SIZE_MISMATCH": 1}


def test_a_turned_photo_may_be_stated_either_way(tmp_path: Path):
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, 6, 0)
    exif = b"Exif\0\0" + tiff
    photo = (
        b"\xff\xd8\xff\xe1"
        + struct.pack(">H", len(exif) + 2)
        + exif
        + b"\xff\xc0\0\x0b\x08"
        + struct.pack(">HH", 80, 100)
        + b"\x01\x01\x11\0\xff\xd9"
    )
    for name, width, height in (("stored", 100, 80), ("shown", 80, 100)):
        root = coco(tmp_path / name, file_name="a.jpg", width=width, height=height)
        (root / "a.jpg").write_bytes(photo)

        assert codes(root) == {"EXIF_ORIENTATION": 1}
        assert validate(root).is_valid


def test_a_missing_image_is_told_once(tmp_path: Path):
    assert codes(coco(tmp_path, file_name="gone.png")) == {"IMAGE_MISSING": 1}


def test_masks_have_to_fit(tmp_path: Path):
    box = {"bbox": [0, 0, 10, 10], "iscrowd": 1}
    good = {"size": [80, 100], "counts": [0, 10, 7990]}
    small = {"size": [8, 10], "counts": [0, 10, 70]}
    broken = {"size": [80, 100], "counts": [0, 10, 70]}
    root = coco(tmp_path, *({**box, "segmentation": mask} for mask in (good, small, broken)))

    assert codes(root) == {"SIZE_MISMATCH": 1, "BAD_ROW": 1}


def test_an_image_outside_of_the_dataset_is_told_and_not_read(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(png(1, 1))
    report = validate(coco(tmp_path / "set", file_name="../secret.png"))

    assert [problem.code for problem in report.problems] == ["OUTSIDE_ROOT"]
