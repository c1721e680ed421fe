"""YOLO text labels: boxes, polygons, key points and turned boxes, in numbers relative to the image.

Rows are `class cx cy w h` (detect), `class x1 y1 x2 y2 …` (segment), `class cx cy w h px py [v] …` (pose) and
`class x1 y1 … x4 y4` (obb), with a score at the end in predictions. Relative to the image as it is shown,
which is turned by its EXIF mark. Source: ultralytics 8.4, `verify_image_label`, which also says what a
trainer refuses.
"""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from collections.abc import Iterator

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.yolo_layout import (
    Image,
    Layout,
    describes_yolo,
    find_config,
    looks_like_yolo,
    read_layout,
)
from synapse_core.datasets.formats.yolo_write import write
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, Kind, Polygon
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shapes import box_of_corners
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source
from synapse_core.errors import AmbiguousDataset, InvalidDataset, NotFound

# Label files that are looked into to tell what the rows are about.
_SAMPLE_FILES = 200
_TASKS = ("detect", "segment", "pose", "obb")
_KINDS: dict[str, frozenset[Kind]] = {
    "detect": frozenset({"box"}),
    "segment": frozenset({"polygon", "box"}),
    "pose": frozenset({"keypoints"}),
    "obb": frozenset({"rotated_box"}),
}
# What a row that cannot be read would have been.
_USUAL_KIND: dict[str, Kind] = {
    "detect": "box",
    "segment": "polygon",
    "pose": "keypoints",
    "obb": "rotated_box",
}
# By how much of the image's longer side corners may lie beside those of a box: what four digits round off.
_CORNER_SLACK = 1e-4
# By how much of the image's side a key point may lie beside the box of its object.
_POINT_SLACK = 0.02
_MOST_CLASSES = 100_000


