"""Conversions as a whole: what is counted, what stands there afterwards, and that it is always the same."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import fsspec
import pytest
from dataset_worlds import png, read_all, write_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trainer_rules import refused_by_the_trainer

from synapse_core.datasets.classes import ClassChoice
from synapse_core.datasets.conversion import check_conversion, convert
from synapse_core.datasets.dividing import PART_ITEMS, in_parts
from synapse_core.datasets.format import WriterSetup
from synapse_core.datasets.formats import find_format, formats
from synapse_core.datasets.formats.yolo import YoloReader
from synapse_core.datasets.model import (
    Annotation,
    ClassDef,
    Group,
    Header,
    Item,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    Relation,
    Text,
)
from synapse_core.datasets.naming import Names
from synapse_core.datasets.options import make_options
from synapse_core.datasets.parts import Part
from synapse_core.datasets.report import Losses, LossSummary, summarise
from synapse_core.datasets.source import LocalSource
from synapse_core.datasets.splits import split_of
from synapse_core.datasets.target import FolderTarget
from synapse_core.errors import (
    Conflict,
    InvalidDataset,
    InvalidRequest,
    LossyConversion,
    NotFound,
    UnknownFormat,
)
from synapse_core.executors.ray import RayCluster

BOX = "0 0.5 0.5 0.2 0.25\n"


def world(root: Path, count: int = 3, **more: str | bytes) -> Path:
    """A YOLO dataset with a box in each image."""
    files: dict[str, str | bytes] = {"data.yaml": "names: [dog, cat]\ntrain: images/train\n"}
    for number in range(count):
        files[f"images/train/{number}.png"] = png(100, 80)
        files[f"labels/train/{number}.txt"] = BOX
    return write_files(root, files | more)


def tree(root: Path) -> dict[str, str]:
    """Return every file below a folder with a hash of what is in it."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def left_beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "home")


# --- counting ---------------------------------------------------------------------------------------------


class Shelf:
    """A reader of items that are made up."""

    def __init__(self, items: list[Item], classes: list[ClassDef], kinds: Any) -> None:
        self.header = Header("none", classes, frozenset(kinds))
        self.found = Losses(len(classes), len(classes))
        self.wants_extra = False
        self._items = items

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for item in self._items:
            yield item.key, item.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        yield from list(enumerate(self._items))[start:stop]


numbers = st.one_of(
    st.floats(-20, 120),
    st.sampled_from(
        [0.0, 1e-9, -1e-9, 99.9999999, 100.0, 100.4, 130.0, 1e308, -1e308, float("nan"), float("inf")]
    ),
)
boxes = st.tuples(numbers, numbers, numbers, numbers)
rings = st.lists(st.tuples(numbers, numbers), max_size=6).map(
    lambda points: [value for pair in points for value in pair]
)
masks = st.one_of(
    st.builds(
        Mask,
        st.just(80),
        st.just(100),
        st.just("counts"),
        st.sampled_from([[8000], [0, 8000], [5, 9, 7986], [3]]),
    ),
    st.builds(
        Mask, st.just(80), st.just(100), st.just("row_runs"), st.sampled_from([[], [[0, 5]], [[7999, 9]]])
    ),
    st.builds(Mask, st.just(80), st.just(100), st.just("row_indices"), st.sampled_from([[], [3, 4], [8000]])),
    st.builds(Mask, st.just(80), st.just(100), st.just("compressed"), st.sampled_from(["", "~", "PPP"])),
    st.builds(Mask, st.just(200), st.just(300), st.just("counts"), st.just([59_000, 1000])),
)
shapes = st.one_of(
    st.none(),
    st.builds(Polygon, st.lists(rings, max_size=3), st.integers(0, 1)),
    masks,
    st.builds(Polyline, rings),
    st.builds(Text, st.text(max_size=5)),
    st.builds(Relation, st.just("a"), st.just("b")),
    st.builds(Group, st.just(["a"])),
    st.builds(Opaque, st.just("3d_bounding_box"), st.just({"x": 1})),
)
points = st.lists(st.one_of(numbers, st.sampled_from([0.0, 1.0, 2.0])), max_size=12)
annotations = st.builds(
    Annotation,
    st.integers(-1, 1),
    st.none() | boxes,
    shapes,
    st.none() | points,
    st.one_of(st.just(0.0), st.floats(-4, 4), st.just(float("nan"))),
    st.none() | st.integers(0, 3) | st.text(max_size=3),
    st.booleans(),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 100),
    st.none() | st.just("g"),
    st.none() | st.just({"colour": "red"}),
)
sizes = st.sampled_from([(100, 80), (1, 1), (None, None)])
items = st.builds(
    lambda key, size, found, split: Item(key, size[0], size[1], found, split),
    st.sampled_from(["a.png", "b/a.png", "b/a.jpg", "A.png", "c.png", "../x.png", "d\n.png", "é.png"]),
    sizes,
    st.lists(annotations, max_size=4),
    st.sampled_from([None, "train", "val", "../up", "a: b"]),
)


