"""COCO: every form in which files of others come, and that a file comes back as it was."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from dataset_worlds import png, read_all, write_files
from trainer_rules import refused_by_the_trainer

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.format import Format, always
from synapse_core.datasets.formats import find_format
from synapse_core.datasets.formats.coco_files import CocoFile
from synapse_core.datasets.formats.coco_index import FileIndex
from synapse_core.datasets.formats.coco_rows import BoxRow, Row
from synapse_core.datasets.formats.json_stream import JsonFile, elements, loose
from synapse_core.datasets.mask_shapes import polygon_counts
from synapse_core.datasets.masks import mask_iou, rings_to_mask
from synapse_core.datasets.model import Mask, Polygon
from synapse_core.datasets.rle import counts_to_text
from synapse_core.errors import InvalidDataset

SQUARE = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]


def image(number: Any, name: str = "", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name or f"{number}.png", "width": 100, "height": 80, **more}


def row(number: Any, owner: Any, label: Any = 1, **more: Any) -> dict[str, Any]:
    """Return an annotation with every field that a box has."""
    box = {"bbox": [1.5, 2.0, 30.0, 4.25], "area": 127.5, "iscrowd": 0, "segmentation": []}
    return {"id": number, "image_id": owner, "category_id": label, **box, **more}


def document(images: list[Any], rows: list[Any], categories: list[Any] | None = None, **more: Any) -> Any:
    categories = [{"id": 1, "name": "dog"}] if categories is None else categories
    return {**more, "images": images, "annotations": rows, "categories": categories}


def world(root: Path, content: Any, name: str = "instances_train.json") -> Path:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return write_files(root, {f"annotations/{name}": text})


def content_of(root: Path, name: str = "instances_train.json") -> Any:
    return json.loads((root / "annotations" / name).read_bytes())


def by_id(entries: list[Any]) -> dict[Any, Any]:
    return {entry["id"]: entry for entry in entries}


# --- identity ---------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was(tmp_path: Path):
    counts = counts_to_text([10, 5, 7985])
    content = document(
        [
            image(7, "b/é.png", license=3, date_captured="2013-11-14", flickr_url=None),
            image(0, "a.png"),
            image(99, "none.png"),
        ],
        [
            row(5, 0, 90),
            row(4, 7, 3, segmentation=SQUARE, area=399.5, bbox=[10, 10, 20, 20]),
            row(0, 7, 3, segmentation=[*SQUARE, [50, 50, 60, 50, 60, 60]], area=450.0),
            row(12, 0, 3, segmentation={"size": [80, 100], "counts": [10, 5, 7985]}, iscrowd=1, area=5),
            row(13, 0, 3, segmentation={"size": [80, 100], "counts": counts}, area=5),
            row(14, 7, 3, attributes={"occluded": True, "rotation": 30.0}),
            row(15, 7, 3, score=0.5, track={"id": [1, {"a": None}]}, difficult="no"),
            row(16, 7, 18, keypoints=[1, 2, 2, 0, 0, 0, 5.5, 6, 1], num_keypoints=2),
            row(17, 7, 3, segmentation=SQUARE, attributes={"rotation": 30.0}),
        ],
        [
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
            {"id": 3, "name": "car", "supercategory": "vehicle", "color": [1, 2]},
            {"id": 4, "name": "car", "supercategory": "toy"},
            {
                "id": 18,
                "name": "person",
                "keypoints": ["nose", "left_eye", "right_eye"],
                "skeleton": [[1, 2], [2, 3]],
            },
        ],
        info={"year": "", "description": None, "version": 1.5},
        licenses=[{"id": 0, "name": "", "url": ""}],
    )
    world(tmp_path / "in", content)

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    again = content_of(tmp_path / "out", "person_keypoints_train.json")
    assert result.losses.reasons == {"IMAGE_MISSING": 3}
    assert result.losses.is_lossless
    assert by_id(again["images"]) == by_id(content["images"])
    assert again["categories"] == content["categories"]
    assert by_id(again["annotations"]) == by_id(content["annotations"])
    assert again["info"] == content["info"]
    assert again["licenses"] == content["licenses"]


def test_what_a_row_leaves_out_is_filled_in(tmp_path: Path):
    bare = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 4]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": SQUARE},
        {
            "id": 3,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [80, 100], "counts": [80, 2, 7918]},
        },
    ]
    world(tmp_path / "in", document([image(1)], bare))

    convert(tmp_path / "in", "coco", tmp_path / "out")

    box, polygon, mask = content_of(tmp_path / "out")["annotations"]
    assert (box["area"], box["iscrowd"], box["segmentation"]) == (120, 0, [])
    assert (polygon["bbox"], polygon["area"]) == ([10, 10, 20, 20], 400)
    assert (mask["bbox"], mask["area"]) == ([1, 0, 1, 2], 2)


def test_texts_can_be_ids(tmp_path: Path):
    content = document(
        [image("b,1"), image('a"', "a.png"), image("c")],
        [row("x,1", 'a"', "one"), row('y"', "b,1", "two"), row(3, "b,1", "one")],
        [{"id": "one", "name": "dog"}, {"id": "two", "name": "cat"}],
    )
    world(tmp_path / "in", content)

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    again = content_of(tmp_path / "out")
    assert set(result.losses.reasons) == {"IMAGE_MISSING"}
    assert again["images"] == content["images"]
    assert by_id(again["annotations"]) == by_id(content["annotations"])
    assert again["categories"] == content["categories"]


def test_ids_that_two_files_share_are_given_anew_where_they_come_together(tmp_path: Path):
    world(tmp_path / "in", document([image(1, "a.png")], [row(1, 1)]))
    world(tmp_path / "in", document([image(1, "b.png")], [row(1, 1), row(2, 1)]), "instances_val.json")

    kept = convert(tmp_path / "in", "coco", tmp_path / "kept")
    joined = convert(tmp_path / "in", "coco", tmp_path / "joined", splits="none")

    assert kept.losses.reasons == {"IMAGE_MISSING": 2}
    assert [entry["id"] for entry in content_of(tmp_path / "kept", "instances_val.json")["images"]] == [1]
    together = content_of(tmp_path / "joined", "instances_default.json")
    owners = {entry["id"]: entry["file_name"] for entry in together["images"]}
    assert sorted(owners[entry["image_id"]] for entry in together["annotations"]) == [
        "a.png",
        "b.png",
        "b.png",
    ]
    assert len(by_id(together["annotations"])) == 3
    assert joined.losses.reasons == {"IMAGE_MISSING": 2, "DUPLICATE_ID": 1}
    assert joined.losses.is_lossless


# --- ids, missing and strange values ----------------------------------------------------------------------


def test_ids_begin_at_0_have_gaps_and_are_as_long_as_they_like(tmp_path: Path):
    numbers = [0, -5, 1 << 40, 1 << 63, 1 << 100]
    content = document(
        [image(number) for number in numbers], [row(at, number) for at, number in enumerate(numbers)]
    )
    world(tmp_path, content)

    _, items, losses = read_all(tmp_path, "coco")

    assert [len(item.annotations) for item in items.values()] == [1, 1, 1, 1, 1]
    assert set(losses.codes) == {"IMAGE_MISSING"}


@pytest.mark.parametrize(
    "change",
    [
        {"iscrowd": None},
        {"iscrowd": True},
        {"iscrowd": "0"},
        {"area": None},
        {"area": ""},
        {"area": "12.5"},
        {"segmentation": None},
        {"segmentation": [[]]},
        {"segmentation": {}},
        {"image_id": 1.0},
        {"category_id": 1.0},
        {"id": 1.0},
        {"id": None},
        {"bbox": ["1.5", "2", "30", "4.25"]},
        {"caption": None},
        {"keypoints": [], "num_keypoints": 0},
        {"ignore": 0, "note": "\ud83d\ude00"},
    ],
)
def test_a_box_is_read_whatever_stands_beside_it(tmp_path: Path, change: dict[str, Any]):
    world(tmp_path, document([image(1)], [row(1, 1) | change]))

    header, items, losses = read_all(tmp_path, "coco")

    [one] = items["1.png"].annotations
    assert header.classes[one.label].name == "dog"
    assert one.box == (1.5, 2.0, 30.0, 4.25)
    assert set(losses.codes) == {"IMAGE_MISSING"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bbox": [1, 2, 3]}, "BAD_ROW"),
        ({"bbox": "x"}, "BAD_ROW"),
        ({"bbox": [1, 2, "x", 4]}, "BAD_ROW"),
        ({"bbox": [1, 2, float("nan"), 4]}, "NOT_FINITE"),
        ({"bbox": [1, 2, float("inf"), 4]}, "NOT_FINITE"),
        ({"bbox": [1, 2, 1e308, 4]}, "BAD_ROW"),
        ({"bbox": [1, 2, -3, 4]}, "BAD_ROW"),
        ({"bbox": [1, 2, 0, 4]}, "ZERO_AREA"),
        ({"area": float("nan")}, "BAD_ROW"),
        ({"area": "many"}, "BAD_ROW"),
        ({"score": float("inf")}, "BAD_ROW"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "BAD_ROW"),
        ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "BAD_ROW"),
        ({"segmentation": [[1, 2, 3, 4]]}, "ZERO_AREA"),
        ({"segmentation": {"counts": [1]}}, "BAD_ROW"),
        ({"segmentation": {"size": [80, 100], "counts": [1, 2]}}, "BAD_ROW"),
        ({"segmentation": {"size": [80, 100], "counts": "~~~"}}, "BAD_ROW"),
        ({"segmentation": {"size": [80], "counts": [1, 2]}}, "BAD_ROW"),
        ({"segmentation": {"size": [1 << 40, 1 << 40], "counts": [1, 2]}}, "BAD_ROW"),
        ({"segmentation": {"size": [80, 100], "counts": [-8, 8008]}}, "BAD_ROW"),
        ({"keypoints": [1, 2]}, "BAD_ROW"),
        ({"category_id": 7}, "UNKNOWN_CLASS"),
        ({"category_id": None}, "LABEL_MISSING"),
        ({"image_id": 7}, "UNKNOWN_IMAGE"),
        ({"image_id": "1"}, "UNKNOWN_IMAGE"),
        ({"image_id": None}, "UNKNOWN_IMAGE"),
        ({"image_id": [1]}, "UNKNOWN_IMAGE"),
    ],
)
def test_one_bad_row_is_told_once_and_the_others_are_converted(tmp_path: Path, change: Any, code: str):
    rows = [row(1, 1), row(2, 1) | change, row(3, 1)]
    world(tmp_path / "in", document([image(1)], rows))

    for target in ("yolo", "coco", "voc"):
        result = convert(tmp_path / "in", target, tmp_path / target)
        reasons = set(result.losses.reasons) - {"IMAGE_MISSING", "BOX_TO_POLYGON"}
        assert (reasons, result.losses.reasons[code]) == ({code}, 1)
        assert (result.losses.seen, result.losses.written) == (3, 2)
    assert refused_by_the_trainer(tmp_path / "yolo") == {}
    assert [entry["id"] for entry in content_of(tmp_path / "coco")["annotations"]] == [1, 3]


def test_an_id_that_is_there_twice_is_told_and_replaced(tmp_path: Path):
    world(tmp_path / "in", document([image(1)], [row(1, 1), row(1, 1), row(2, 1), row(None, 1)]))

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    assert result.losses.reasons == {"IMAGE_MISSING": 1, "DUPLICATE_ID": 1}
    assert len(by_id(content_of(tmp_path / "out")["annotations"])) == 4
    assert set(by_id(content_of(tmp_path / "out")["annotations"])) >= {1, 2}


def test_an_image_id_that_is_there_twice_leaves_both_images(tmp_path: Path):
    world(tmp_path / "in", document([image(1, "a.png"), image(1, "b.png")], [row(1, 1)]))

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    again = content_of(tmp_path / "out")
    assert result.losses.reasons == {"IMAGE_MISSING": 2, "DUPLICATE_ID": 1}
    assert len(by_id(again["images"])) == 2
    assert by_id(again["images"])[again["annotations"][0]["image_id"]]["file_name"] == "a.png"


def test_images_that_are_hardly_described_are_kept(tmp_path: Path):
    images = [
        {"id": 1},
        {"file_name": "b.png"},
        {"id": 3, "file_name": "c.png", "width": "64", "height": 48.0},
    ]
    write_files(
        tmp_path / "in/annotations", {"instances_train.json": json.dumps(document(images, [row(1, 3)]))}
    )
    write_files(tmp_path / "in/images/train", {"b.png": png(9, 8)})

    _, items, losses = read_all(tmp_path / "in", "coco")
    convert(tmp_path / "in", "coco", tmp_path / "out")

    assert {key: (item.width, item.height, len(item.annotations)) for key, item in items.items()} == {
        "1": (None, None, 0),
        "b.png": (9, 8, 0),
        "c.png": (64, 48, 1),
    }
    assert losses.codes == {"IMAGE_MISSING": 2}
    assert len(by_id(content_of(tmp_path / "out")["images"])) == 3


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "C:\\x.png", "a/../../x.png"])
def test_a_name_that_leads_out_is_told_and_stays_inside(tmp_path: Path, name: str):
    write_files(tmp_path, {"x.png": png()})
    world(tmp_path / "in", document([image(1, name)], [row(1, 1)]))

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    assert result.losses.reasons == {"OUTSIDE_ROOT": 1}
    assert [entry["file_name"] for entry in content_of(tmp_path / "out")["images"]] == ["x.png"]
    assert not (tmp_path / "out/images").exists()


# --- how the file is written ------------------------------------------------------------------------------


def test_rows_are_in_any_order_and_images_come_last(tmp_path: Path):
    rows = [row(number, number % 7) for number in range(50)]
    random.Random(3).shuffle(rows)
    content = {
        "annotations": rows,
        "categories": [{"id": 1, "name": "dog"}],
        "images": [image(number) for number in (3, 1, 6, 0, 2, 5, 4)],
    }
    world(tmp_path, content)

    _, items, _ = read_all(tmp_path, "coco")

    assert list(items) == [f"{number}.png" for number in (3, 1, 6, 0, 2, 5, 4)]
    for key, item in items.items():
        wanted = [entry["id"] for entry in rows if f"{entry['image_id']}.png" == key]
        assert [one.id for one in item.annotations] == wanted


def rows_of(index: FileIndex) -> list[list[Any]]:
    return [list(found) for found in index.rows(0, len(index.names))]


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 64, 100, 1000, 1 << 20])
@pytest.mark.parametrize("layout", ["minified", "pretty", "odd"])
@pytest.mark.parametrize("is_grouped", [True, False])
def test_blocks_may_end_anywhere(tmp_path: Path, block_bytes: int, layout: str, is_grouped: bool):
    owners = [0, 0, 1, 1, 1, 3] if is_grouped else [3, 0, 1, 0, 1, 1]
    text = 'a } , { b "]" \\ [ é'
    more = [{}, {"attributes": {"list": [{"a": 1}, {"image_id": 5}, {"b": [[{}, {}]]}]}}, {"note": text}]
    rows = [row(number, owner, **more[number % 3]) for number, owner in enumerate(owners)]
    content = document([image(number) for number in range(4)], rows, info={"year": 1, "about": text})
    indent = {"minified": None, "pretty": 2, "odd": "\t \r\n"}[layout]
    data = json.dumps(
        content, indent=indent, separators=(",", ":") if layout == "minified" else None, ensure_ascii=False
    )
    path = tmp_path / "a.json"
    path.write_text(("\ufeff" if layout == "odd" else "") + data, newline="")

    index = FileIndex(str(path), CocoFile("a.json", None, "other"), block_bytes)

    found = rows_of(index)
    assert [[one.id for one in ones] for ones in found] == [
        [number for number, owner in enumerate(owners) if owner == image_id] for image_id in range(4)
    ]
    for ones in found:
        for one in ones:
            assert isinstance(one, BoxRow | Row)
            assert (one.extra or {}).get("note") == rows[one.id].get("note")
            assert one.attributes == rows[one.id].get("attributes")
    assert index.values["info"] == content["info"]
    assert [category["name"] for category in index.categories] == ["dog"]


@pytest.mark.parametrize("block_bytes", [1, 100, 1000, 1 << 20])
@pytest.mark.parametrize("bad", [0, 1, 500, 999])
def test_nan_in_one_row_costs_that_row_alone(tmp_path: Path, block_bytes: int, bad: int):
    rows = [row(number, number // 10) for number in range(1000)]
    rows[bad]["bbox"] = [float("nan"), 1, float("-inf"), 1]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document([image(number) for number in range(100)], rows)))

    index = FileIndex(str(path), CocoFile("a.json", None, "other"), block_bytes)

    found = [one for ones in rows_of(index) for one in ones]
    assert [one.id for one in found] == list(range(1000))
    assert [str(number) for number in found[bad].bbox] == ["nan", "1.0", "-inf", "1.0"]


@pytest.mark.parametrize("block_bytes", [1, 50, 1 << 20])
def test_bytes_that_are_no_text_cost_nothing_but_themselves(tmp_path: Path, block_bytes: int):
    content = document([image(1, "é.png"), image(2)], [row(1, 1, note="é"), row(2, 2)], info={"about": "é"})
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode("latin-1"))

    index = FileIndex(str(path), CocoFile("a.json", None, "other"), block_bytes)

    assert index.names == ["\ufffd.png", "2.png"]
    assert [[one.id for one in ones] for ones in rows_of(index)] == [[1], [2]]
    assert index.values["info"] == {"about": "\ufffd"}


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path):
    text = json.dumps(document([image(1)], [row(1, 1), row(2, 1)]))

    for end in range(len(text)):
        (tmp_path / "a.json").write_text(text[:end])
        for block_bytes in (10, 1 << 20):
            with pytest.raises(InvalidDataset, match=r"a\.json"):
                FileIndex(str(tmp_path / "a.json"), CocoFile("a.json", None, "other"), block_bytes)


@pytest.mark.parametrize("broken", ['{"id": 1,, }', '{"id": 1 "image_id": 1}', "{id: 1}", "nul", "{'id': 1}"])
def test_a_row_that_is_no_json_is_refused_with_its_place(tmp_path: Path, broken: str):
    good = ", ".join(json.dumps(row(number, 1)) for number in range(3000))
    text = f'{{"images": [{json.dumps(image(1))}], "annotations": [{good}, {broken}, {good}]}}'
    world(tmp_path, text)

    with pytest.raises(InvalidDataset, match="is not whole JSON") as caught:
        read_all(tmp_path, "coco")

    assert abs(caught.value.details["byte"] - text.index(broken)) < 20


def test_an_element_longer_than_a_block_is_read(tmp_path: Path):
    ring = [float(number % 80) for number in range(200_000)]
    world(tmp_path, document([image(1)], [row(1, 1), row(2, 1, segmentation=[ring]), row(3, 1)]))
    path = tmp_path / "annotations/instances_train.json"

    index = FileIndex(str(path), CocoFile("a.json", None, "other"), 1000)

    [[_, long, _]] = rows_of(index)
    assert long.segmentation == [ring]


def test_an_array_of_anything_but_objects_is_a_value(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [], "b": [1, [2]], "c": {}, "d": [ {} ], "e": null, "f": -1.5e3, "g": "x"}')

    source = JsonFile(str(path), "a.json", 3)
    arrays = {key: [block.data for block in blocks] for key, blocks in source.arrays_of()}
    source.close()

    assert arrays == {"d": [b"{}"]}
    assert source.values == {"a": [], "b": [1, [2]], "c": {}, "e": None, "f": -1500.0, "g": "x"}


def test_elements_are_told_apart_also_where_some_are_no_json():
    assert elements(b'{"a": 1} , {"b": NaN},\n{"c": "\xff"}') == [
        b'{"a": 1}',
        b'{"b": NaN}',
        b'{"c": "\xff"}',
    ]
    assert loose(b'{"c": "\xff"}') == {"c": "\ufffd"}
    with pytest.raises(InvalidDataset, match="not JSON"):
        elements(b'{"a": 1}, {"b": }')


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", '{"names": []}', '{"annotations": []}', "not json"])
def test_a_file_that_is_no_coco_is_refused(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(InvalidDataset, match=r"a\.json"):
        read_all(tmp_path / "a.json", "coco")


# --- kinds ------------------------------------------------------------------------------------------------


def test_captions_have_no_class_and_come_back(tmp_path: Path):
    rows = [{"id": 1, "image_id": 1, "caption": 'A "dog"\nruns'}, {"id": 2, "image_id": 1, "caption": ""}]
    world(tmp_path / "in", document([image(1)], rows, []), "captions_train.json")

    result = convert(tmp_path / "in", "coco", tmp_path / "out")
    lost = convert(tmp_path / "in", "voc", tmp_path / "voc")

    assert result.losses.kinds["caption"].written == 2
    assert by_id(content_of(tmp_path / "out", "captions_train.json")["annotations"]) == by_id(rows)
    assert lost.losses.kinds["caption"].skipped == 2


def test_crowds_are_left_out_of_a_target_that_has_none_unless_they_are_asked_for(tmp_path: Path):
    crowd = row(2, 1, segmentation={"size": [80, 100], "counts": [80, 2, 78, 2, 7838]}, iscrowd=1)
    world(tmp_path / "in", document([image(1)], [row(1, 1), crowd]))

    dropped = convert(tmp_path / "in", "yolo", tmp_path / "dropped")
    kept = convert(tmp_path / "in", "yolo", tmp_path / "kept", crowds="keep")
    coco = convert(tmp_path / "in", "coco", tmp_path / "coco", crowds="drop")

    assert dropped.losses.reasons["CROWD_DROPPED"] == 1
    assert kept.losses.reasons["CROWD_MARK_DROPPED"] == 1
    assert kept.losses.written == 2
    assert coco.losses.reasons["CROWD_DROPPED"] == 1
    assert refused_by_the_trainer(tmp_path / "kept") == {}


def test_parts_and_holes_come_back_from_yolo_nearly_as_they_were(tmp_path: Path):
    """Case 6: joined to one ring, told, and rasterised to the same pixels."""
    outer = [[10.0, 10.0, 60.0, 10.0, 60.0, 60.0, 10.0, 60.0], [70.0, 5.0, 95.0, 20.0, 70.0, 30.0]]
    hole = [20.0, 20.0, 20.0, 40.0, 45.0, 40.0, 45.0, 20.0]
    wanted = rings_to_mask(outer, 80, 100, [hole])
    pixels = Mask(80, 100, "counts", polygon_counts(Polygon([*outer, hole], 1), 80, 100))
    mask = {"size": [80, 100], "counts": pixels.data}
    rows = [row(1, 1, segmentation=mask), row(2, 1, segmentation=outer)]
    world(tmp_path / "in", document([image(1)], rows))
    write_files(tmp_path / "in", {"images/train/1.png": png()})

    told = convert(tmp_path / "in", "yolo", tmp_path / "yolo")
    back = convert(tmp_path / "yolo", "coco", tmp_path / "back")

    assert told.losses.reasons == {"MASK_TO_POLYGON": 1, "HOLE_BRIDGED": 1, "PARTS_JOINED": 1}
    assert refused_by_the_trainer(tmp_path / "yolo") == {}
    assert back.losses.is_lossless
    first, second = content_of(tmp_path / "back")["annotations"]
    assert mask_iou(rings_to_mask(first["segmentation"], 80, 100), wanted) >= 0.99
    assert mask_iou(rings_to_mask(second["segmentation"], 80, 100), rings_to_mask(outer, 80, 100)) >= 0.99


def test_classes_of_ids_with_gaps_are_numbered_from_0(tmp_path: Path):
    categories = [{"id": 90, "name": "z"}, {"id": 3, "name": "a"}, {"id": 0, "name": "m"}]
    world(tmp_path / "in", document([image(1)], [row(1, 1, 90), row(2, 1, 3), row(3, 1, 0)], categories))

    convert(tmp_path / "in", "yolo", tmp_path / "out")

    labels = (tmp_path / "out/labels/train/1.txt").read_text().splitlines()
    assert [label[0] for label in labels] == ["0", "1", "2"]
    header, _, _ = read_all(tmp_path / "in", "coco")
    assert [entry.name for entry in header.classes] == ["z", "a", "m"]


def test_key_points_that_fit_no_list_are_cut_to_what_the_trainer_takes(tmp_path: Path):
    categories = [{"id": 1, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}]
    rows = [
        row(1, 1, keypoints=[5, 5, 2, 6, 6, 1]),
        row(2, 1, keypoints=[5, 5, 2]),
        row(3, 1, keypoints=[5, 5, 2, 6, 6, 1, 7, 7, 2]),
        row(4, 1, keypoints=[5, 5, 0.5, 600, 6, 1]),
        row(5, 1, keypoints=[5, 5, 2, 6, 6, 1], bbox=[90, 70, 30, 30]),
        row(6, 1, keypoints=[5, 5, 2, 6, 6, 1], bbox=[190, 70, 30, 30]),
        row(7, 1),
    ]
    world(tmp_path / "in", document([image(1)], rows, categories))

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert refused_by_the_trainer(tmp_path / "out") == {}
    assert result.losses.kinds["keypoints"].written == 5
    assert result.losses.reasons == {
        "KEYPOINT_PROFILE": 3,
        "CLIPPED": 2,
        "OUTSIDE_IMAGE": 1,
        "NOT_SUPPORTED": 1,
        "IMAGE_MISSING": 1,
    }


def test_the_split_is_in_the_name_of_the_file_or_its_folder(tmp_path: Path):
    one = json.dumps(document([image(1, "a.png")], [row(1, 1)]))
    write_files(
        tmp_path,
        {
            "train/_annotations.coco.json": one,
            "train/a.png": png(),
            "valid/_annotations.coco.json": one,
            "valid/a.png": png(),
        },
    )

    reader, _, losses = read_all(tmp_path, "coco")
    result = convert(tmp_path, "yolo", tmp_path.parent / "out")

    assert reader.splits == ("train", "val")
    assert not losses.codes
    assert result.renamed == 0
    assert (tmp_path.parent / "out/labels/val/a.txt").is_file()


def test_what_is_said_of_images_alone_is_told_where_the_target_has_no_place_for_it(tmp_path: Path):
    images = [image(0, license=1, date_captured="2020"), image(1, license=2), image(2)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document(images, [row(0, 0)])))

    other = convert(path, "yolo", tmp_path / "yolo", images="none")
    same = convert(path, "coco", tmp_path / "coco", images="none")

    told = [(entry.field, entry.message) for entry in other.losses.examples["FIELDS_DROPPED"]]
    assert told == [("license", "of 2 images"), ("date_captured", "of 1 images")]
    # Annotations lose nothing by it, so a strict conversion may do it.
    assert other.losses.is_lossless
    assert "FIELDS_DROPPED" not in same.losses.reasons
    assert convert(path, "voc", tmp_path / "voc", images="none", strict=True).losses.written == 1


@pytest.mark.parametrize("stated", [{}, {"width": 6}, {"width": 7}])
def test_a_size_of_which_a_half_is_stated_is_the_file_s(tmp_path: Path, stated: dict[str, int]):
    content = document([{"id": 1, "file_name": "a.png", **stated}], [row(1, 1, bbox=[1, 1, 2, 2])])
    write_files(tmp_path, {"a.json": json.dumps(content), "a.png": png(6, 5)})

    _, items, losses = read_all(tmp_path / "a.json", "coco")

    assert (items["a.png"].width, items["a.png"].height) == (6, 5)
    assert losses.codes == ({"SIZE_MISMATCH": 1} if stated == {"width": 7} else {})


CORNERS = [10.0, 10, 30, 10, 30, 30, 10, 30]


RUNS = {"counts": [100, 5, 4895], "size": [50, 100]}
OUTLINED = [
    row(0, 0, segmentation=[CORNERS]),
    row(1, 0, segmentation=[CORNERS, CORNERS]),
    row(2, 0, segmentation=[CORNERS[:7]]),  # a broken one
    row(3, 0, segmentation=[["a", 1, 2, 3, 4, 5]]),  # another
    row(4, 0, segmentation=RUNS),
    row(5, 0, segmentation=RUNS, iscrowd=1),
    row(6, 0, segmentation=[]),
    row(7, 0, segmentation=[CORNERS[:4]]),
    row(8, 0, segmentation=[CORNERS], bbox=[1, 1, 0, 4]),
    row(9, 1, segmentation=[CORNERS]),
    row(10, 1, segmentation=[CORNERS], category_id=77),
]
# Its box, and its ring below, leave the image.
LEAVING = [
    row(11, 0, segmentation=[CORNERS], bbox=[-5, 2, 30, 4]),
    row(12, 0, segmentation=[CORNERS], bbox=[500, 500, 3, 4]),
    row(13, 0, segmentation=[[-10.0, 10, 30, 10, 30, 30]]),
]


def to_boxes(path: Path, output: Path, **options: Any) -> tuple[dict[str, str], list[str], Any]:
    """Return the label files, the loss report's lines and its numbers of a conversion to YOLO's boxes."""
    result = convert(path, "yolo", output, task="detect", images="none", **options)
    labels = sorted((output / "labels").rglob("*.txt"))
    lines = Path(result.losses_path or "").read_text().splitlines()
    return {one.name: one.read_text() for one in labels}, lines, result.losses


def read_all_outlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every conversion reads the outlines that its target does not take."""

    def takes_all(name: str, verb: Literal["read", "write"] = "read") -> Format:
        return msgspec.structs.replace(find_format(name, verb), takes_shapes=always)

    monkeypatch.setattr("synapse_core.datasets.conversion.find_format", takes_all)


