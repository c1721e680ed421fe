"""Which format a dataset is in: what is sure, what could be several, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dataset_worlds import png, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.detection import detect
from synapse_core.datasets.formats import formats, possible_formats
from synapse_core.datasets.glance import glance
from synapse_core.datasets.source import open_source
from synapse_core.errors import AmbiguousDataset, NotFound, SynapseError, UnknownFormat, UnrecognisedDataset

COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
)


def found(root: Path) -> str:
    return detect(open_source(root)).format.name


def polygons(root: Path) -> Path:
    """A COCO dataset of two splits, each with images that have a polygon."""
    content = json.loads(COCO)
    content["images"] = [
        content["images"][0] | {"id": number, "file_name": f"{number}.png"} for number in range(3)
    ]
    ring = [[10, 10, 60, 10, 60, 60, 20, 70, 10, 60]]
    content["annotations"] = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [10, 10, 50, 60], "segmentation": ring}
        for number in range(3)
    ]
    files: dict[str, str | bytes] = {}
    for split in ("train", "val"):
        files[f"annotations/instances_{split}.json"] = json.dumps(content)
        files |= {f"images/{split}/{number}.png": png() for number in range(3)}
    return write_files(root, files)


@pytest.mark.parametrize("name", [known.name for known in formats() if known.write is not None])
def test_what_a_format_writes_is_recognised_as_that_format(tmp_path: Path, name: str):
    polygons(tmp_path / "in")

    convert(tmp_path / "in", name, tmp_path / "out")
    convert(tmp_path / "in", name, tmp_path / "flat", splits="none")

    assert found(tmp_path / "out") == name
    assert found(tmp_path / "flat") == name
    assert detect(open_source(tmp_path / "out")).reasons


@pytest.mark.parametrize("name", ["yolo", "coco", "voc"])
def test_what_is_written_without_images_is_recognised_too(tmp_path: Path, name: str):
    convert(polygons(tmp_path / "in"), name, tmp_path / "out", images="none")

    if name == "yolo":
        with pytest.raises(SynapseError):
            convert(tmp_path / "out", "coco", dry_run=True)
    else:
        assert found(tmp_path / "out") == name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"data.yaml": "names: [a]\ntrain: images\n", "images/a.png": png()}, "yolo"),
        ({"images/a.png": png(), "labels/a.txt": "0 .5 .5 .1 .1"}, "yolo"),
        ({"a.png": png(), "a.txt": "0 .5 .5 .1 .1"}, "yolo"),
        ({"obj.data": "names = obj.names\ntrain = train.txt", "obj.names": "a"}, "yolo"),
        ({"_annotations.coco.json": COCO, "a.png": png()}, "coco"),
        ({"labels.json": json.dumps(json.loads(COCO), indent=4)}, "coco"),
        ({"dog/a.png": png(), "cat/b.png": png()}, "imagefolder"),
    ],
)
def test_usual_folders_are_recognised(tmp_path: Path, files: dict[str, str | bytes], name: str):
    assert found(write_files(tmp_path, files)) == name


def test_one_file_among_very_many_images_is_found(tmp_path: Path):
    files: dict[str, str | bytes] = {f"train/{number}.png": b"" for number in range(2000)}
    write_files(tmp_path, files | {"train/_annotations.coco.json": COCO})

    assert found(tmp_path) == "coco"


def test_a_file_alone_is_recognised(tmp_path: Path):
    write_files(tmp_path, {"x/labels.json": COCO, "y/data.yaml": "names: [a]\ntrain: images\n"})

    assert found(tmp_path / "x/labels.json") == "coco"
    assert found(tmp_path / "y/data.yaml") == "yolo"


def test_a_folder_that_is_no_dataset_is_told_with_what_is_in_it(tmp_path: Path):
    write_files(
        tmp_path, {"src/main.py": "x", "src/a.py": "x", "notes.md": "x", "package.json": '{"name": "x"}'}
    )

    with pytest.raises(UnrecognisedDataset, match="is not recognised") as caught:
        detect(open_source(tmp_path))

    assert "2 x .py" in caught.value.message
    assert "src" in caught.value.message
    assert caught.value.details["files"] == {".py": 2, ".md": 1, ".json": 1}
    assert caught.value.hint


def test_what_a_folder_is_nearest_to_is_told(tmp_path: Path):
    write_files(tmp_path, {"labels/a.txt": "0 .5 .5 .1 .1", "labels/b.txt": "", "classes.txt": "dog"})

    with pytest.raises(SynapseError) as caught:
        convert(tmp_path, "coco", dry_run=True)

    assert caught.value.code in ("unrecognised_dataset", "invalid_dataset")
    assert caught.value.hint


def test_an_empty_folder_says_that_it_is_empty(tmp_path: Path):
    (tmp_path / "in").mkdir()

    with pytest.raises(UnrecognisedDataset, match="is empty"):
        detect(open_source(tmp_path / "in"))


def test_nothing_at_all_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound, match="nothing at"):
        open_source(tmp_path / "in")


def test_an_unknown_format_names_the_nearest(tmp_path: Path):
    with pytest.raises(UnknownFormat, match="yolo") as caught:
        detect(open_source(tmp_path), "yolov8")

    assert caught.value.hint


def test_two_datasets_in_one_folder_are_ambiguous_until_one_is_named(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "data.yaml": "names: [dog]\ntrain: images/train\n",
            "images/train/a.png": png(),
            "labels/train/a.txt": "0 .5 .5 .1 .1",
            "annotations/instances_train.json": COCO,
        },
    )

    with pytest.raises(AmbiguousDataset, match="can be read as") as caught:
        detect(open_source(tmp_path))

    assert set(caught.value.details["candidates"]) == {"coco", "yolo"}
    assert detect(open_source(tmp_path), "yolo").format.name == "yolo"
    assert found(tmp_path / "data.yaml") == "yolo"
    assert found(tmp_path / "annotations/instances_train.json") == "coco"


@pytest.mark.parametrize("data", [b"", b"{", b"\x00\xff", b"[]", b"null", b'{"images": 5}'])
@pytest.mark.parametrize("name", ["a.json", "a.xml", "data.yaml", "a.csv", "a.txt"])
def test_files_with_nothing_in_them_upset_nobody(tmp_path: Path, name: str, data: bytes):
    write_files(tmp_path, {name: data})

    for where in (tmp_path, tmp_path / name):
        with pytest.raises(SynapseError):
            convert(where, "coco", dry_run=True)


def test_no_format_is_passed_over_that_would_recognise_a_folder(tmp_path: Path):
    """Most formats are not even imported where nothing in the first files points to them."""
    write_files(tmp_path, {"in/annotations.json": COCO, "in/a.png": png()})
    for known in formats():
        if known.write is not None:
            convert(tmp_path / "in", known.name, tmp_path / known.name)

    for root in tmp_path.iterdir():
        seen = glance(open_source(root))
        wanted = {known.name for known in formats() if known.detect(seen) is not None}
        assert wanted <= {known.name for known in possible_formats(seen)}, root.name
    coco = possible_formats(glance(open_source(tmp_path / "in/annotations.json")))
    assert {known.name for known in coco} == {"coco", "coco_results"}
