"""YOLO: every form of label and description that is about, and that a trainer takes what is written."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import yaml
from dataset_worlds import png, read_all, write_files
from PIL import Image
from trainer_rules import accepted_by_the_trainer, refused_by_the_trainer

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.yolo_layout import label_path
from synapse_core.datasets.model import Polygon
from synapse_core.errors import AmbiguousDataset, InvalidDataset, InvalidRequest

TWO = "names: [dog, cat]\ntrain: images/train\n"


def world(root: Path, label: str | bytes, config: str = TWO, **more: str | bytes) -> Path:
    """One image of 100 x 80 pixels with its label, and a description."""
    files = {"data.yaml": config, "images/train/a.png": png(), "labels/train/a.txt": label}
    return write_files(root, files | more)


@pytest.mark.parametrize(
    "text",
    [
        b"1 0.5 0.5 0.2 0.25",
        b"\xef\xbb\xbf1 0.5 0.5 0.2 0.25\n",
        b"1 0.5 0.5 0.2 0.25\r\n",
        b"\r\n\n1 0.5 0.5 0.2 0.25\r\n \r\n",
        b"1\t0.5\t0.5\t0.2\t0.25",
        b"  1  0.5 0.5 0.2 0.25  ",
        b"1.0 0.5 0.5 0.2 0.25",
        b"1.000000 5e-1 .5 0.2 2.5e-01",
        b"01 0.5 0.5 0.2 0.25",
        b"\r1 0.5 0.5 0.2 0.25\r",
    ],
)
def test_a_box_is_read_however_its_row_is_written(tmp_path: Path, text: bytes):
    _, items, losses = read_all(world(tmp_path, text), "yolo")

    [one] = items["a.png"].annotations
    assert one.label == 1
    assert one.box == pytest.approx((40, 30, 20, 20))
    assert not losses.codes


def test_a_sixth_number_is_a_score(tmp_path: Path):
    _, items, losses = read_all(world(tmp_path, "0 .5 .5 .2 .25 0.875\n1 .5 .5 .2 .25\n"), "yolo")

    assert [one.score for one in items["a.png"].annotations] == [0.875, None]
    assert not losses.codes


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 .5 .5 .2", "BAD_ROW"),
        ("0", "BAD_ROW"),
        ("0 .1 .1 .2 .2 .3 .3 x", "BAD_ROW"),
        ("dog .5 .5 .2 .25", "BAD_ROW"),
        ("2 .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("-1 .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("0.5 .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("nan .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("inf .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("1e308 .5 .5 .2 .25", "UNKNOWN_CLASS"),
        ("0 nan .5 .2 .25", "NOT_FINITE"),
        ("0 .5 .5 inf .25", "NOT_FINITE"),
        ("0 1e308 .5 .2 .25", "NOT_FINITE"),
        ("0 1e300 .5 .2 .25", "BAD_ROW"),
        ("0 .5 .5 0 .25", "ZERO_AREA"),
        ("0 .5 .5 -.2 .25", "BAD_ROW"),
    ],
)
def test_a_broken_row_is_told_and_the_others_are_kept(tmp_path: Path, row: str, code: str):
    world(tmp_path / "in", f"0 .5 .5 .2 .25\n{row}\n1 .5 .5 .2 .25\n")

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert result.losses.reasons == {code: 1}
    assert (result.losses.seen, result.losses.written) == (3, 2)
    assert result.losses.examples[code][0].where.startswith("labels/train/a.txt")
    assert (tmp_path / "out/labels/train/a.txt").read_text() == (
        "0 0.500000 0.500000 0.200000 0.250000\n1 0.500000 0.500000 0.200000 0.250000\n"
    )


def test_a_box_among_polygons_becomes_a_polygon(tmp_path: Path):
    world(tmp_path / "in", "0 .1 .1 .2 .1 .2 .2\n1 .5 .5 .2 .25\n0 .1 .1 .2 .1 .2 .2 .1 .3\n")

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert result.losses.reasons == {"BOX_TO_POLYGON": 1}
    assert result.losses.is_lossless
    assert (tmp_path / "out/labels/train/a.txt").read_text().splitlines()[1] == (
        "1 0.400000 0.375000 0.600000 0.375000 0.600000 0.625000 0.400000 0.625000"
    )
    assert refused_by_the_trainer(tmp_path / "out") == {}


def test_a_polygon_that_no_sample_showed_is_read_all_the_same(tmp_path: Path):
    files = {f"images/train/{number}.png": png(8, 8) for number in range(500)}
    files |= {f"labels/train/{number}.txt": b"0 .5 .5 .2 .25" for number in range(500)}
    files["labels/train/123.txt"] = b"0 .1 .1 .2 .1 .2 .2"
    write_files(tmp_path / "in", files | {"data.yaml": TWO.encode()})

    _, items, losses = read_all(tmp_path / "in", "yolo")

    assert isinstance(items["123.png"].annotations[0].shape, Polygon)
    assert not losses.codes


def test_the_same_row_twice_is_two_objects(tmp_path: Path):
    _, items, _ = read_all(world(tmp_path, "0 .5 .5 .2 .25\n0 .5 .5 .2 .25\n"), "yolo")

    assert len(items["a.png"].annotations) == 2


def test_an_image_without_objects_stays_with_and_without_a_label_file(tmp_path: Path):
    world(tmp_path / "in", "", **{"images/train/b.png": png()})

    for target in ("yolo", "coco", "voc"):
        convert(tmp_path / "in", target, tmp_path / target)
        _, items, losses = read_all(tmp_path / target, target)
        assert {key: len(item.annotations) for key, item in items.items()} == {"a.png": 0, "b.png": 0}
        assert not losses.codes
    assert (tmp_path / "yolo/labels/train/b.txt").read_bytes() == b""


def test_a_label_that_cannot_be_read_is_told_and_does_not_pass_for_an_image_without_objects(tmp_path: Path):
    world(tmp_path, "0 .5 .5 .2 .25", **{"images/train/b.png": png(), "images/train/c.png": png()})
    (tmp_path / "labels/train/b.txt").mkdir()
    (tmp_path / "labels/train/c.txt").write_bytes(b"\xff\xfe0\0")

    _, items, losses = read_all(tmp_path, "yolo")

    assert len(items) == 3
    assert losses.codes == {"BAD_FILE": 2}


def test_rows_without_their_image_are_told_one_by_one(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "data.yaml": "names: [dog]\ntrain: train.txt\n",
            "train.txt": "images/gone.png\nimages/a.png\n",
            "images/a.png": png(),
            "labels/a.txt": "0 .5 .5 .2 .25",
            "labels/gone.txt": "0 .5 .5 .2 .25\n\n0 .5 .5 .2 .25",
            "labels/orphan.txt": "0 .5 .5 .2 .25",
        },
    )

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    assert result.losses.kinds["box"].seen == 3
    assert result.losses.kinds["box"].failed == 2
    assert result.losses.reasons == {"IMAGE_MISSING": 3, "ORPHAN_LABEL": 1}


# --- key points -------------------------------------------------------------------------------------------


def pose_row(count: int, values_each: int) -> str:
    points = []
    for number in range(count):
        x, y = 0.4 + 0.2 * number / count, 0.45 + 0.1 * number / count
        points.append(f"{x:.6f} {y:.6f}" + (f" {number % 2 + 1}" if values_each == 3 else ""))
    return f"0 0.500000 0.500000 0.400000 0.400000 {' '.join(points)}"


@pytest.mark.parametrize("values_each", [2, 3])
@pytest.mark.parametrize("count", range(1, 21))
def test_key_points_are_what_kpt_shape_says(tmp_path: Path, count: int, values_each: int):
    row = pose_row(count, values_each)
    config = TWO + f"kpt_shape: [{count}, {values_each}]\n"
    world(tmp_path / "in", row, config)

    header, items, losses = read_all(tmp_path / "in", "yolo")
    result = convert(tmp_path / "in", "yolo", tmp_path / "out")
    _, again, _ = read_all(tmp_path / "out", "yolo")

    [one] = items["a.png"].annotations
    assert header.kinds == {"keypoints"}
    assert len(one.points) == 3 * count
    assert one.points[:2] == pytest.approx([40, 36])
    assert set(one.points[2::3]) <= {1, 2}
    assert not losses.codes
    assert result.losses.is_lossless
    assert refused_by_the_trainer(tmp_path / "out") == {}
    assert again["a.png"].annotations[0].points == pytest.approx(one.points, abs=1e-4)
    if values_each == 3:
        assert (tmp_path / "out/labels/train/a.txt").read_text() == row + "\n"


@pytest.mark.parametrize("values_each", [2, 3])
@pytest.mark.parametrize("count", range(1, 21))
def test_key_points_without_kpt_shape_are_no_polygons(tmp_path: Path, count: int, values_each: int):
    world(tmp_path, pose_row(count, values_each) + "\n" + pose_row(count, values_each))

    with pytest.raises(AmbiguousDataset, match=r"labels/train/a\.txt:[12]") as caught:
        read_all(tmp_path, "yolo")

    assert "kpt_shape" in (caught.value.hint or "")
    header, _, _ = read_all(tmp_path, "yolo", task="segment")
    assert "polygon" in header.kinds


def test_polygons_of_one_length_that_can_be_nothing_else_are_polygons(tmp_path: Path):
    far = "0 .1 .1 .9 .1 .9 .9 .1 .9 .05 .5"
    thin = "0 .1 .9 .05 .05 .9 .9 .95 .5"

    for number, row in enumerate([far, "0 .9 .9 .1 .2 .1 .1"]):
        header, _, _ = read_all(world(tmp_path / str(number), row), "yolo")
        assert header.kinds == {"polygon", "box"}
    with pytest.raises(AmbiguousDataset, match="turned boxes, or polygons of 4"):
        read_all(world(tmp_path / "thin", thin), "yolo")


def test_the_order_of_mirrored_points_is_kept(tmp_path: Path):
    config = TWO + "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\n"
    world(tmp_path / "in", pose_row(3, 3), config)

    convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["flip_idx"] == [0, 2, 1]


def test_the_names_of_points_say_which_are_mirrored(tmp_path: Path):
    config = TWO + "kpt_shape: [3, 3]\nkpt_names: {0: [nose, left_eye, right_eye]}\n"
    world(tmp_path / "in", pose_row(3, 3), config)

    convert(tmp_path / "in", "yolo", tmp_path / "out")
    header, _, _ = read_all(tmp_path / "out", "yolo")

    description = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert description["flip_idx"] == [0, 2, 1]
    assert description["kpt_names"][0] == ["nose", "left_eye", "right_eye"]
    assert header.classes[0].keypoints == ("nose", "left_eye", "right_eye")


def test_a_pose_row_of_another_length_is_told(tmp_path: Path):
    config = TWO + "kpt_shape: [2, 3]\n"
    world(tmp_path / "in", f"{pose_row(2, 3)}\n0 .5 .5 .2 .25\n{pose_row(3, 3)}", config)

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert result.losses.reasons == {"BAD_ROW": 2}
    assert refused_by_the_trainer(tmp_path / "out") == {}


@pytest.mark.parametrize("shape", ["[17]", "[17, 4]", "[0, 3]", "17", "[a, 3]"])
def test_a_kpt_shape_that_is_none_is_refused(tmp_path: Path, shape: str):
    with pytest.raises(InvalidDataset, match="kpt_shape"):
        read_all(world(tmp_path, pose_row(17, 3), TWO + f"kpt_shape: {shape}\n"), "yolo")


def test_pose_cannot_be_asked_for_where_there_are_no_points(tmp_path: Path):
    world(tmp_path / "in", "0 .5 .5 .2 .25")

    with pytest.raises(InvalidRequest, match="key points"):
        convert(tmp_path / "in", "yolo", tmp_path / "out", task="pose")


# --- turned boxes -----------------------------------------------------------------------------------------


def obb_row(degrees: float, centre: tuple[float, float] = (50, 40)) -> str:
    """Return the row of a box of 30 x 10 pixels in an image of 100 x 80."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = []
    for dx, dy in ((-15, -5), (15, -5), (15, 5), (-15, 5)):
        x, y = centre[0] + dx * cos - dy * sin, centre[1] + dx * sin + dy * cos
        corners.append(f"{x / 100:.6f} {y / 80:.6f}")
    return f"0 {' '.join(corners)}"


