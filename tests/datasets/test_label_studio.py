"""Label Studio: percent, boxes turned about a corner, brushes, and the work of several people."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.label_studio import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Annotation, Mask, Opaque, Polygon, Relation, Text
from synapse_core.datasets.shapes import box_corners
from synapse_core.datasets.source import open_source


def region(kind: str, **value: Any) -> dict[str, Any]:
    if kind.endswith("labels"):
        value = {kind: ["dog"], **value}
    return {"id": "r1", "type": kind, "value": value, "original_width": 200, "original_height": 100}


def task(*regions: dict[str, Any], image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": regions}], **more}


def write_tasks(root: Path, *tasks: dict[str, Any]) -> Path:
    return write_files(root, {"export.json": json.dumps(tasks), "a.png": png(200, 100)})


def pack(values: list[int]) -> list[int]:
    """Pack the bytes of a picture as Label Studio does, each as a run of one or more."""
    text = f"{len(values):032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{11:04b}"
    at = 0
    while at < len(values):
        length = 1
        while at + length < len(values) and values[at + length] == values[at] and length < 8:
            length += 1
        text += f"1{0:02b}{length - 1:03b}{values[at]:08b}"
        at += length
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


REGIONS = [
    (region("rectanglelabels", x=10, y=20, width=5, height=50), Annotation(0, (20, 20, 10, 50), id="r1")),
    (
        region("polygonlabels", points=[[0, 0], [50, 0], [50, 100]]),
        Annotation(0, shape=Polygon([[0, 0, 100, 0, 100, 100]]), id="r1"),
    ),
    (region("keypointlabels", x=10, y=20, width=1), Annotation(0, points=[20, 20, 2], id="r1")),
    (region("choices", choices=["dog"]), Annotation(0, id="r1")),
    (region("textarea", text=["a", "b"]), Annotation(-1, shape=Text("a\nb"), id="r1")),
    (
        region("ellipselabels", x=1, y=2, radiusX=3, radiusY=4),
        Annotation(
            0,
            shape=Opaque(
                "ellipselabels", {"ellipselabels": ["dog"], "x": 1, "y": 2, "radiusX": 3, "radiusY": 4}
            ),
            id="r1",
        ),
    ),
    (
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        Annotation(-1, shape=Relation("a", "b")),
    ),
]


@pytest.mark.parametrize(("given", "expected"), REGIONS)
def test_a_region_is_read(tmp_path: Path, given: dict[str, Any], expected: Annotation):
    _, items, losses = read_all(write_tasks(tmp_path, task(given)), "label_studio")

    assert items["a.png"].annotations == [expected]
    assert not losses.codes


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, 328.3])
def test_a_box_is_turned_about_its_top_left_corner(tmp_path: Path, degrees: float):
    given = region("rectanglelabels", x=50, y=50, width=10, height=10, rotation=degrees)

    _, items, _ = read_all(write_tasks(tmp_path, task(given)), "label_studio")

    [one] = items["a.png"].annotations
    assert one.box is not None
    corners = box_corners(one.box, one.angle)
    angle = math.radians(degrees)
    # The corner stays where it is, and the next one lies 20 pixels along the turned edge.
    assert corners[:4] == pytest.approx([100, 50, 100 + 20 * math.cos(angle), 50 + 20 * math.sin(angle)])


def test_a_brush_is_decoded(tmp_path: Path):
    rows = ["....", ".XX.", "...X"]
    values = [value for row in rows for mark in row for value in (9, 9, 9, 255 if mark == "X" else 0)]
    given = region("brushlabels", format="rle", rle=pack(values)) | {
        "original_width": 4,
        "original_height": 3,
    }

    _, items, _ = read_all(write_tasks(tmp_path, task(given)), "label_studio")

    assert items["a.png"].annotations[0].shape == Mask(3, 4, "row_runs", [[5, 2], [11, 1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (region("rectanglelabels", x=1, y=2, width=3), "it has no 'height'"),
        (region("brushlabels", format="rle", rle=[0, 0, 0, 1]), "the brush is a picture of 0 pixels"),
        (region("brushlabels", format="rle", rle=[0, 1, 56, 128]), "the brush ends too early"),
        (region("polygonlabels", points=[[1]]), "not enough values to unpack"),
    ],
)
def test_a_broken_region_fails_alone(tmp_path: Path, given: dict[str, Any], message: str):
    good = region("rectanglelabels", x=10, y=20, width=5, height=50)

    _, items, losses = read_all(write_tasks(tmp_path, task(given, good)), "label_studio")

    assert len(items["a.png"].annotations) == 1
    [entry] = losses.entries
    assert entry.message.startswith(message)
    assert entry.where == "export.json: task 1, region 1"


def test_of_several_people_one_is_read_and_the_others_are_told(tmp_path: Path):
    def work(x: float, **more: Any) -> dict[str, Any]:
        return {"result": [region("rectanglelabels", x=x, y=0, width=5, height=5)], **more}

    several = [work(1, was_cancelled=True), work(2), work(3, ground_truth=True)]
    given = {**task(), "annotations": several, "predictions": [work(4)]}
    root = write_tasks(tmp_path / "in", given)

    _, items, _ = read_all(root, "label_studio")
    result = convert(root, "voc", tmp_path / "out", source_format="label_studio")

    assert [one.box for one in items["a.png"].annotations] == [(6, 0, 10, 5)]
    assert result.losses.reasons == {"OTHER_ANNOTATOR": 3}
    assert (result.losses.kinds["box"].seen, result.losses.kinds["box"].skipped) == (4, 3)


@pytest.mark.parametrize(
    "stated",
    [
        "a.png",
        "/data/upload/3/a.png",
        "/data/upload/3/0a1b2c3d-a.png",
        "/data/local-files/?d=x/a.png",
        "https://h.example/a.png?b=1",
    ],
)
def test_the_image_is_found_by_its_name(tmp_path: Path, stated: str):
    _, items, _ = read_all(write_tasks(tmp_path, task(image=stated)), "label_studio")

    assert items["a.png"].image == "a.png"
    assert (items["a.png"].width, items["a.png"].height) == (200, 100)


def test_a_task_about_something_else_is_no_image(tmp_path: Path):
    given = {
        "id": 1,
        "data": {"text": "a text"},
        "annotations": [{"result": [region("choices", choices=["good"])]}],
    }
    root = write_tasks(tmp_path / "in", given)

    result = convert(root, "voc", tmp_path / "out", source_format="label_studio")

    assert result.losses.reasons == {"NOT_SUPPORTED": 1}


def test_label_studio_is_recognised(tmp_path: Path):
    ours = write_tasks(tmp_path / "ours", task(region("choices", choices=["good"])))
    other = write_files(tmp_path / "other", {"a.json": '[{"image": "a", "annotations": []}]'})

    assert detect(glance(open_source(ours))) is not None
    assert detect(glance(open_source(other))) is None
