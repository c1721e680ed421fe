"""Open Images: tables of boxes and classes, whose numbers are relative to the image."""

from __future__ import annotations

from pathlib import Path

from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.open_images import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Annotation, Opaque
from synapse_core.datasets.source import open_source

TAGS = "ImageID,Source,LabelName,Confidence\n"
HEAD = f"{TAGS.strip()},XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
NAMES = "/m/0,Dog\n/m/1,Cat\n"


def test_boxes_classes_and_splits_are_read_and_come_back(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "annotations/oidv6-class-descriptions.csv": f"LabelName,DisplayName\n{NAMES}",
            "annotations/oidv6-train-annotations-bbox.csv": (
                f"{HEAD}a,xclick,/m/1,1,0.25,0.5,0.125,0.5,1,0,0,-1,0\na,xclick,/m/0,0.5,0,1,0,1,0,0,1,0,0\n"
            ),
            "annotations/validation-annotations-human-imagelabels.csv": f"{TAGS}b,x,/m/0,1\nb,x,/m/1,0\n",
            "images/train/a.png": png(64, 48),
            "images/validation/b.png": png(),
            "images/train/nothing.png": png(),
        },
    )

    header, items, losses = read_all(tmp_path / "in", "open_images")
    result = convert(tmp_path / "in", "open_images", tmp_path / "out", source_format="open_images")
    again, items_again, _ = read_all(tmp_path / "out", "open_images")

    assert [(entry.name, entry.source_id) for entry in header.classes] == [("Dog", "/m/0"), ("Cat", "/m/1")]
    assert items["a.png"].annotations == [
        Annotation(1, (16, 6, 16, 18), attributes={"occluded": True}),
        Annotation(0, (0, 0, 64, 48), score=0.5, is_crowd=True),
    ]
    # A 0 says that people looked for it, and it is not there.
    assert items["b.png"].annotations == [
        Annotation(0),
        Annotation(1, shape=Opaque("not_there", {"label": "/m/1"})),
    ]
    assert {key: item.split for key, item in items.items()} == {
        "a.png": "train",
        "b.png": "val",
        "nothing.png": "train",
    }
    assert not losses.codes
    assert result.losses.is_lossless
    assert again.classes == header.classes
    assert {key: item.annotations for key, item in items_again.items()} == {
        key: item.annotations for key, item in items.items()
    }


def test_a_comma_in_a_number_is_a_point(tmp_path: Path):
    row = 'a.png,,dog,,"0,25","0,5","0,125","0,5",,,,,\n'
    write_files(tmp_path, {"boxes.csv": HEAD + row, "a.png": png(64, 48)})

    _, items, _ = read_all(tmp_path, "open_images")

    assert items["a.png"].annotations == [Annotation(0, (16, 6, 16, 18))]


def test_without_an_image_nobody_knows_where_a_box_is(tmp_path: Path):
    write_files(
        tmp_path,
        {"boxes.csv": f"{HEAD}a,,dog,1,0,1,0,1,,,,,\nb,,dog,1,0,1,0,1,,,,,\n", "images.meta": "b 48 64\n"},
    )

    _, items, losses = read_all(tmp_path, "open_images", images="none")

    assert items["a.jpg"].annotations == []
    assert items["b.jpg"].annotations == [Annotation(0, (0, 0, 64, 48))]
    assert losses.codes == {"IMAGE_MISSING": 1}
    assert losses.counts["box", "failed"] == 1


def test_a_broken_row_fails_alone(tmp_path: Path):
    rows = "a,,dog,1,x,1,0,1,,,,,\na,,dog,1,0,1\na,,dog,1,0,1,0,1,,,,,\n"
    write_files(tmp_path, {"boxes.csv": HEAD + rows, "a.png": png()})

    _, items, losses = read_all(tmp_path, "open_images")

    assert len(items["a.png"].annotations) == 1
    assert [entry.where for entry in losses.entries] == ["boxes.csv:2", "boxes.csv:3"]


def test_masks_are_told_and_not_read(tmp_path: Path):
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    write_files(tmp_path, {"masks.csv": f"{head}m.png,a,dog,1,0,1,0,1,0.5,\n", "a.png": png()})

    _, items, losses = read_all(tmp_path, "open_images")

    assert items["a.png"].annotations == []
    assert [(entry.code, entry.after) for entry in losses.entries] == [("NOT_SUPPORTED", 1)]


def test_open_images_is_recognised(tmp_path: Path):
    ours = write_files(tmp_path / "ours", {"boxes.csv": HEAD})
    other = write_files(tmp_path / "other", {"table.csv": "filename,width\n"})

    assert detect(glance(open_source(ours))) is not None
    assert detect(glance(open_source(other))) is None