@pytest.mark.parametrize("how", ["flag", "data.yaml"])
def test_four_corners_are_a_turned_box_or_a_polygon_as_one_says(tmp_path: Path, how: str):
    for task in ("obb", "segment"):
        config = TWO + (f"task: {task}\n" if how == "data.yaml" else "")
        options = {"task": task} if how == "flag" else {}
        header, items, _ = read_all(world(tmp_path / task, obb_row(30), config), "yolo", **options)
        assert ("rotated_box" in header.kinds) == (task == "obb")
        assert isinstance(items["a.png"].annotations[0].shape, Polygon) == (task == "segment")


def test_four_corners_without_a_word_are_ambiguous(tmp_path: Path):
    with pytest.raises(AmbiguousDataset, match=r"labels/train/a\.txt:1") as caught:
        read_all(world(tmp_path, obb_row(30)), "yolo")

    assert "task='obb'" in (caught.value.hint or "")


@pytest.mark.parametrize("degrees", [0, 0.1, 30, 45, 89.9, 90, 135, 180, -60])
def test_a_turned_box_comes_back_as_it_was(tmp_path: Path, degrees: float):
    world(tmp_path / "in", obb_row(degrees), TWO + "task: obb\n")

    _, items, _ = read_all(tmp_path / "in", "yolo")
    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    [one] = items["a.png"].annotations
    off = math.remainder(one.angle - math.radians(degrees), math.pi)
    assert off == pytest.approx(0, abs=1e-4)
    assert one.box == pytest.approx((35, 35, 30, 10), abs=1e-3)
    assert result.losses.is_lossless
    assert refused_by_the_trainer(tmp_path / "out") == {}
    written = [float(part) for part in (tmp_path / "out/labels/train/a.txt").read_text().split()]
    points = set(zip(written[1::2], written[2::2], strict=True))
    given = [float(part) for part in obb_row(degrees).split()]
    for point in zip(given[1::2], given[2::2], strict=True):
        assert min(math.dist(point, other) for other in points) < 3e-6