WRITABLE = [known.name for known in formats() if known.write is not None]
WRITABLE += ["yolo:detect", "yolo:segment", "yolo:obb", "yolo:pose"]


def written(root: Path, name: str, found: list[Item], **options: Any) -> LossSummary:
    """Write items in a format (and a task of YOLO), look at what was written, and return what was told."""
    name, _, task = name.partition(":")
    choices = make_options(task=task or "auto", **options)
    classes = [ClassDef("dog", keypoints=("nose", "tail")), ClassDef("cat")]
    shutil.rmtree(root, ignore_errors=True)
    (root / "in").mkdir(parents=True)
    reader = Shelf(found, classes, {"box", "polygon", "keypoints"} if task == "pose" else {"box"})
    target_format = find_format(name, "write")
    target = FolderTarget(root / "out")
    assert target_format.write is not None
    writer = target_format.write(WriterSetup(reader.header, target, LocalSource(root / "in", None), choices))
    entries = list(reader.entries())
    splits = [split_of(key, split, "keep") for key, split in entries]
    names = Names([key for key, _ in entries], splits, target_format)
    losses = Losses(2, 2)
    part = Part(reader, writer, target_format, choices, ClassChoice(classes, choices), names)
    for result in in_parts(part, len(found), target):
        writer.merge(result.piece)
        losses.add(result.losses)
    writer.finish()
    target.finish()
    target.close()

    assert left_beside(root) == ["in", "out"]
    if (root / "out/data.yaml").exists():
        assert refused_by_the_trainer(root / "out") == {}
    for path in (root / "out").rglob("*.json"):
        json.loads(path.read_bytes(), parse_constant=pytest.fail)
    return summarise(losses, classes, classes, {})


