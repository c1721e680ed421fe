"""Pascal VOC masks: pictures of palette indices."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from dataset_worlds import png, read_all, write_files
from PIL import Image

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.voc_masks import detect
from synapse_core.datasets.formats.voc_write import color
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Mask
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidDataset

VOID = 255


def picture(*rows: list[int], mode: str = "P") -> bytes:
    image = Image.new("P", (len(rows[0]), len(rows)))
    image.putpalette([number for index in range(256) for number in color(index)])
    image.putdata([value for row in rows for value in row])
    data = io.BytesIO()
    image.convert(mode).save(data, "PNG")
    return data.getvalue()


CLASSES = ([0, 8, 8, VOID], [12, 12, 8, 0], [0, 0, 0, 0])
OBJECTS = ([0, 1, 2, VOID], [3, 3, 2, 0], [0, 0, 0, 0])


def runs_of(root: Path) -> dict[str, list[tuple[str, list[list[int]]]]]:
    """Return key -> (class, runs along the rows) of each mask."""
    header, items, losses = read_all(root, "voc_masks")
    assert not losses.codes
    return {
        key: [
            (header.classes[one.label].name, one.shape.data)
            for one in item.annotations
            if isinstance(one.shape, Mask)
        ]
        for key, item in items.items()
    }


def test_objects_have_the_class_of_their_pixels(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "SegmentationClass/a.png": picture(*CLASSES),
            "SegmentationObject/a.png": picture(*OBJECTS),
            "JPEGImages/a.jpg": b"",
            "JPEGImages/other.jpg": b"",
            "ImageSets/Segmentation/val.txt": "a\n",
        },
    )

    header, items, _ = read_all(tmp_path, "voc_masks")

    assert runs_of(tmp_path) == {
        "a.jpg": [("cat", [[1, 1]]), ("cat", [[2, 1], [6, 1]]), ("dog", [[4, 2]])],
    }
    assert (items["a.jpg"].split, items["a.jpg"].width, items["a.jpg"].height) == ("val", 4, 3)
    assert len(header.classes) == 20


def test_without_objects_the_pixels_of_a_class_are_one(tmp_path: Path):
    write_files(tmp_path, {"SegmentationClass/a.png": picture(*CLASSES), "JPEGImages/a.png": png(4, 3)})

    assert runs_of(tmp_path) == {"a.png": [("cat", [[1, 2], [6, 1]]), ("dog", [[4, 2]])]}


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_the_label_map_names_classes_by_their_colours(tmp_path: Path, mode: str):
    red, green, blue = color(12)
    other = color(8)
    lines = (
        f"# label\nbackground:0,0,0::\nwolf:{red},{green},{blue}::\nlynx:{other[0]},{other[1]},{other[2]}::\n"
    )
    pixels = [[value if value != VOID else 0 for value in row] for row in CLASSES]
    write_files(
        tmp_path,
        {
            "SegmentationClass/a.png": picture(*pixels, mode=mode),
            "labelmap.txt": lines,
            "JPEGImages/a.png": png(4, 3),
        },
    )

    found = runs_of(tmp_path)["a.png"]

    assert sorted(found) == [("lynx", [[1, 2], [6, 1]]), ("wolf", [[4, 2]])]


def test_masks_become_boxes_and_that_is_told(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "SegmentationClass/a.png": picture(*CLASSES),
            "SegmentationObject/a.png": picture(*OBJECTS),
            "JPEGImages/a.png": png(4, 3),
        },
    )

    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc_masks")

    _, items, _ = read_all(tmp_path / "out", "voc")
    assert result.losses.reasons == {"MASK_TO_BOX": 3}
    assert [one.box for one in items["a.png"].annotations] == [(1, 0, 1, 1), (2, 0, 1, 2), (0, 1, 2, 1)]


def test_a_broken_picture_never_loses_the_set(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "SegmentationClass/a.png": picture(*CLASSES),
            "SegmentationClass/b.png": b"nothing",
            "SegmentationClass/c.png": picture(*CLASSES),
            "SegmentationObject/c.png": picture([0, 1]),
        },
    )

    _, items, losses = read_all(tmp_path, "voc_masks", images="none")

    assert list(items) == ["a.jpg"]
    assert [entry.where for entry in losses.entries] == [
        "SegmentationClass/b.png",
        "SegmentationObject/c.png",
    ]


def test_the_folders_are_recognised(tmp_path: Path):
    ours = write_files(tmp_path / "ours", {"VOC2012/SegmentationClass/a.png": picture(*CLASSES)})
    other = write_files(tmp_path / "other", {"masks/a.png": picture(*CLASSES)})

    assert detect(glance(open_source(ours))) is not None
    assert detect(glance(open_source(other))) is None
    with pytest.raises(InvalidDataset, match="neither SegmentationClass"):
        read_all(other, "voc_masks")