def test_four_corners_that_are_no_box_are_kept_as_they_are(tmp_path: Path):
    row = "0 0.100000 0.100000 0.120000 0.100000 0.130000 0.140000 0.100000 0.120000"
    world(tmp_path / "in", row, TWO + "task: obb\n")

    convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert (tmp_path / "out/labels/train/a.txt").read_text() == row + "\n"
    assert "task: obb" in (tmp_path / "out/data.yaml").read_text()


def test_a_turned_box_that_becomes_an_upright_one_is_told(tmp_path: Path):
    world(tmp_path / "in", obb_row(90), TWO + "task: obb\n")

    result = convert(tmp_path / "in", "yolo", tmp_path / "out", task="detect")

    assert result.losses.reasons == {"ROTATION_DROPPED": 1}
    assert (tmp_path / "out/labels/train/a.txt").read_text() == "0 0.500000 0.500000 0.100000 0.375000\n"


@pytest.mark.parametrize("task", ["obb", "segment", "detect"])
def test_a_turned_box_over_the_edge_is_cut_and_one_outside_left_out(tmp_path: Path, task: str):
    rows = f"{obb_row(45, (99, 40))}\n{obb_row(45, (150, 40))}\n"
    world(tmp_path / "in", rows, TWO + "task: obb\n")

    result = convert(tmp_path / "in", "yolo", tmp_path / "out", task=task)

    assert result.losses.reasons["CLIPPED"] == 1
    assert result.losses.reasons["OUTSIDE_IMAGE"] == 1
    assert refused_by_the_trainer(tmp_path / "out") == {}
    assert len((tmp_path / "out/labels/train/a.txt").read_text().splitlines()) == 1


