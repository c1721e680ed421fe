"""LabelMe: every type of shape, parts by their group, and files that are not quite right."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.labelme import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.mask_shapes import counts_of
from synapse_core.datasets.model import Annotation, Mask, Opaque, Polygon, Polyline
from synapse_core.datasets.png_mask import write_png
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidDataset


def shape(shape_type: str, points: list[list[float]], label: str = "dog", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": shape_type, "group_id": None, "flags": {}, **more}


def document(*shapes: dict[str, Any], **more: Any) -> str:
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None}
    return json.dumps({**content, "imageHeight": 8, "imageWidth": 10, **more})


# Rows .XX / XX. of a window.
PICTURE = base64.b64encode(write_png(3, 2, [[1, 4]])).decode()
SHAPES = [
    (shape("rectangle", [[4, 6], [1, 2]]), Annotation(0, (1, 2, 3, 4))),
    (shape("rectangle", [[1, 2], [4, 6]]), Annotation(0, (1, 2, 3, 4))),
    (shape("rectangle", [[1, 6], [4, 2]]), Annotation(0, (1, 2, 3, 4))),
    (shape("polygon", [[1, 2], [3.5, 4], [5, 6]]), Annotation(0, shape=Polygon([[1, 2, 3.5, 4, 5, 6]]))),
    (shape("line", [[1, 2], [3, 4]]), Annotation(0, shape=Polyline([1, 2, 3, 4]))),
    (shape("linestrip", [[1, 2], [3, 4], [5, 2]]), Annotation(0, shape=Polyline([1, 2, 3, 4, 5, 2]))),
    (shape("point", [[1, 2]]), Annotation(0, points=[1, 2, 2])),
    (shape("points", [[1, 2], [3, 4]]), Annotation(0, points=[1, 2, 2, 3, 4, 2])),
    (
        shape("circle", [[5, 4], [5, 6]]),
        Annotation(0, shape=Opaque("circle", {"points": [[5.0, 4.0], [5.0, 6.0]]})),
    ),
    (
        shape(
            "rectangle", [[1, 2], [4, 6]], flags={"occluded": True}, description="d", attributes={"age": 3}
        ),
        Annotation(0, (1, 2, 3, 4), attributes={"age": 3, "occluded": True, "description": "d"}),
    ),
    (shape("rectangle", [[1, 2], [4, 6]], group_id=7), Annotation(0, (1, 2, 3, 4), group="7")),
]


@pytest.mark.parametrize(("given", "expected"), SHAPES)
def test_a_shape_is_read_and_comes_back(tmp_path: Path, given: dict[str, Any], expected: Annotation):
    write_files(tmp_path / "in", {"a.json": document(given), "a.png": png(10, 8)})

    _, items, losses = read_all(tmp_path / "in", "labelme")
    result = convert(tmp_path / "in", "labelme", tmp_path / "out", source_format="labelme")
    _, again, _ = read_all(tmp_path / "out", "labelme")

    assert items["a.png"].annotations == [expected]
    assert not losses.codes
    assert result.losses.is_lossless
    assert again["a.png"].annotations == [expected]


def test_a_mask_is_read_from_its_picture_and_comes_back(tmp_path: Path):
    given = shape("mask", [[2, 1], [4, 2]], mask=PICTURE)
    write_files(tmp_path / "in", {"a.json": document(given), "a.png": png(10, 8)})

    _, items, _ = read_all(tmp_path / "in", "labelme")
    convert(tmp_path / "in", "labelme", tmp_path / "out", source_format="labelme")
    _, again, _ = read_all(tmp_path / "out", "labelme")

    [one] = items["a.png"].annotations
    [other] = again["a.png"].annotations
    assert one.shape == Mask(8, 10, "row_runs", [[13, 2], [22, 2]])
    assert isinstance(other.shape, Mask)
    assert counts_of(other.shape) == counts_of(one.shape)


def test_polygons_of_a_group_are_parts_of_one_object(tmp_path: Path):
    def part(at: int, label: str = "dog", group: int | None = 1) -> dict[str, Any]:
        return shape("polygon", [[at, 0], [at + 1, 0], [at + 1, 1]], label, group_id=group)

    parts = [part(0), part(2), part(4, "cat"), part(6, group=2), part(8, group=None), part(8, group=None)]
    write_files(tmp_path / "in", {"a.json": document(*parts), "a.png": png(10, 8)})

    header, items, _ = read_all(tmp_path / "in", "labelme")
    result = convert(tmp_path / "in", "labelme", tmp_path / "out", source_format="labelme")
    _, again, _ = read_all(tmp_path / "out", "labelme")

    found = items["a.png"].annotations
    assert [entry.name for entry in header.classes] == ["cat", "dog"]
    assert [(one.label, one.group) for one in found] == [(1, "1"), (0, "1"), (1, "2"), (1, None), (1, None)]
    assert found[0].shape == Polygon([[0, 0, 1, 0, 1, 1], [2, 0, 3, 0, 3, 1]])
    assert again["a.png"].annotations == found
    assert result.losses.is_lossless


def test_the_image_is_found_by_a_path_of_another_system(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "labels/a.json": document(imagePath="..\\images\\photo.png"),
            "images/photo.png": png(10, 8),
            "labels/b.json": document(imagePath="/home/me/b.png"),
            "labels/b.png": png(10, 8),
        },
    )

    _, items, _ = read_all(tmp_path, "labelme")

    assert {key: item.image for key, item in items.items()} == {
        "labels/a.png": "images/photo.png",
        "labels/b.png": "labels/b.png",
    }


def test_an_embedded_image_is_decoded_for_nothing_but_a_missing_size(tmp_path: Path):
    picture = base64.b64encode(png(10, 8)).decode()
    write_files(
        tmp_path,
        {
            "a.json": document(imageData="not base64 at all"),
            "b.json": document(imageData=picture, imageHeight=None, imageWidth=None, imagePath="b.png"),
        },
    )

    _, items, losses = read_all(tmp_path, "labelme")

    assert {key: (item.width, item.height) for key, item in items.items()} == {
        "a.png": (10, 8),
        "b.png": (10, 8),
    }
    assert [entry.message for entry in losses.entries] == ["it is embedded in the file"] * 2


def test_flags_of_the_file_are_classes_of_the_image(tmp_path: Path):
    write_files(
        tmp_path / "in", {"a.json": document(flags={"indoors": True, "blurred": False}), "a.png": png(10, 8)}
    )

    header, items, _ = read_all(tmp_path / "in", "labelme")
    convert(tmp_path / "in", "labelme", tmp_path / "out", source_format="labelme")

    assert [entry.name for entry in header.classes] == ["indoors"]
    assert items["a.png"].annotations == [Annotation(0)]
    assert json.loads((tmp_path / "out/a.json").read_text())["flags"] == {"indoors": True}


@pytest.mark.parametrize(
    "bad",
    [
        {"label": "dog", "points": [[1]], "shape_type": "polygon"},
        {"label": "dog", "points": "x"},
        {"label": "dog"},
        shape("rectangle", [[1, 2]]),
        shape("mask", [[1, 2], [3, 4]], mask="%%%"),
        shape("mask", [[1, 2], [3, 4]], mask=base64.b64encode(b"nothing").decode()),
        shape("mask", [[9, 2], [3, 4]], mask=PICTURE),
    ],
)
def test_a_broken_shape_fails_alone(tmp_path: Path, bad: dict[str, Any]):
    good = shape("rectangle", [[1, 2], [4, 6]])
    write_files(tmp_path / "in", {"a.json": document(bad, good), "a.png": png(10, 8)})

    result = convert(tmp_path / "in", "labelme", tmp_path / "out", source_format="labelme")

    [entry] = result.losses.examples["BAD_ROW"]
    assert entry.where == "a.json: shape 1"
    assert result.losses.written == 1


def test_a_broken_file_never_loses_the_set(tmp_path: Path):
    write_files(tmp_path, {"a.json": document(), "a.png": png(), "b.json": '{"shapes": [', "c.json": "[]"})

    _, items, losses = read_all(tmp_path, "labelme")

    assert list(items) == ["a.png"]
    assert losses.codes == {"BAD_FILE": 2}


def test_labelme_is_recognised_and_other_json_is_not(tmp_path: Path):
    labelme = write_files(tmp_path / "labelme", {"a.json": document()})
    coco = write_files(tmp_path / "coco", {"a.json": '{"images": [], "annotations": [], "categories": []}'})

    assert detect(glance(open_source(labelme))) is not None
    assert detect(glance(open_source(coco))) is None
    with pytest.raises(InvalidDataset, match="no files of LabelMe"):
        read_all(coco, "labelme")
