"""DM datasets: their folders, what their tools become in other formats, and that they come back from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dm_worlds import HEIGHT, WIDTH, box, make_dm, read_json, two
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.detection import detect
from synapse_core.datasets.formats import find_format
from synapse_core.datasets.model import Annotation, Item, Mask, Opaque
from synapse_core.datasets.options import make_options
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidDataset

EDITOR = {"isLocked": True, "isVisible": True, "isValid": False, "isDrawCompleted": True, "label": ["car"]}
PERSON = ("nose", "left_eye")


def one() -> dict[str, Any]:
    """Return a document of version 1 with a turned box, an object with points and other things."""
    shapes = [
        ("AbCdEfGhIj", "bounding_box", {"class": "car", "color": "red"}),
        ("person1", "bounding_box", {"class": "person"}),
        ("k1", "keypoint", {"class": "nose", "visibility": "visible"}),
        ("k2", "keypoint", {"class": "left_eye", "visibility": 1}),
        ("p1", "polygon", {"class": "tree"}),
        ("s1", "segmentation", {"class": "road"}),
        ("c1", "classification", {"class": "sunny", "hour": 9}),
    ]
    corners = [{"x": 1, "y": 1, "id": "a"}, {"x": 9, "y": 1, "id": "b"}, {"x": 5.5, "y": 7.25, "id": "c"}]
    rows = [
        {"id": "AbCdEfGhIj", "coordinate": {"x": 10, "y": 8, "width": 6, "height": 4, "rotation": 0.5}},
        {"id": "person1", "coordinate": {"x": 2, "y": 3, "width": 10, "height": 12}},
        {"id": "k1", "coordinate": {"x": 4, "y": 5}},
        {"id": "k2", "coordinate": {"x": 6, "y": 5}},
        {"id": "p1", "coordinate": corners},
        {"id": "s1", "pixel_indices": [[0, 5], [40, 5]], "isCompressed": True, "compressionFormat": "rle"},
        {"id": "c1"},
    ]
    return {
        "assignmentId": 7,
        "extra": {"image_1": {"width": WIDTH, "height": HEIGHT}},
        "annotations": {
            "image_1": [
                {"id": own_id, "tool": tool, **EDITOR, "classification": given}
                for own_id, tool, given in shapes
            ]
        },
        "annotationsData": {"image_1": rows},
        "relations": {},
        "annotationGroups": {"image_1": [{"id": "g1", "annotationIds": ["person1", "k1", "k2"]}]},
    }


def items_of(path: Path, version: int = 2, losses: Losses | None = None) -> tuple[Any, list[Item]]:
    """Return the header and the items of a DM dataset."""
    reader = find_format(f"dm_v{version}").read(open_source(path), make_options())
    count = len(list(reader.entries()))
    classes = len(reader.header.classes)
    found = losses if losses is not None else Losses(classes, classes)
    return reader.header, [item for _, item in reader.items(0, count, found)]


@pytest.mark.parametrize(
    ("document", "version"), [(one(), 1), (two(bounding_box=[box("a", "car", 1, 2, 3, 4)]), 2), (two(), 2)]
)
def test_the_version_is_told_by_the_documents(tmp_path: Path, document: dict[str, Any], version: int):
    make_dm(tmp_path / "set", {"train/x": document, "valid/y": document})

    found = detect(open_source(tmp_path / "set"))

    assert found.format.name == f"dm_v{version}"
    assert detect(open_source(tmp_path / "set/train/json/x.json")).format.name == f"dm_v{version}"


def test_splits_are_folders_in_and_out(tmp_path: Path):
    document = two(bounding_box=[box("a", "car", 1, 2, 3, 4)])
    source = make_dm(tmp_path / "set", {"train/x": document, "valid/x": document, "test/x": document})
    header, items = items_of(source)
    convert(source, "dm_v1", tmp_path / "out", source_format="dm_v2")

    assert header.splits == ("test", "train", "val")
    assert [(item.key, item.split) for item in items] == [
        ("x.png", "test"),
        ("x.png", "train"),
        ("x.png", "val"),
    ]
    for split in ("train", "valid", "test"):
        assert (tmp_path / "out" / split / "json/x.json").is_file()
        assert (tmp_path / "out" / split / "original_files/x.png").is_file()


def test_every_tool_has_its_place_in_the_model(tmp_path: Path):
    header, [item] = items_of(make_dm(tmp_path / "set", {"x": one()}), 1)
    found = {str(each.id): each for each in item.annotations}

    assert [entry.name for entry in header.classes] == ["car", "person", "road", "sunny", "tree"]
    assert header.kinds == {"rotated_box", "keypoints", "polygon", "mask", "tag"}
    assert (item.width, item.height) == (WIDTH, HEIGHT)
    assert found["AbCdEfGhIj"].box == (10, 8, 6, 4)
    assert found["AbCdEfGhIj"].angle == 0.5
    assert found["AbCdEfGhIj"].attributes == {"color": "red"}
    assert found["person1"].box == (2, 3, 10, 12)
    assert (found["person1"].points or [])[:9] == [4, 5, 2, 6, 5, 1, 0, 0, 0]
    assert found["s1"].shape == Mask(HEIGHT, WIDTH, "row_runs", [[0, 5], [40, 5]])
    assert found["c1"].attributes == {"hour": 9}
    assert len(found) == 5


def test_version_1_comes_back_through_version_2(tmp_path: Path):
    source = make_dm(tmp_path / "one", {"x": one()})
    there = convert(source, "dm_v2", tmp_path / "two")
    back = convert(tmp_path / "two", "dm_v1", tmp_path / "back")

    assert there.losses.is_lossless
    assert back.losses.is_lossless
    assert read_json(tmp_path / "back/json/x.json") == one()
    assert set(read_json(tmp_path / "two/json/x.json")) == {"classification", "images"}


def test_several_media_of_a_document_are_of_one_again(tmp_path: Path):
    document = one()
    document["annotations"]["image_2"] = [
        {"id": "z", "tool": "bounding_box", "classification": {"class": "car"}}
    ]
    document["annotationsData"]["image_2"] = [
        {"id": "z", "coordinate": {"x": 1, "y": 2, "width": 3, "height": 4}}
    ]
    document["annotations"]["video_1"] = [
        {"id": "v", "tool": "segmentation", "classification": {"class": "car"}}
    ]
    document["annotationsData"]["video_1"] = [{"id": "v", "section": {"startFrame": 1, "endFrame": 5}}]
    source = make_dm(tmp_path / "one", {"x": document})
    _, items = items_of(source, 1)
    convert(source, "dm_v2", tmp_path / "two")
    convert(tmp_path / "two", "dm_v1", tmp_path / "back")

    assert [(item.key, item.media) for item in items] == [
        ("x.png", "image"),
        ("x_2.png", "image"),
        ("x_3.png", "video"),
    ]
    assert isinstance(items[2].annotations[0].shape, Opaque)
    assert sorted(path.name for path in (tmp_path / "two/json").iterdir()) == ["x.json"]
    assert [len(read_json(tmp_path / "two/json/x.json")[kind]) for kind in ("images", "videos")] == [2, 1]
    assert read_json(tmp_path / "back/json/x.json") == document


def test_parts_and_processes_change_nothing(tmp_path: Path):
    documents = {f"x{number}": one() | {"assignmentId": number} for number in range(3)}
    source = make_dm(tmp_path / "one", documents)
    for workers in (1, 2):
        convert(source, "dm_v2", tmp_path / f"out{workers}", workers=workers)

    first, second = (sorted((tmp_path / f"out{workers}").rglob("*.json")) for workers in (1, 2))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_what_is_changed_keeps_the_editors_state(tmp_path: Path):
    source = make_dm(tmp_path / "one", {"x": one()})
    convert(source, "dm_v1", tmp_path / "out", classes=["tree"])
    document = read_json(tmp_path / "out/json/x.json")

    assert document["annotations"]["image_1"] == [one()["annotations"]["image_1"][4]]
    assert document["annotationsData"]["image_1"] == [one()["annotationsData"]["image_1"][4]]
    assert document["assignmentId"] == 7


def _images(root: Path) -> Any:
    """Return the annotations of the only image, in whatever split."""
    [found] = root.glob("**/json/x.json")
    return read_json(found)["images"][0]


@pytest.mark.parametrize("angle", [0.5, -1.2, math.radians(89.9), math.pi])
def test_a_turned_box_is_exact_in_obb_and_told_in_detect(tmp_path: Path, angle: float):
    turned = box("a", "car", 16, 12, 8, 4) | {"attrs": [{"name": "rotation", "value": angle}]}
    source = make_dm(tmp_path / "set", {"x": two(bounding_box=[turned])})
    exact = convert(source, "yolo", tmp_path / "obb")
    upright = convert(source, "yolo", tmp_path / "detect", task="detect")
    convert(tmp_path / "obb", "dm_v2", tmp_path / "back", source_format="yolo", task="obb")

    assert "ROTATION_DROPPED" not in exact.losses.reasons
    assert upright.losses.reasons == {"ROTATION_DROPPED": 1}
    [back] = _images(tmp_path / "back")["bounding_box"]
    given = {each["name"]: each["value"] for each in back["attrs"]}
    assert back["data"] == pytest.approx([16, 12, 8, 4], abs=1e-3)
    assert math.sin(2 * given.get("rotation", 0)) == pytest.approx(math.sin(2 * angle), abs=1e-3)


@pytest.mark.parametrize("target", ["yolo", "coco", "voc"])
def test_boxes_with_attributes_come_back_and_what_is_dropped_is_named(tmp_path: Path, target: str):
    colored = box("a", "car", 1, 2, 3.5, 4.25) | {"attrs": [{"name": "color", "value": "red"}]}
    source = make_dm(tmp_path / "set", {"x": two(bounding_box=[colored, box("b", "bus", 5, 6, 7, 8)])})
    there = convert(source, target, tmp_path / "there")
    convert(tmp_path / "there", "dm_v2", tmp_path / "back", source_format=target)

    boxes = _images(tmp_path / "back")["bounding_box"]
    assert [each["classification"] for each in boxes] == ["car", "bus"]
    assert boxes[0]["data"] == pytest.approx([1, 2, 3.5, 4.25], abs=1e-3)
    if target == "yolo":
        assert there.losses.examples["ATTRIBUTES_DROPPED"][0].before == {"color": "red"}
    else:
        assert {"name": "color", "value": "red"} in boxes[0]["attrs"]


def test_an_object_with_points_comes_back_from_coco(tmp_path: Path):
    source = make_dm(tmp_path / "set", {"x": one()})
    convert(source, "coco", tmp_path / "coco")
    convert(tmp_path / "coco", "dm_v2", tmp_path / "back")
    convert(source, "dm_v2", tmp_path / "two")
    (_, [back]), (_, [before]) = items_of(tmp_path / "back"), items_of(tmp_path / "two")

    def person(item: Item) -> Annotation:
        return next(each for each in item.annotations if each.points is not None)

    assert person(back).points == person(before).points
    assert person(back).box == person(before).box


def test_a_polygon_in_parts_is_one_again(tmp_path: Path):
    rings = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0], [11.0, 1.0, 15.0, 1.0, 15.0, 5.0]]
    coco = {
        "images": [{"id": 1, "file_name": "x.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {
                "id": 5,
                "image_id": 1,
                "category_id": 3,
                "segmentation": rings,
                "bbox": [1, 1, 14, 4],
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 3, "name": "car"}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances.json").write_text(json.dumps(coco))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "coco/x.png")
    there = convert(tmp_path / "coco", "dm_v2", tmp_path / "two", source_format="coco")
    _, [item] = items_of(tmp_path / "two")

    assert there.losses.reasons == {"PARTS_SPLIT": 1}
    assert len(read_json(tmp_path / "two/json/x.json")["images"][0]["polygon"]) == 2
    assert [each.shape.rings for each in item.annotations if each.shape] == [rings]  # type: ignore[union-attr]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=WIDTH * HEIGHT, max_size=WIDTH * HEIGHT))
def test_masks_keep_their_pixels_in_either_encoding(bits: list[bool]):
    from synapse_core.datasets.mask_shapes import counts_of
    from synapse_core.datasets.rle import counts_to_row_indices, counts_to_row_runs

    indices = [at for at, is_set in enumerate(bits) if is_set]
    counts = counts_of(Mask(HEIGHT, WIDTH, "row_indices", indices))

    assert counts_to_row_indices(counts, HEIGHT, WIDTH) == indices
    assert counts_of(Mask(HEIGHT, WIDTH, "row_runs", counts_to_row_runs(counts, HEIGHT, WIDTH))) == counts


@pytest.mark.parametrize(
    ("tool", "entry"),
    [
        ("bounding_box", {"data": [1, 2, 3]}),
        ("bounding_box", {"data": None}),
        ("polygon", {"data": [[1, 2], [3]]}),
        ("keypoint", {"data": [1, "2"]}),
        ("segmentation", {"data": [WIDTH * HEIGHT], "encoding": "raw_indices"}),
        ("segmentation", {"data": [[0, -1]], "encoding": "dm_rle"}),
        ("relation", {"data": ["a"]}),
    ],
)
def test_a_broken_annotation_is_told_and_the_others_are_kept(
    tmp_path: Path, tool: str, entry: dict[str, Any]
):
    good, bad = box("a", "car", 1, 2, 3, 4), {"id": "b", "classification": "car", "attrs": [], **entry}
    media = {"bounding_box": [good]}
    media.setdefault(tool, []).append(bad)
    source = make_dm(tmp_path / "set", {"x": {"classification": {}, "images": [media]}})
    losses = convert(source, "coco", dry_run=True, source_format="dm_v2").losses

    assert losses.reasons == {"BAD_ROW": 1}
    assert losses.examples["BAD_ROW"][0].where == "json/x.json"
    assert (losses.seen, losses.written) == (2, 1)


def test_broken_files_and_images_without_a_document_are_told_or_kept(tmp_path: Path):
    source = make_dm(tmp_path / "set", {"a": two(bounding_box=[box("a", "car", 1, 2, 3, 4)]), "b": two()})
    (source / "json/b.json").write_text('{"images": [')
    Image.new("RGB", (WIDTH, HEIGHT)).save(source / "original_files/lonely.png")
    result = convert(source, "coco", dry_run=True, source_format="dm_v2")

    assert result.losses.reasons == {"BAD_FILE": 1}
    assert result.losses.items == 2


def test_a_folder_without_documents_is_none(tmp_path: Path):
    (tmp_path / "json").mkdir()

    with pytest.raises(InvalidDataset, match="no DM documents"):
        items_of(tmp_path)


def test_nothing_is_said_of_boxes_that_are_plain(tmp_path: Path):
    source = make_dm(tmp_path / "set", {"x": two(bounding_box=[box("a", "car", 1, 2, 3, 4)])})
    header, [item] = items_of(source)
    result = convert(source, "dm_v2", tmp_path / "out")

    assert header.kinds == {"box"}
    assert item.annotations == [Annotation(0, (1.0, 2.0, 3.0, 4.0), id="a")]
    assert result.losses.is_lossless
    assert msgspec.json.decode((tmp_path / "out/json/x.json").read_bytes())["images"] == [
        {"bounding_box": [box("a", "car", 1, 2, 3, 4)]}
    ]


def test_sizes_and_unlabelled_objects_come_back_where_there_are_no_images(tmp_path: Path):
    bare = {"iscrowd": 0, "image_id": 1, "category_id": 3}
    coco = {
        "images": [{"id": 1, "file_name": "x.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {"id": 5, **bare, "bbox": [1, 1, 14, 4], "keypoints": [0] * 6, "num_keypoints": 0},
            {"id": 6, **bare, "bbox": [1, 1, 9, 9], "keypoints": [2, 2, 2, 0, 0, 0], "num_keypoints": 1},
            {
                "id": 7,
                **bare,
                "bbox": [0, 0, 1, 2],
                "segmentation": {"counts": [0, 2, 1198], "size": [30, 40]},
            },
        ],
        "categories": [{"id": 3, "name": "person", "keypoints": ["nose", "tail"]}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances.json").write_text(json.dumps(coco))
    there = convert(tmp_path / "coco", "dm_v2", tmp_path / "two", source_format="coco")
    convert(tmp_path / "two", "dm_v1", tmp_path / "one")
    back = convert(tmp_path / "one", "dm_v2", tmp_path / "back")
    header, [item] = items_of(tmp_path / "back")

    assert there.losses.reasons["KEYPOINT_PROFILE"] == 1
    assert (item.width, item.height) == (WIDTH, HEIGHT)
    assert header.kinds == {"box", "keypoints", "mask"}
    assert header.classes[0].keypoints == ("nose", "tail")
    assert back.losses.is_lossless
    assert read_json(tmp_path / "back/json/x.json") == read_json(tmp_path / "two/json/x.json")