# --- descriptions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("names: [dog, cat]", ["dog", "cat"]),
        ("names:\n- dog\n- cat", ["dog", "cat"]),
        ("names: {0: dog, 1: cat}", ["dog", "cat"]),
        ("names:\n  1: cat\n  0: dog", ["dog", "cat"]),
        ("names: ['dog', \"cat: black\"]", ["dog", "cat: black"]),
        ("names: [Hündin, 猫]", ["Hündin", "猫"]),
        ("names: [yes, no]", ["yes", "no"]),
        ("names: [1.0, 007]", ["1.0", "007"]),
        ("names: ['~', '']", ["~", ""]),
        ("names: dog, cat", ["dog", "cat"]),
        ("nc: 2\nnames: [dog, cat]", ["dog", "cat"]),
        ("nc: 2", ["class_0", "class_1"]),
        ("names: [dog, dog]", ["dog", "dog"]),
    ],
)
def test_classes_are_named_in_many_ways(tmp_path: Path, names: str, classes: list[str]):
    world(tmp_path / "in", "1 .5 .5 .2 .25\n0 .5 .5 .2 .25", f"{names}\ntrain: images/train\n")

    header, items, losses = read_all(tmp_path / "in", "yolo")
    result = convert(tmp_path / "in", "yolo", tmp_path / "out")
    again, _, _ = read_all(tmp_path / "out", "yolo")

    assert [entry.name for entry in header.classes] == classes
    assert [one.label for one in items["a.png"].annotations] == [1, 0]
    assert not losses.codes
    assert [entry.name for entry in again.classes] == classes
    assert [(entry.before, entry.after) for entry in result.losses.classes] == [(1, 1), (1, 1)]


