"""COCO beside instances: lists of results, and panoptic sets with their PNG files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from synapse_core.datasets import convert, read
from synapse_core.datasets.mask_shapes import counts_of
from synapse_core.errors import InvalidDataset


def test_results_are_items_by_image_in_the_order_of_their_first_appearance(tmp_path: Path):
    rows = [
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.25},
        {"image_id": 7, "category_id": 1, "bbox": [5, 5, 1, 1], "score": 0.75},
    ]
    (tmp_path / "found.json").write_text(json.dumps(rows))

    header, items = read(tmp_path / "found.json")
    found = list(items)

    assert header.format == "coco"
    assert [entry.name for entry in header.classes] == ["category_1", "category_3"]
    assert [item.key for item in found] == ["7", "2"]
    assert [(one.label, one.box, one.score) for one in found[0].annotations] == [
        (1, (1.0, 2.0, 3.0, 4.0), 0.5),
        (0, (5.0, 5.0, 1.0, 1.0), 0.75),
    ]


def test_scores_go_along_to_coco_and_are_told_where_there_is_no_place_for_them(tmp_path: Path):
    rows = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    (tmp_path / "found.json").write_text(json.dumps(rows))

    kept = convert(tmp_path / "found.json", "coco", tmp_path / "coco")
    lost = convert(tmp_path / "found.json", "voc", dry_run=True)

    assert kept.config_path is not None
    assert json.loads(Path(kept.config_path).read_text())["annotations"][0]["score"] == 0.5
    assert "SCORE_DROPPED" in lost.losses.reasons or lost.losses.written == 0


def panoptic(root: Path, segments: list[dict[str, object]]) -> Path:
    """An image of 4 x 2 pixels: its left half is segment 5, its right half segment 5 + 256."""
    folder = root / "annotations" / "panoptic_val"
    folder.mkdir(parents=True)
    colours = Image.new("RGB", (4, 2), (5, 0, 0))
    colours.paste((5, 1, 0), (2, 0, 4, 2))
    colours.save(folder / "a.png")
    (root / "annotations" / "panoptic_val.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 2}],
                "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
                "categories": [{"id": 1, "name": "sky"}, {"id": 9, "name": "cow"}],
            }
        )
    )
    return root


def test_segments_are_masks_of_the_pixels_that_have_their_colour(tmp_path: Path):
    segments = [{"id": 5, "category_id": 9, "iscrowd": 0}, {"id": 261, "category_id": 1, "iscrowd": 1}]
    header, items = read(panoptic(tmp_path, segments))
    (item,) = items

    assert (header.format, header.splits, item.split) == ("coco_panoptic", ("val",), "val")
    assert [(one.label, counts_of(one.shape), one.is_crowd) for one in item.annotations] == [
        (1, [0, 4, 4], False),
        (0, [4, 4], True),
    ]


def test_what_is_wrong_with_a_segment_is_told_and_loses_no_other(tmp_path: Path):
    segments = [{"id": 5, "category_id": 9}, {"id": 6, "category_id": 9}, {"id": 261, "category_id": 4}]
    result = convert(panoptic(tmp_path, segments), "coco", dry_run=True)

    assert result.losses.kinds["mask"].written == 1
    assert result.losses.reasons == {"IMAGE_MISSING": 1, "ZERO_AREA": 1, "UNKNOWN_CLASS": 1}


def test_a_picture_that_cannot_be_read_fails_its_segments_alone(tmp_path: Path):
    root = panoptic(tmp_path, [{"id": 5, "category_id": 9}])
    (root / "annotations" / "panoptic_val" / "a.png").write_bytes(b"no picture")

    result = convert(root, "coco", dry_run=True)

    assert (result.losses.kinds["mask"].failed, result.losses.items) == (1, 1)
    assert "BAD_FILE" in result.losses.reasons


def test_a_panoptic_file_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "panoptic_val.json").write_text('{"annotations": [{"segments_info": [')

    with pytest.raises(InvalidDataset, match=r"panoptic_val\.json"):
        convert(tmp_path / "panoptic_val.json", "coco", dry_run=True)