@pytest.mark.parametrize("name", WRITABLE)
@given(found=st.lists(items, max_size=4), data=st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_annotation_has_one_outcome_and_the_trainer_takes_what_is_written(
    tmp_path: Path, name: str, found: list[Item], data: Any
):
    seen = sum(len(item.annotations) for item in found)
    bounds = data.draw(st.sampled_from(["auto", "clip", "keep", "drop"]))
    crowds = data.draw(st.sampled_from(["auto", "keep", "drop"]))

    summary = written(tmp_path / "world", name, found, bounds=bounds, crowds=crowds)

    assert summary.seen == seen


SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
ODD = {
    "a hole in nothing": Annotation(0, shape=Polygon([SQUARE], 1)),
    "a point with a hole": Annotation(0, shape=Polygon([[5.0] * 6, SQUARE], 1)),
    "two points": Annotation(0, shape=Polygon([[5.0] * 6, [6.0] * 6])),
    "parts in two countries": Annotation(0, shape=Polygon([SQUARE, [number + 9e6 for number in SQUARE]])),
    "key points with a text": Annotation(0, (1, 2, 3, 4), Text("x"), [1.0, 2.0, 2.0, 3.0, 4.0, 1.0]),
    "key points by twos": Annotation(0, (1, 2, 3, 4), None, [1.0, 2.0]),
    "a mask of nothing": Annotation(0, shape=Mask(80, 100, "counts", [8000])),
    "a mask of another size": Annotation(0, shape=Mask(200, 300, "counts", [59_000, 1000])),
    "a mask that does not add up": Annotation(0, shape=Mask(80, 100, "counts", [3])),
    "a turned box outside": Annotation(0, (300, 300, 3, 4), angle=0.3),
    "a polygon with a box of nothing": Annotation(0, (0, 0, 0, 0), Polygon([SQUARE])),
}


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("odd", ODD)
def test_odd_annotations_upset_nobody(tmp_path: Path, name: str, odd: str):
    plain = Annotation(0, (1.0, 2.0, 30.0, 40.0))
    item = Item("a.png", 100, 80, [deepcopy(ODD[odd]), plain], "a: b")

    assert written(tmp_path / "world", name, [item]).seen == 2


@pytest.mark.parametrize(
    ("label", "codes"),
    [
        ("0 0.9000000001 0.5 0.2 0.2", {}),
        ("0 0.904 0.5 0.2 0.2", {"CLIPPED": 1}),
        ("0 1.1 0.5 0.5 0.2", {"CLIPPED": 1}),
        ("0 1.5 0.5 0.2 0.2", {"OUTSIDE_IMAGE": 1}),
        ("0 0.5 0.5 0 0.2", {"ZERO_AREA": 1}),
        ("0 0.5 0.5 -0.1 0.2", {"BAD_ROW": 1}),
        ("0 0.5 0.5 0.00000001 0.2", {"ZERO_AREA": 1}),
        ("0 0.5 nan 0.1 0.2", {"NOT_FINITE": 1}),
        ("0 0.5 1e308 0.1 0.2", {"NOT_FINITE": 1}),
    ],
)
def test_what_leaves_the_image_is_cut_or_left_out_and_told(tmp_path: Path, label: str, codes: dict[str, int]):
    world(tmp_path / "in", 1, **{"labels/train/0.txt": f"{label}\n{BOX}"})

    result = convert(tmp_path / "in", "yolo", tmp_path / "out")

    assert result.losses.reasons == codes
    assert refused_by_the_trainer(tmp_path / "out") == {}


def test_bounds_can_be_cut_kept_or_left_out(tmp_path: Path):
    world(tmp_path / "in", 1, **{"labels/train/0.txt": "0 1.0 0.5 0.4 0.25\n0 2.0 0.5 0.4 0.25\n"})

    boxes = {}
    for bounds in ("auto", "keep", "clip", "drop"):
        convert(tmp_path / "in", "coco", tmp_path / bounds, bounds=bounds)
        content = json.loads((tmp_path / bounds / "annotations/instances_train.json").read_text())
        boxes[bounds] = [one["bbox"] for one in content["annotations"]]

    assert boxes["auto"] == boxes["keep"]
    assert boxes["keep"] == [pytest.approx([80, 30, 40, 20]), pytest.approx([180, 30, 40, 20])]
    assert boxes["clip"] == [pytest.approx([80, 30, 20, 20])]
    assert boxes["drop"] == []


# --- names and splits -------------------------------------------------------------------------------------


def test_names_that_would_fall_on_one_file_are_told_apart_and_listed(tmp_path: Path):
    names = ["p/1.png", "q/1.png", "P/1.png", "x.png", "x.jpg"]
    files = {f"images/train/{name}": png(8, 8) for name in names}
    files |= {f"labels/train/{name.rpartition('.')[0]}.txt": BOX for name in names}
    write_files(tmp_path / "in", {"data.yaml": b"names: [dog]\ntrain: images/train\n", **files})

    for target in ("yolo", "coco", "voc"):
        result = convert(tmp_path / "in", target, tmp_path / target)
        _, items, _ = read_all(tmp_path / target, target)
        renamed = json.loads((tmp_path / target / "synapse.json").read_text())["renamed"]
        assert sorted(renamed.get(key, key) for key in items) == sorted(names)
        assert len({key.lower() for key in items}) == len(items)
        assert result.losses.reasons.get("NAME_COLLISION", 0) == result.renamed == len(renamed)
        assert result.losses.is_lossless


@pytest.mark.parametrize(
    "name",
    [
        "ü.png",
        "u\u0308.png",
        "a b#c%20.png",
        "x" * 250 + ".png",
        "a\nb.png",
        "'\"`$(x).png",
        "-rf.png",
        "日本.png",
    ],
)
def test_images_of_any_name_arrive(tmp_path: Path, name: str):
    world(tmp_path / "in", 1, **{f"images/train/{name}": png(), f"labels/train/{name[:-4]}.txt": BOX})

    for target in ("yolo", "coco", "voc"):
        convert(tmp_path / "in", target, tmp_path / target)
        _, items, losses = read_all(tmp_path / target, target)
        assert [len(item.annotations) for item in items.values()] == [1, 1]
        assert all(item.image is not None for item in items.values())
        assert not losses.codes


def test_a_name_that_is_no_text_is_replaced(tmp_path: Path):
    world(tmp_path / "in", 1)
    (tmp_path / "in/images/train/0.png").rename(tmp_path / "in/images/train/\udcff.png")
    (tmp_path / "in/labels/train/0.txt").rename(tmp_path / "in/labels/train/\udcff.txt")

    convert(tmp_path / "in", "coco", tmp_path / "out")
    _, items, _ = read_all(tmp_path / "out", "coco")

    assert [len(item.annotations) for item in items.values()] == [1]


def test_splits_are_kept_put_together_or_made_by_the_name(tmp_path: Path):
    config = "names: [dog]\ntrain: images/train\nval: images/val\n"
    more = {f"images/val/{number}.png": png(8, 8) for number in range(40, 100)}
    world(tmp_path / "in", 40, **{"data.yaml": config}, **more)

    folders = {}
    for splits in ("keep", "none", "hash"):
        result = convert(tmp_path / "in", "yolo", tmp_path / splits, splits=splits)
        folders[splits] = {
            path.name: len(list(path.iterdir())) for path in (tmp_path / splits / "labels").iterdir()
        }
        assert refused_by_the_trainer(tmp_path / splits) == {}
        assert result.losses.items == 100

    assert folders["keep"] == {"train": 40, "val": 60}
    assert folders["none"] == {"train": 100}
    assert set(folders["hash"]) == {"train", "val", "test"}
    assert 60 < folders["hash"]["train"] < 95


def test_images_of_one_name_with_and_without_a_split_do_not_fall_together(tmp_path: Path):
    def document(name: str) -> str:
        return json.dumps(
            {
                "images": [{"id": 1, "file_name": name, "width": 100, "height": 80}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
                "categories": [{"id": 1, "name": "dog"}],
            }
        )

    write_files(
        tmp_path / "in",
        {
            "annotations/instances_train.json": document("a.png"),
            "annotations/instances_all.json": document("a.png"),
            "annotations/instances_more.json": document("train/a.png"),
            "images/a.png": png(),
            "images/train/a.png": png(),
        },
    )

    for target in ("yolo", "coco", "cvat"):
        result = convert(tmp_path / "in", target, tmp_path / target)
        assert result.losses.written == 3
        assert len(list((tmp_path / target / "images").rglob("*.png"))) == 3
    assert refused_by_the_trainer(tmp_path / "yolo") == {}


def test_only_chosen_classes_come_over_in_the_order_that_was_asked_for(tmp_path: Path):
    rows = "0 .5 .5 .2 .25\n1 .5 .5 .2 .25\n2 .5 .5 .2 .25\n"
    config = "names: [zebra, cat, ant]\ntrain: images/train\n"
    world(tmp_path / "in", 1, **{"data.yaml": config, "labels/train/0.txt": rows})

    def labels(folder: str) -> list[str]:
        header, items, _ = read_all(tmp_path / folder, "yolo")
        return [header.classes[one.label].name for one in items["0.png"].annotations]

    chosen = convert(tmp_path / "in", "yolo", tmp_path / "chosen", classes=["ant", "zebra"])
    convert(tmp_path / "in", "yolo", tmp_path / "sorted", class_order="name")

    header, _, _ = read_all(tmp_path / "chosen", "yolo")
    assert [entry.name for entry in header.classes] == ["ant", "zebra"]
    assert labels("chosen") == ["zebra", "ant"]
    assert labels("sorted") == ["zebra", "cat", "ant"]
    assert chosen.losses.reasons == {"CLASS_NOT_CHOSEN": 1}
    assert [(one.name, one.before, one.after) for one in chosen.losses.classes] == [
        ("zebra", 1, 1),
        ("cat", 1, 0),
        ("ant", 1, 1),
    ]
    with pytest.raises(InvalidRequest, match="Did you mean zebra"):
        convert(tmp_path / "in", "yolo", tmp_path / "none", classes=["zebro"])


def test_images_are_linked_copied_or_left_where_they_are(tmp_path: Path):
    world(tmp_path / "in", 1)
    original = (tmp_path / "in/images/train/0.png").stat()

    for images in ("link", "copy", "none"):
        convert(tmp_path / "in", "yolo", tmp_path / images, images=images)

    assert (tmp_path / "link/images/train/0.png").stat().st_ino == original.st_ino
    assert (tmp_path / "copy/images/train/0.png").stat().st_ino != original.st_ino
    assert (tmp_path / "copy/images/train/0.png").read_bytes() == png(100, 80)
    assert not (tmp_path / "none/images").exists()


def test_an_image_is_never_written_over_another(tmp_path: Path):
    write_files(tmp_path / "in", {"a.png": b"one", "b.png": b"two"})
    target = FolderTarget(tmp_path / "out")
    source = LocalSource(tmp_path / "in", None)
    target.place(source, "a.png", "x.png", is_linked=True)

    for is_linked in (True, False):
        with pytest.raises(FileExistsError):
            target.place(source, "b.png", "x.png", is_linked=is_linked)
    target.close()

    assert (tmp_path / "in/a.png").read_bytes() == b"one"


# --- all or nothing ---------------------------------------------------------------------------------------


def test_strict_leaves_nothing_where_anything_is_lost(tmp_path: Path):
    world(tmp_path / "in", 1, **{"labels/train/0.txt": BOX + "0 .5 .5 .2\n"})
    world(tmp_path / "whole", 1)

    with pytest.raises(LossyConversion, match=r"BAD_ROW \(1\)") as caught:
        convert(tmp_path / "in", "coco", tmp_path / "out", strict=True)
    convert(tmp_path / "whole", "coco", tmp_path / "kept", strict=True)

    assert caught.value.details["reasons"] == {"BAD_ROW": 1}
    assert left_beside(tmp_path) == ["in", "kept", "whole"]


def test_a_dry_run_reports_the_same_and_writes_nothing(tmp_path: Path):
    world(tmp_path / "in", 3, **{"labels/train/0.txt": BOX + "0 1.05 .5 .2 .2\n9 .5 .5 .2 .2\n"})

    for known in formats():
        if known.write is None:
            continue
        dry = convert(tmp_path / "in", known.name, dry_run=True)
        wet = convert(tmp_path / "in", known.name, tmp_path / known.name)
        assert dry.losses == wet.losses
        assert (dry.output, dry.config_path, dry.losses_path) == (None, None, None)
        shutil.rmtree(tmp_path / known.name)
    assert left_beside(tmp_path) == ["in"]


@pytest.mark.parametrize("inside", ["", "out", "images/train/out", "../in/out"])
def test_an_output_in_the_source_is_refused(tmp_path: Path, inside: str):
    world(tmp_path / "in")
    before = tree(tmp_path)

    with pytest.raises(InvalidRequest, match="lies in the dataset"):
        convert(tmp_path / "in", "coco", tmp_path / "in" / inside)

    assert tree(tmp_path) == before


def test_an_output_in_the_source_behind_a_link_is_refused(tmp_path: Path):
    world(tmp_path / "in")
    (tmp_path / "door").symlink_to(tmp_path / "in/images")

    with pytest.raises(InvalidRequest, match="lies in the dataset"):
        convert(tmp_path / "in", "coco", tmp_path / "door/out")


def test_an_output_that_stands_there_is_refused_and_untouched(tmp_path: Path):
    world(tmp_path / "in")
    write_files(tmp_path / "folder", {"precious.txt": "x"})
    write_files(tmp_path, {"file": "x"})
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)

    for name in ("folder", "file", "link"):
        with pytest.raises(Conflict, match="is there already"):
            convert(tmp_path / "in", "coco", tmp_path / name)
        with pytest.raises(Conflict, match="is there already"):
            check_conversion(tmp_path / "in", "coco", tmp_path / name)
    assert tree(tmp_path) == before
    convert(tmp_path / "in", "coco", tmp_path / "empty")
    assert (tmp_path / "empty/synapse.json").is_file()


def test_an_output_below_a_file_is_refused(tmp_path: Path):
    world(tmp_path / "in")
    write_files(tmp_path, {"file": "x"})

    with pytest.raises(InvalidRequest, match="Nothing can be written"):
        convert(tmp_path / "in", "coco", tmp_path / "file/out")


def test_what_is_asked_for_wrongly_is_told_before_anything_is_written(tmp_path: Path):
    world(tmp_path / "in")

    with pytest.raises(InvalidRequest, match="no output"):
        convert(tmp_path / "in", "coco")
    with pytest.raises(UnknownFormat, match="cocoo"):
        convert(tmp_path / "in", "cocoo", tmp_path / "out")
    with pytest.raises(InvalidRequest, match="Did you mean strict"):
        convert(tmp_path / "in", "coco", tmp_path / "out", strikt=True)
    with pytest.raises(InvalidRequest, match="images is 'move'"):
        convert(tmp_path / "in", "coco", tmp_path / "out", images="move")
    with pytest.raises(InvalidRequest, match="workers"):
        convert(tmp_path / "in", "coco", tmp_path / "out", workers=0)
    with pytest.raises(NotFound, match="nothing at"):
        convert(tmp_path / "gone", "coco", tmp_path / "out")
    assert left_beside(tmp_path) == ["in"]


def test_links_out_of_the_dataset_are_not_followed(tmp_path: Path):
    write_files(tmp_path / "secret", {"b.png": png(), "b.txt": BOX, "c.png": png()})
    world(tmp_path / "in", 2)
    (tmp_path / "in/images/train/b.png").symlink_to(tmp_path / "secret/b.png")
    (tmp_path / "in/images/more").symlink_to(tmp_path / "secret")
    (tmp_path / "in/labels/train/1.txt").unlink()
    (tmp_path / "in/labels/train/1.txt").symlink_to(tmp_path / "secret/b.txt")
    (tmp_path / "in/images/train/2.png").symlink_to(tmp_path / "in/images/train/0.png")
    write_files(tmp_path / "in", {"data.yaml": "names: [dog]\ntrain: [images/train, images/more]\n"})

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    assert result.losses.items == 3
    assert result.losses.seen == 1
    assert result.losses.reasons == {"BAD_FILE": 2}
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["0.png", "1.png", "2.png"]


def test_a_pipe_among_the_files_keeps_nobody_waiting(tmp_path: Path):
    world(tmp_path / "in", 1, **{"images/train/b.png": png()})
    os.mkfifo(tmp_path / "in/labels/train/b.txt")

    result = convert(tmp_path / "in", "coco", tmp_path / "out")

    assert result.losses.reasons == {"BAD_FILE": 1}


# --- the same result, whoever works -----------------------------------------------------------------------


COUNT = 2 * PART_ITEMS + 30


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three parts, with losses in each, and names that collide across them."""
    root = tmp_path_factory.mktemp("large") / "in"
    image = png(100, 80)
    files: dict[str, bytes] = {"data.yaml": b"names: [dog, cat]\ntrain: images/train\nval: images/val\n"}
    for number in range(COUNT):
        split, name = ("val" if number % 5 == 0 else "train"), f"{number % 3}/{number:05}"
        files[f"images/{split}/{name}.png"] = image
        rows = f"{number % 2} 0.5 0.5 0.2 0.{number:05}1\n" + (
            "0 1.05 .5 .2 .2\n5 .5 .5 .2 .2\n" * (number % 7 == 0)
        )
        files[f"labels/{split}/{name}.txt"] = rows.encode()
    for name in ("0/00000", f"1/{COUNT - 3:05}"):
        files[f"images/train/{name}.jpg"] = image
    return write_files(root, files)


TARGETS = ["yolo", "coco", "voc"]


@pytest.fixture(scope="module")
def by_one(large: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("by-one")
    for target in TARGETS:
        convert(large, target, folder / target, workers=1)
    return {target: tree(folder / target) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("workers", [2, 4, "auto"])
def test_the_number_of_processes_changes_no_byte(
    tmp_path: Path, large: Path, by_one: Any, target: str, workers: Any
):
    result = convert(large, target, tmp_path / "out", workers=workers)

    assert tree(tmp_path / "out") == by_one[target]
    assert result.losses.items == COUNT + 2


@pytest.mark.parametrize("target", TARGETS)
def test_a_process_with_threads_gets_the_same_from_new_interpreters(
    tmp_path: Path, large: Path, by_one: Any, target: str
):
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        convert(large, target, tmp_path / "out", workers=2)
    finally:
        done.set()
        thread.join()

    assert tree(tmp_path / "out") == by_one[target]


@pytest.mark.ray
@pytest.mark.parametrize("target", TARGETS)
def test_ray_gets_the_same(tmp_path: Path, large: Path, by_one: Any, target: str, cluster: RayCluster):
    cluster.connect()

    convert(large, target, tmp_path / "out", workers="ray")

    assert tree(tmp_path / "out") == by_one[target]


def test_the_order_in_which_files_were_made_changes_nothing(tmp_path: Path):
    names = [f"{number}.png" for number in range(30)]
    for folder, order in (("one", names), ("two", names[::-1])):
        write_files(tmp_path / folder / "in", {f"images/{name}": png(8, 8) for name in order})
        write_files(tmp_path / folder / "in", {f"labels/{name[:-4]}.txt": BOX for name in order})
        for target in TARGETS:
            convert(tmp_path / folder / "in", target, tmp_path / folder / target)

    for target in TARGETS:
        assert tree(tmp_path / "one" / target) == tree(tmp_path / "two" / target)


@pytest.mark.parametrize("has_thread", [False, True])
def test_what_goes_wrong_in_a_process_is_raised_here(tmp_path: Path, large: Path, has_thread: bool):
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    if has_thread:
        thread.start()
    shutil.copytree(large, tmp_path / "in")

    def spoil(finished: int, count: int) -> None:
        raise InvalidDataset("enough")

    try:
        with pytest.raises(InvalidDataset, match="enough"):
            convert(tmp_path / "in", "yolo", tmp_path / "out", workers=2, on_progress=spoil)
    finally:
        done.set()
        if has_thread:
            thread.join()
    assert left_beside(tmp_path) == ["in"]


def test_progress_rises_to_the_end(tmp_path: Path, large: Path):
    told: list[tuple[int, int]] = []

    convert(large, "coco", tmp_path / "out", on_progress=lambda done, count: told.append((done, count)))

    assert told == [(500, COUNT + 2), (1000, COUNT + 2), (COUNT + 2, COUNT + 2)]


# --- trouble ----------------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from synapse_core.datasets.conversion import convert

def end(done, count):
    os.kill(os.getpid(), signal.SIGKILL)

convert(sys.argv[1], "yolo", sys.argv[2], workers=int(sys.argv[3]), on_progress=end)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_conversion_leaves_no_output_and_the_next_one_cleans_up(
    tmp_path: Path, large: Path, by_one: Any, workers: int
):
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(large), str(tmp_path / "out"), str(workers)],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == -9, ended.stderr[-2000:]
    [left] = [name for name in left_beside(tmp_path) if name.startswith(".out.")]
    assert not (tmp_path / "out").exists()
    convert(large, "yolo", tmp_path / "out")
    assert left_beside(tmp_path) == ["out"], left
    assert tree(tmp_path / "out") == by_one["yolo"]


def test_two_conversions_to_one_place_do_not_clean_up_each_other(tmp_path: Path):
    world(tmp_path / "in")

    def meanwhile(done: int, count: int) -> None:
        convert(tmp_path / "in", "coco", tmp_path / "out")

    with pytest.raises(Conflict, match="came into being meanwhile"):
        convert(tmp_path / "in", "yolo", tmp_path / "out", on_progress=meanwhile)

    assert left_beside(tmp_path) == ["in", "out"]
    assert (tmp_path / "out/annotations/instances_train.json").is_file()


FULL = """
import resource, subprocess, sys
from pathlib import Path
from synapse_core.datasets.conversion import convert
from synapse_core.errors import SynapseError

source, folder, target, workers = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", folder], check=True)
try:
    convert(source, target, folder + "/out", images="none", workers=int(workers))
except SynapseError as error:
    print(error.code, sorted(path.name for path in Path(folder).iterdir()))
"""


@pytest.mark.skipif(
    sys.platform != "linux"
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="needs the right to make a mount namespace (unshare), for a small disk of its own",
)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("target", ["yolo", "voc"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, large: Path, target: str, workers: int):
    (tmp_path / "disk").mkdir()

    ended = subprocess.run(
        [
            "unshare",
            "--mount",
            sys.executable,
            "-c",
            FULL,
            str(large),
            str(tmp_path / "disk"),
            target,
            str(workers),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.stdout == "disk_full []\n", ended.stderr[-3000:]


# --- elsewhere --------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's files in memory, empty before and after."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("target", TARGETS)
def test_a_dataset_can_be_read_from_and_written_to_a_url(tmp_path: Path, memory: Any, target: str):
    world(tmp_path / "in", 3)
    memory.put(str(tmp_path / "in"), "/in", recursive=True)

    convert(tmp_path / "in", target, tmp_path / "out")
    result = convert("memory://in", target, "memory://sub/out/")
    memory.get("/sub/out", str(tmp_path / "back"), recursive=True)

    assert tree(tmp_path / "back") == tree(tmp_path / "out")
    assert result.output == "memory://sub/out"
    assert result.config_path is not None
    assert result.config_path.startswith("memory://sub/out")
    again = convert("memory://sub/out", "coco", tmp_path / "again")
    assert (again.losses.seen, again.losses.written) == (3, 3)


def test_a_url_at_which_something_stands_is_refused(tmp_path: Path, memory: Any):
    world(tmp_path / "in")
    memory.pipe_file("/out/precious", b"x")
    memory.put(str(tmp_path / "in"), "/in", recursive=True)

    for url in ("memory://out", "memory://out/", "memory://out/precious"):
        with pytest.raises(Conflict, match="is there already"):
            convert(tmp_path / "in", "coco", url)
    with pytest.raises(InvalidRequest, match="lies in the dataset"):
        convert("memory://in", "coco", "memory://in/out")
    assert [path for path in memory.find("/") if not path.startswith("/in/")] == ["/out/precious"]


def test_a_url_that_nothing_opens_is_refused(tmp_path: Path):
    world(tmp_path / "in")

    with pytest.raises(InvalidRequest, match="cannot be opened"):
        convert(tmp_path / "in", "coco", "nosuch://out")
    with pytest.raises(InvalidRequest, match="cannot be opened"):
        convert("nosuch://in", "coco", tmp_path / "out")
    with pytest.raises(NotFound, match="nothing at"):
        convert("memory://gone", "coco", tmp_path / "out")


def test_a_file_url_is_a_local_path(tmp_path: Path):
    world(tmp_path / "a in")

    convert((tmp_path / "a in").as_uri(), "coco", (tmp_path / "an out").as_uri())

    assert (tmp_path / "an out/synapse.json").is_file()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which a web server shows it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_dataset_is_read_from_a_web_server(tmp_path: Path, site: tuple[Path, str]):
    folder, url = site
    world(folder / "yolo", 2)
    convert(folder / "yolo", "coco", folder / "coco")

    for where in ("yolo", "yolo/", "coco", "coco/annotations/instances_train.json"):
        result = convert(f"{url}/{where}", "voc", tmp_path / "out")
        assert (result.losses.seen, result.losses.written) == (2, 2), where
        _, items, _ = read_all(tmp_path / "out", "voc")
        assert [item.annotations[0].box for item in items.values()] == [pytest.approx((40, 30, 20, 20))] * 2
        shutil.rmtree(tmp_path / "out")
    with pytest.raises(NotFound, match="nothing at"):
        convert(f"{url}/gone/", "voc", tmp_path / "out")


def test_a_web_server_that_only_shows_files_takes_none(tmp_path: Path, site: tuple[Path, str]):
    world(tmp_path / "in", 1)

    with pytest.raises(InvalidRequest, match="files there can only be read"):
        convert(tmp_path / "in", "coco", f"{site[1]}/out")


def test_a_reader_can_be_pickled_to_another_process(tmp_path: Path):
    assert isinstance(
        find_format("yolo").read(LocalSource(world(tmp_path), None), make_options()), YoloReader
    )