def test_gaps_between_class_numbers_are_closed(tmp_path: Path):
    world(tmp_path / "in", "7 .5 .5 .2 .25\n3 .5 .5 .2 .25", "names: {3: dog, 7: cat}\ntrain: images/train\n")

    header, items, _ = read_all(tmp_path / "in", "yolo")
    convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert [(entry.name, entry.source_id) for entry in header.classes] == [("dog", 3), ("cat", 7)]
    assert [one.label for one in items["a.png"].annotations] == [1, 0]
    assert refused_by_the_trainer(tmp_path / "out") == {}


def test_a_number_of_classes_that_is_not_the_names_is_told(tmp_path: Path):
    _, _, losses = read_all(world(tmp_path, "", TWO + "nc: 3\n"), "yolo")

    assert losses.codes == {"BAD_FILE": 1}


@pytest.mark.parametrize(
    "places",
    [
        "train: images/train\nval: images/val",
        "train: images/train/\nvalidation: ./images/val",
        "path: .\ntrain: images/train\nval: [images/val]",
        "path: ../datasets/mine\ntrain: images/train\nval: images/val",
        "path: /home/me/mine\ntrain: images/train\nval: images/val",
        "train: ../images/train\nval: ../images/val",
        "train: /home/me/mine/images/train\nval: C:\\data\\mine\\images\\val",
        "train: [images/train]\nval: [images/val, images/none]",
        "train: [images/train/a.png]\nval: images/val/b.png",
        "train: train.txt\nval: lists/val.txt",
        "train: images/train\nval: lists/val.txt",
        "path: images\ntrain: train\nval: val",
    ],
)
def test_images_are_found_wherever_the_description_says(tmp_path: Path, places: str):
    world(
        tmp_path,
        "0 .5 .5 .2 .25",
        f"names: [dog]\n{places}\n",
        **{
            "images/val/b.png": png(),
            "labels/val/b.txt": "0 .5 .5 .2 .25",
            "train.txt": "./images/train/a.png\n",
            "lists/val.txt": "\ufeff../images/val/b.png\r\n",
        },
    )

    _, items, losses = read_all(tmp_path, "yolo")

    assert {key: (item.split, len(item.annotations)) for key, item in items.items()} == {
        "a.png": ("train", 1),
        "b.png": ("val", 1),
    }
    assert losses.codes == ({"BAD_FILE": 1} if "none" in places else {})