def test_outlines_that_nobody_wants_are_told_as_those_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Equal to the last byte where boxes and rings lie in the image.

    A ring that leaves it is not looked at: only the stated box is written, and only what that one leaves the
    image by is told.
    """
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document([image(0), image(1)], OUTLINED)))

    lean = to_boxes(path, tmp_path / "lean")
    path.write_text(json.dumps(document([image(0), image(1)], [*OUTLINED, *LEAVING[2:]])))
    leaving = to_boxes(path, tmp_path / "leaving")
    read_all_outlines(monkeypatch)
    path.write_text(json.dumps(document([image(0), image(1)], OUTLINED)))
    full = to_boxes(path, tmp_path / "full")

    assert lean == full
    assert sum(text.count("\n") for text in lean[0].values()) == 5
    assert set(lean[2].reasons) == {
        "BAD_ROW",
        "CROWD_DROPPED",
        "MASK_TO_BOX",
        "POLYGON_TO_BOX",
        "UNKNOWN_CLASS",
        "ZERO_AREA",
    }
    assert leaving[2].reasons == {**lean[2].reasons, "POLYGON_TO_BOX": lean[2].reasons["POLYGON_TO_BOX"] + 1}


@pytest.mark.parametrize("bounds", ["clip", "keep", "drop"])
def test_what_stands_beside_an_outline_does_not_change_what_is_told_of_it(tmp_path: Path, bounds: str):
    """A score somewhere in the block makes the whole block be read in full."""
    files = [[*OUTLINED, *LEAVING], [*OUTLINED, *LEAVING, row(14, 1, category_id=77, score=0.5)]]
    found = []
    for number, rows in enumerate(files):
        path = tmp_path / f"{number}/in.json"
        path.parent.mkdir()
        path.write_text(json.dumps(document([image(0), image(1)], rows)))
        found.append(to_boxes(path, tmp_path / f"out{number}", bounds=bounds))

    (labels, lines, _), (same_labels, more_lines, _) = found
    assert labels == same_labels
    assert [line for line in more_lines if '"annotation":14' not in line] == lines
    assert len(more_lines) == len(lines) + 1
