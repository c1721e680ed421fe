"""CreateML: boxes by their centres, in one list a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.createml import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Annotation
from synapse_core.datasets.source import open_source

NAME = "_annotations.createml.json"


def box(label: str, x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return {"label": label, "coordinates": {"x": x, "y": y, "width": width, "height": height}, **more}


def image(name: str, *boxes: dict[str, Any]) -> dict[str, Any]:
    return {"image": name, "annotations": boxes}


def test_boxes_are_read_by_their_centres(tmp_path: Path):
    rows = [
        image("a.png", box("dog", 10, 20, 4, 8), box("cat", 5.5, 5, 3, 2, confidence=0.5)),
        image("b.png"),
    ]
    write_files(tmp_path, {"a.json": json.dumps(rows), "a.png": png(64, 48), "b.png": png()})

    header, items, losses = read_all(tmp_path, "createml")

    assert [entry.name for entry in header.classes] == ["cat", "dog"]
    assert items["a.png"].annotations == [
        Annotation(1, (8, 16, 4, 8)),
        Annotation(0, (4, 4, 3, 2), score=0.5),
    ]
    assert (items["a.png"].width, items["a.png"].height) == (64, 48)
    assert items["b.png"].annotations == []
    assert not losses.codes


def test_it_comes_back_with_its_splits(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            f"train/{NAME}": json.dumps([image("a.png", box("dog", 10, 20, 4, 8)), image("b.png")]),
            f"valid/{NAME}": json.dumps(
                [image("c.png", box("cat", 1.25, 2, 1, 1, confidence=0.25), {"label": "cat"})]
            ),
            "train/a.png": png(),
            "train/b.png": png(),
            "valid/c.png": png(),
        },
    )

    result = convert(tmp_path / "in", "createml", tmp_path / "out", source_format="createml")

    header, items, _ = read_all(tmp_path / "in", "createml")
    again, items_again, _ = read_all(tmp_path / "out", "createml")
    assert result.losses.is_lossless
    assert again.classes == header.classes
    assert {key: (item.split, item.annotations) for key, item in items_again.items()} == {
        key: (item.split, item.annotations) for key, item in items.items()
    }
    assert {item.split for item in items.values()} == {"train", "val"}


def test_what_is_broken_fails_alone(tmp_path: Path):
    broken: list[dict[str, Any]] = [{"label": "dog", "coordinates": {"x": 1}}, {"coordinates": "x"}]
    rows = [image("a.png", *broken, box("dog", 10, 20, 4, 8)), {"annotations": []}]
    write_files(tmp_path / "in", {"a.json": json.dumps(rows), "b.json": '[{"image": ', "a.png": png()})

    result = convert(tmp_path / "in", "createml", tmp_path / "out", source_format="createml")

    assert result.losses.reasons == {"BAD_ROW": 3, "BAD_FILE": 1}
    assert result.losses.written == 1


def test_the_names_that_older_files_have(tmp_path: Path):
    rows = [{"imagefilename": "a.png", "annotation": [box("dog", 10, 20, 4, 8)]}]
    write_files(tmp_path, {"a.json": json.dumps(rows), "a.png": png()})

    _, items, _ = read_all(tmp_path, "createml")

    assert items["a.png"].annotations == [Annotation(0, (8, 16, 4, 8))]


def test_createml_is_recognised(tmp_path: Path):
    rows = [image("a.png", box("dog", 10, 20, 4, 8))]
    createml = write_files(tmp_path / "createml", {"a.json": json.dumps(rows)})
    results = write_files(tmp_path / "results", {"a.json": '[{"image_id": 1, "category_id": 1}]'})

    assert detect(glance(open_source(createml))) is not None
    assert detect(glance(open_source(results))) is None