def test_a_list_keeps_images_of_one_name_in_several_folders_apart(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "data.yaml": "names: [dog]\ntrain: train.txt\n",
            "train.txt": "p/a.png\nq/a.png\n",
            **{f"{folder}/a.png": png() for folder in "pq"},
            "p/a.txt": "0 .5 .5 .2 .25",
        },
    )

    _, items, _ = read_all(tmp_path / "in", "yolo")
    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert {key: len(item.annotations) for key, item in items.items()} == {"p/a.png": 1, "q/a.png": 0}
    assert result.renamed == 0


def test_an_image_that_two_splits_name_counts_once_and_that_is_told(tmp_path: Path):
    config = "names: [dog]\ntrain: images/train\nval: images/train\n"

    _, items, losses = read_all(world(tmp_path, "0 .5 .5 .2 .25", config), "yolo")

    assert items["a.png"].split == "train"
    assert losses.codes == {"SPLIT_DROPPED": 1}


def test_the_folder_of_the_description_can_be_the_folder_of_images(tmp_path: Path):
    write_files(
        tmp_path, {"data.yaml": "names: [dog]\ntrain: .\n", "a.png": png(), "a.txt": "0 .5 .5 .2 .25"}
    )

    _, items, losses = read_all(tmp_path, "yolo")

    assert len(items["a.png"].annotations) == 1
    assert not losses.codes


def test_darknet_s_files_are_read(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid=data/valid.txt\nnames = data/obj.names",
            "obj.names": "dog\ncat\n",
            "train.txt": "data/obj_train_data/a.png\n",
            "valid.txt": "data/obj_valid_data/b.png\n",
            "obj_train_data/a.png": png(),
            "obj_train_data/a.txt": "1 .5 .5 .2 .25",
            "obj_valid_data/b.png": png(),
        },
    )

    header, items, losses = read_all(tmp_path, "yolo")

    assert [entry.name for entry in header.classes] == ["dog", "cat"]
    assert {key: (item.split, len(item.annotations)) for key, item in items.items()} == {
        "a.png": ("train", 1),
        "b.png": ("val", 0),
    }
    assert not losses.codes


def test_classes_that_nobody_named_go_up_to_the_highest_that_is_used(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "images/a.png": png(),
            "labels/a.txt": b"\xef\xbb\xbf4.0 .5 .5 .2 .25\n1 .5 .5 .2 .25\nx .5 .5 .2 .25",
        },
    )

    header, items, losses = read_all(tmp_path, "yolo")

    assert [entry.name for entry in header.classes] == [f"class_{number}" for number in range(5)]
    assert [one.label for one in items["a.png"].annotations] == [4, 1]
    assert losses.codes == {"BAD_ROW": 1}


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ("names: [dog\ntrain: images/train\n", "YAML"),
        ("names: {dog: 0}\ntrain: images/train\n", "names"),
        ("names: [dog]\ntrain: nowhere\npath: elsewhere\n", None),
    ],
)
def test_a_description_that_cannot_be_read_names_itself(tmp_path: Path, config: str, wrong: str | None):
    world(tmp_path, "0 .5 .5 .2 .25", config)

    if wrong is None:
        _, items, losses = read_all(tmp_path, "yolo")
        assert list(items) == ["a.png"]
        assert losses.codes == {"BAD_FILE": 1}
    else:
        with pytest.raises(InvalidDataset, match=rf"data\.yaml.*{wrong}"):
            read_all(tmp_path, "yolo")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("images/a/images/b.png", "images/a/labels/b.txt"),
        ("train/images/a.b.png", "train/labels/a.b.txt"),
        ("a.png", "a.txt"),
        ("myimages/a.png", "myimages/a.txt"),
    ],
)
def test_a_label_lies_where_the_trainer_looks_for_it(image: str, label: str):
    assert label_path(image) == label


