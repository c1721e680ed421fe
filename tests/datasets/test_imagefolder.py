"""Image folders: the folder is the class."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.imagefolder import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidDataset, InvalidRequest


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path):
    write_files(
        tmp_path, {"dog/1.png": png(9, 8), "cat/1.png": png(), "cat/old/2.png": png(), "ant/note.txt": "x"}
    )

    header, items, _ = read_all(tmp_path, "imagefolder")

    assert [entry.name for entry in header.classes] == ["ant", "cat", "dog"]
    assert {key: item.annotations[0].label for key, item in items.items()} == {
        "cat/1.png": 1,
        "cat/old/2.png": 1,
        "dog/1.png": 2,
    }
    assert (items["dog/1.png"].width, items["dog/1.png"].height) == (9, 8)


def test_splits_lie_above_the_classes_and_a_list_gives_their_order(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "train/cat/1.png": png(),
            "valid/dog/2.png": png(),
            "test/cat/3.png": png(),
            "classes.txt": "dog\ncat\n",
        },
    )

    header, items, _ = read_all(tmp_path, "imagefolder")

    assert [entry.name for entry in header.classes] == ["dog", "cat"]
    assert set(header.splits) == {"train", "val", "test"}
    assert {key: item.split for key, item in items.items()} == {
        "cat/1.png": "train",
        "dog/2.png": "val",
        "cat/3.png": "test",
    }


def test_it_comes_back_as_it_was(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "train/cat/1.png": png(),
            "train/dog/1.png": png(),
            "test/cat/1.png": png(),
            "classes.txt": "dog\ncat\n",
        },
    )

    result = convert(tmp_path / "in", "imagefolder", tmp_path / "out", source_format="imagefolder")

    assert result.losses.is_lossless
    assert result.losses.kinds["tag"].written == 3
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert there == {"train/cat/1.png", "train/dog/1.png", "test/cat/1.png"}
    assert (tmp_path / "out/classes.txt").read_text() == "dog\ncat\n"


def test_boxes_become_the_class_of_their_image_and_all_else_is_told(tmp_path: Path):
    def thing(name: str) -> str:
        corners = "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax>"
        return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"

    write_files(
        tmp_path / "in",
        {
            "a.xml": f"<annotation>{thing('dog')}{thing('dog')}{thing('cat')}</annotation>",
            "b.xml": "<annotation/>",
            "a.png": png(),
            "b.png": png(),
        },
    )

    result = convert(tmp_path / "in", "imagefolder", tmp_path / "out", source_format="voc")

    assert result.losses.reasons == {
        "ANNOTATION_TO_TAG": 1,
        "DUPLICATE": 1,
        "SEVERAL_CLASSES": 1,
        "IMAGE_DROPPED": 1,
    }
    counts = result.losses.kinds["box"]
    assert (counts.seen, counts.written, counts.merged, counts.skipped) == (3, 1, 1, 1)
    assert (tmp_path / "out/dog/a.png").is_file()


@pytest.mark.parametrize("name", ["a/b", "..", " dog.", "a\nb", "C:"])
def test_a_class_gets_a_folder_whatever_its_name(tmp_path: Path, name: str):
    text = f"<annotation><object><name>{name}</name><polygon><x1>1</x1><y1>1</y1><x2>5</x2><y2>1</y2>"
    text += "<x3>5</x3><y3>5</y3></polygon></object></annotation>"
    write_files(tmp_path / "in", {"a.xml": text, "a.png": png()})

    convert(tmp_path / "in", "imagefolder", tmp_path / "out", source_format="voc")

    [image] = (tmp_path / "out").rglob("*.png")
    assert image.parent.parent == tmp_path / "out"


def test_it_cannot_be_written_without_images(tmp_path: Path):
    write_files(tmp_path / "in", {"cat/1.png": png()})

    with pytest.raises(InvalidRequest, match="consists of images"):
        convert(tmp_path / "in", "imagefolder", tmp_path / "out", source_format="imagefolder", images="none")


def test_folders_of_images_are_recognised(tmp_path: Path):
    classes = write_files(tmp_path / "classes", {"cat/1.png": png(), "dog/1.png": png()})
    splits = write_files(tmp_path / "splits", {"train/cat/1.png": png(), "val/dog/1.png": png()})
    plain = write_files(tmp_path / "plain", {"images/1.png": png(), "more/1.png": png()})
    coco = write_files(tmp_path / "coco", {"train2017/1.png": png(), "val2017/1.png": png()})
    labelled = write_files(
        tmp_path / "labelled", {"a/1.png": png(), "a/1.txt": "0 .5 .5 1 1", "b/1.png": png()}
    )

    def score(root: Path) -> float:
        evidence = detect(glance(open_source(root)))
        return evidence.score if evidence is not None else 0.0

    assert score(classes) > 0.5
    assert score(splits) > 0.5
    assert [score(plain), score(coco), score(labelled)] == [0, 0, 0]


def test_a_folder_without_folders_says_what_belongs_there(tmp_path: Path):
    write_files(tmp_path, {"1.png": png()})

    with pytest.raises(InvalidDataset, match="no folders of images"):
        read_all(tmp_path, "imagefolder")