def detect(seen: Glance) -> Evidence | None:
    """Tell a YOLO dataset by its description, or by its folders."""
    config = (
        find_config(seen.source) if seen.source.only is None or seen.files(".yaml", ".yml", ".data") else None
    )
    if config is not None and describes_yolo(seen.source.read(config)):
        return Evidence(0.95, (f"{config} names classes and images",))
    if reasons := looks_like_yolo(seen):
        return Evidence(0.8, tuple(reasons))
    beside = [
        path
        for path, folder in seen.folders.items()
        if folder.images and folder.extensions[".txt"] >= max(1, folder.images // 2)
    ]
    return Evidence(0.6, (f"{beside[0] or 'the folder'} holds .txt files beside images",)) if beside else None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read where everything is, and what the rows are about."""
    return YoloReader(source, options)


class YoloReader:
    """The images of a YOLO dataset with their rows."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        self.layout = read_layout(source, told)
        self.task = _task_of(source, self.layout, options.task)
        if not self.layout.names:
            self.layout.names = _unnamed(source, self.layout)
        names = self.layout.names
        points = self.layout.keypoint_names or (
            tuple(map(str, range(self.layout.keypoints[0]))) if self.layout.keypoints else ()
        )
        classes = [
            ClassDef(name, number, keypoints=points if self.task == "pose" else ())
            for number, name in names.items()
        ]
        info = {**self.layout.info, "task": self.task}
        self.header = Header("yolo", classes, _KINDS[self.task], self.layout.splits, info)
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._labels = {str(number): index for index, number in enumerate(names)}

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for image in self.layout.images:
            yield image.key, image.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        source = self.source
        for index in range(start, stop):
            image = self.layout.images[index]
            label = image.label
            try:
                rows = source.read(label)
            except NotFound:
                rows = b""  # no label file is one way to say that there is nothing
            except InvalidDataset as error:
                losses.tell("BAD_FILE", image.key, label, message=error.message)
                rows = b""
            item = Item(image.key, None, None, [], image.split, image.path, label)
            try:
                size = size_of(source, image.path)
            except InvalidDataset as error:
                losses.tell("BAD_FILE", image.key, image.path, message=error.message)
                size = None
            if size is None:
                self._without_size(item, rows, losses)
            else:
                item.width, item.height = size.upright
                if size.orientation >= 5:
                    losses.tell("EXIF_ORIENTATION", image.key, image.path, after=[item.width, item.height])
                if rows:
                    self._read_rows(item, rows, losses)
            yield index, item

    def _without_size(self, item: Item, rows: bytes, losses: Losses) -> None:
        """Tell of rows whose image is not there: nobody knows how many pixels they mean."""
        item.image = None
        losses.tell("IMAGE_MISSING", item.key, item.where)
        kind = _USUAL_KIND[self.task]
        for number, row in enumerate(rows.splitlines(), 1):
            if row.strip():
                losses.unreadable(
                    "IMAGE_MISSING", item.key, kind, f"{item.where}:{number}", "the image's size is not known"
                )

    def _read_rows(self, item: Item, rows: bytes, losses: Losses) -> None:
        try:
            text = rows.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            losses.tell("BAD_FILE", item.key, item.where, message=f"the file is not text: {error.reason}")
            return
        assert item.width is not None and item.height is not None
        width, height = float(item.width), float(item.height)
        labels, add = self._labels, item.annotations.append
        is_boxes = self.task in ("detect", "segment")
        number = 0
        is_plain = True
        for line in text.splitlines():
            number += 1
            parts = line.split()
            if len(parts) == 5 and is_boxes and (label := labels.get(parts[0])) is not None:
                try:
                    w, h = float(parts[3]) * width, float(parts[4]) * height
                    box = float(parts[1]) * width - w / 2, float(parts[2]) * height - h / 2, w, h
                except ValueError:
                    pass  # it is told below
                else:
                    add(Annotation(label, box))
                    continue
            if parts:
                is_plain = False
                self._read_row(item, parts, number, losses)
        item.is_plain = is_plain and bool(item.annotations)

    def _read_row(self, item: Item, parts: list[str], number: int, losses: Losses) -> None:
        """Read a row that is no plain box."""
        where = f"{item.where}:{number}"
        kind = "box" if len(parts) in (5, 6) and self.task == "segment" else _USUAL_KIND[self.task]
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            losses.unreadable(
                "BAD_ROW", item.key, kind, where, "an entry is not a number", before=" ".join(parts)
            )
            return
        # Coordinates that are not finite are found by the check that follows for every format.
        label = self._labels.get(str(int(numbers[0]))) if numbers[0].is_integer() else None
        if label is None:
            losses.unreadable(
                "UNKNOWN_CLASS", item.key, kind, where, "there is no class of this number", before=parts[0]
            )
            return
        annotation = self._annotation(label, numbers[1:], item)
        if annotation is None:
            message = f"{len(parts)} numbers are no row of the task {self.task}"
            losses.unreadable("BAD_ROW", item.key, kind, where, message, before=" ".join(parts))
            return
        item.annotations.append(annotation)

    def _annotation(self, label: int, values: list[float], item: Item) -> Annotation | None:
        """Return what the numbers after the class mean, None where there are too few or too many."""
        width, height = float(item.width or 0), float(item.height or 0)
        score = None
        if self.task == "pose":
            assert self.layout.keypoints is not None
            count, values_each = self.layout.keypoints
            wanted = 4 + count * values_each
            if len(values) not in (wanted, wanted + 1):
                return None
            score = values[wanted] if len(values) > wanted else None
            points: list[float] = []
            for at in range(4, wanted, values_each):
                seen = values[at + 2] if values_each == 3 else 2.0
                if values_each == 2 and values[at] == 0 and values[at + 1] == 0:
                    seen = 0.0
                points += [values[at] * width, values[at + 1] * height, seen]
            return Annotation(label, _box(values, width, height), points=points, score=score)
        if len(values) in (4, 5):
            if self.task == "obb":
                return None
            return Annotation(
                label, _box(values, width, height), score=values[4] if len(values) == 5 else None
            )
        if len(values) % 2 == 1:
            score = values.pop()
        if len(values) < 6 or (self.task == "obb" and len(values) != 8):
            return None
        ring = [value * (height if at % 2 else width) for at, value in enumerate(values)]
        if self.task == "obb" and all(map(math.isfinite, ring)):
            turned = box_of_corners(ring, _CORNER_SLACK * max(width, height))
            if turned is not None:
                box, angle = turned
                return Annotation(label, box, angle=angle, score=score)
        return Annotation(label, shape=Polygon([ring]), score=score)


def _box(values: list[float], width: float, height: float) -> tuple[float, float, float, float]:
    w, h = values[2] * width, values[3] * height
    return values[0] * width - w / 2, values[1] * height - h / 2, w, h


def _task_of(source: Source, layout: Layout, asked: str) -> str:
    """Return what the rows are about, from the description and from a sample of the rows.

    asked: settles what else can be read in several ways. Raises AmbiguousDataset where that remains open.
    """
    stated = str(layout.info.get("task"))
    if layout.keypoints is not None:
        return "pose"
    if stated in _TASKS and stated != "pose":
        return stated
    rows = _sample(source, layout)
    long = {len(row): where for row, where in rows if len(row) > 6}
    if not long:
        return "detect"
    if len(long) > 1:
        return "segment"  # polygons have different lengths; all other rows have one
    [(length, where)] = long.items()
    others = [row for row, _ in rows if len(row) == length]
    candidates = ["obb"] if length in (9, 10) else []
    if _may_be_points(others):
        candidates.append("pose")
    if not candidates or asked == "segment":
        return "segment"
    if asked == "obb" in candidates:
        return "obb"
    meanings = {"obb": "the corners of turned boxes", "pose": "a box with key points"}
    hints = {
        "obb": "task='obb' for turned boxes",
        "pose": "kpt_shape: [points, 2 or 3] in data.yaml for key points",
    }
    raise AmbiguousDataset(
        f"Every long row has {length} numbers (see {where}): "
        f"{', '.join(meanings[task] for task in candidates)}, or polygons of {(length - 1) // 2} points.",
        {"where": where, "tasks": [*candidates, "segment"]},
        hint=f"Say which: {', '.join(hints[task] for task in candidates)}, or task='segment' for polygons.",
    )


def _sample(source: Source, layout: Layout) -> list[tuple[list[float], str]]:
    """Return rows of some label files as numbers, each with its file and line."""
    found: list[tuple[list[float], str]] = []
    for image in layout.images[:: max(1, len(layout.images) // _SAMPLE_FILES)]:
        for number, row in enumerate(_rows_of(source, image)[:100], 1):
            try:
                found.append(([float(part) for part in row.split()], f"{image.label}:{number}"))
            except ValueError:
                continue  # told where it is read
    return found


def _rows_of(source: Source, image: Image) -> list[bytes]:
    """Return the rows of an image's label file, none where there is none or it cannot be read."""
    try:
        return source.read(image.label).removeprefix(BOM_UTF8).splitlines()
    except (NotFound, InvalidDataset):
        return []


def _may_be_points(rows: list[list[float]]) -> bool:
    """Return True where rows of one length can be boxes with key points: (x, y, v) with v 0, 1 or 2, or
    (x, y) within their boxes.
    """
    count = len(rows[0]) - 5
    if count % 3 == 0 and all(value in (0, 1, 2) for row in rows for value in row[7::3]):
        return True
    return count % 2 == 0 and all(map(_is_box_around, rows))


def _is_box_around(row: list[float]) -> bool:
    x, y, width, height = row[1:5]
    reach_x, reach_y = width / 2 + _POINT_SLACK, height / 2 + _POINT_SLACK
    return all(
        (px <= 0 and py <= 0) or (abs(px - x) <= reach_x and abs(py - y) <= reach_y)
        for px, py in zip(row[5::2], row[6::2], strict=True)
    )


def _unnamed(source: Source, layout: Layout) -> dict[int, str]:
    """Return names for the classes of a dataset that names none: class_0 up to the highest that is used."""
    highest = -1
    for image in layout.images:
        for row in _rows_of(source, image):
            try:
                number = float((row.split(maxsplit=1) or [b""])[0])
            except ValueError:
                continue  # told where it is read
            if number.is_integer() and number < _MOST_CLASSES:
                highest = max(highest, int(number))
    return {number: f"class_{number}" for number in range(highest + 1)}


def _takes_shapes(options: ConvertOptions) -> bool:
    return options.task != "detect"


FORMATS = {
    "yolo": Format(
        "yolo",
        "YOLO text labels (ultralytics, darknet)",
        frozenset({"box", "rotated_box", "polygon", "mask", "keypoints"}),
        detect,
        read,
        write,
        is_by_stem=True,
        clips=True,
        takes_shapes=_takes_shapes,
        note="one task a dataset: detect, segment, pose or obb; task=classify writes an image folder",
    )
}