def test_a_folder_called_images_among_the_names_does_not_lose_labels(tmp_path: Path):
    world(
        tmp_path / "in",
        "",
        **{"images/train/x/images/b.png": png(), "images/train/x/labels/b.txt": "0 .5 .5 .2 .25"},
    )

    convert(tmp_path / "in", "yolo", tmp_path / "out")
    _, items, _ = read_all(tmp_path / "out", "yolo")

    assert {key: len(item.annotations) for key, item in items.items()} == {"a.png": 0, "x/images/b.png": 1}


# --- images -----------------------------------------------------------------------------------------------


def turned_jpeg(orientation: int) -> bytes:
    """Return an image that is stored with 100 x 80 pixels, to be shown as its mark says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("L", (100, 80)).save(file, "jpeg", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_count_in_the_image_as_it_is_shown(tmp_path: Path, orientation: int):
    write_files(
        tmp_path,
        {"images/a.jpg": turned_jpeg(orientation), "labels/a.txt": "0 .5 .5 .5 .5", "classes.txt": "dog"},
    )

    _, items, losses = read_all(tmp_path, "yolo")

    item = items["a.jpg"]
    assert (item.width, item.height) == ((80, 100) if orientation >= 5 else (100, 80))
    assert item.annotations[0].box == ((20, 25, 40, 50) if orientation >= 5 else (25, 20, 50, 40))
    assert losses.codes == ({"EXIF_ORIENTATION": 1} if orientation >= 5 else {})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("has_size", [True, False])
def test_a_turned_image_of_coco_counts_as_its_size_says(tmp_path: Path, orientation: int, has_size: bool):
    size = '"width": 100, "height": 80, ' if has_size else ""
    write_files(
        tmp_path / "in",
        {
            "a.json": f'{{"images": [{{"id": 1, {size}"file_name": "a.jpg"}}], "categories": [{{"id": 1, '
            '"name": "dog"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, '
            '"bbox": [20, 20, 40, 40]}]}',
            "a.jpg": turned_jpeg(orientation),
        },
    )

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    is_turned = orientation >= 5 and not has_size
    assert (tmp_path / "out/labels/train/a.txt").read_text() == (
        "0 0.500000 0.400000 0.500000 0.400000\n" if is_turned else "0 0.400000 0.500000 0.400000 0.500000\n"
    )
    assert result.losses.reasons == ({"EXIF_ORIENTATION": 1} if is_turned else {})


def test_an_image_that_is_none_is_told(tmp_path: Path):
    world(
        tmp_path, "0 .5 .5 .2 .25", **{"images/train/b.png": b"no image", "labels/train/b.txt": "0 1 1 1 1"}
    )

    _, _, losses = read_all(tmp_path, "yolo")

    assert losses.codes == {"BAD_FILE": 1, "IMAGE_MISSING": 2}


def test_the_rules_of_the_trainer_are_what_they_are():
    box = "0 0.5 0.5 0.2 0.2"

    assert accepted_by_the_trainer("", 1, "detect")
    assert accepted_by_the_trainer(f"{box}\n{box}\n", 1, "detect")
    assert not accepted_by_the_trainer(box, 0, "detect")
    assert not accepted_by_the_trainer(f"{box} 0.9", 1, "detect")
    assert not accepted_by_the_trainer("0 1.02 0.5 0.2 0.2", 1, "detect")
    assert not accepted_by_the_trainer("0.5 0.5 0.5 0.2 0.2", 1, "detect")
    assert not accepted_by_the_trainer(f"{box}\n0 0.1 0.1 0.2 0.1 0.2 0.2", 1, "segment")
    assert not accepted_by_the_trainer(pose_row(3, 3), 1, "pose", (2, 3))
