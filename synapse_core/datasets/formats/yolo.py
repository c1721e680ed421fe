"""YOLO text labels: boxes, polygons, key points and turned boxes, in numbers relative to the image.

Rows are `class cx cy w h` (detect), `class x1 y1 x2 y2 …` (segment), `class cx cy w h px py [v] …` (pose) and
`class x1 y1 … x4 y4` (obb), with a score at the end in predictions. Relative to the image as it is shown,
which is turned by its EXIF mark. Source: ultralytics 8.4, `verify_image_label`, which also says what a
trainer refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.yolo_layout import (
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
_KINDS: dict[str, frozenset[Kind]] = {
    "detect": frozenset({"box"}),
    "segment": frozenset({"polygon", "box"}),
    "pose": frozenset({"keypoints"}),
    "obb": frozenset({"rotated_box", "polygon"}),
}


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
        told = Losses(0, 0)
        self.layout = read_layout(source, told)
        asked = options.task if options.task in _KINDS else None
        self.task = asked or _task_of(source, self.layout)
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
        self.header = Header("yolo", classes, _KINDS[self.task], self.layout.splits, self.layout.info)
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
            try:
                rows = source.read(image.label)
            except NotFound:
                rows = b""  # no label file is one way to say that there is nothing
            except InvalidDataset as error:
                losses.tell("BAD_FILE", image.key, image.label, message=error.message)
                rows = b""
            item = Item(image.key, None, None, [], image.split, image.path, image.label)
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
        kind = next(iter(sorted(_KINDS[self.task])))
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
        for line in text.split("\n"):
            number += 1
            parts = line.split()
            if len(parts) == 5 and is_boxes and (label := labels.get(parts[0])) is not None:
                try:
                    w, h = float(parts[3]) * width, float(parts[4]) * height
                    box = float(parts[1]) * width - w / 2, float(parts[2]) * height - h / 2, w, h
                except ValueError:
                    pass
                else:
                    add(Annotation(label, box))
                    continue
            if parts:
                self._read_row(item, parts, number, losses)

    def _read_row(self, item: Item, parts: list[str], number: int, losses: Losses) -> None:
        """Read a row that is no plain box."""
        where = f"{item.where}:{number}"
        kind: Kind = "box" if len(parts) in (5, 6) else sorted(_KINDS[self.task])[-1]
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            losses.unreadable(
                "BAD_ROW", item.key, kind, where, "an entry is not a number", before=" ".join(parts)
            )
            return
        # What is not a number, or has no end, is found by the check that follows for every format.
        label = self._labels.get(str(int(numbers[0]))) if math.isfinite(numbers[0]) else None
        if label is None or numbers[0] != int(numbers[0]):
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
        if self.task == "detect":
            return None
        ring = [value * (height if at % 2 else width) for at, value in enumerate(values)]
        if (
            self.task == "obb"
            and (turned := box_of_corners(ring, 0.01 * math.hypot(width, height))) is not None
        ):
            box, angle = turned
            if angle:
                return Annotation(label, box, angle=angle, score=score)
            return Annotation(label, box, score=score)
        return Annotation(label, shape=Polygon([ring]), score=score)


def _box(values: list[float], width: float, height: float) -> tuple[float, float, float, float]:
    w, h = values[2] * width, values[3] * height
    return values[0] * width - w / 2, values[1] * height - h / 2, w, h


def _task_of(source: Source, layout: Layout) -> str:
    """Return what the rows are about, from the description and from a sample of the rows.

    Raises AmbiguousDataset where they can be read in several ways.
    """
    if layout.keypoints is not None:
        return "pose"
    lengths: dict[int, str] = {}
    for image in layout.images[:: max(1, len(layout.images) // _SAMPLE_FILES)]:
        try:
            rows = source.read(image.label).splitlines()
        except (NotFound, InvalidDataset):
            continue
        for number, row in enumerate(rows[:100], 1):
            if count := len(row.split()):
                lengths.setdefault(count, f"{image.label}:{number}")
    long = [count for count in lengths if count > 6]
    if not long:
        return "detect"
    if long == [9] and len(lengths) == 1:
        raise AmbiguousDataset(
            f"Every row has 9 numbers (see {lengths[9]}): corners of turned boxes, or polygons of four "
            "points.",
            {"where": lengths[9]},
            hint="Say which: task='obb' or task='segment'.",
        )
    # Rows of polygons have different lengths; rows of key points all have the same one.
    same = len(lengths) == 1 and (long[0] - 5) % 3 in (0, 2) and long[0] > 9
    if same and ((long[0] - 5) % 3 == 0 or (long[0] - 5) % 2 == 0):
        raise AmbiguousDataset(
            f"Every row has {long[0]} numbers (see {lengths[long[0]]}): key points, or polygons of "
            f"{(long[0] - 1) // 2} points.",
            {"where": lengths[long[0]]},
            hint="Add kpt_shape: [points, 2 or 3] to data.yaml for key points, or say task='segment'.",
        )
    return "segment"


def _unnamed(source: Source, layout: Layout) -> dict[int, str]:
    """Return names for the classes of a dataset that names none: class_0 up to the highest that is used."""
    highest = -1
    for image in layout.images:
        try:
            rows = source.read(image.label).splitlines()
        except (NotFound, InvalidDataset):
            continue
        for row in rows:
            first = row.split(maxsplit=1)[:1]
            if first and first[0].isdigit() and len(first[0]) < 6:
                highest = max(highest, int(first[0]))
    return {number: f"class_{number}" for number in range(highest + 1)}


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
        note="one task a dataset: detect, segment, pose or obb; task=classify writes an image folder",
    )
}
