"""Writes YOLO labels that ultralytics takes: one task a dataset, every number within the image, no class
beyond the names, and no mixture of boxes and polygons.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import ClassVar

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.upright import TO_BOX, box_around
from synapse_core.datasets.formats.yolo_numbers import (
    ROUNDING,
    box_numbers,
    excess,
    fits,
    label_of,
    mirrored,
    ring_numbers,
)
from synapse_core.datasets.model import Annotation, Box, Item, Kind, Mask, Polygon, Unread, kind_of
from synapse_core.datasets.report import ItemLosses, Losses
from synapse_core.datasets.shapes import box_corners, box_ring, clip_box, clip_ring
from synapse_core.errors import InvalidRequest

_TOO_SMALL = "less than the sixth digit of a side"
# What leaves the image by less is no loss; see checking.py.
_CLIP_SLACK = 1e-3


def write(setup: WriterSetup) -> Writer:
    """Return the writer for the task that was asked for, or for the most that is in the source."""
    task = setup.options.task
    if task == "classify":
        # only where it was asked for
        from synapse_core.datasets.formats.imagefolder import write as write_folders

        return write_folders(setup)
    return YoloWriter(setup, _task_for(setup) if task == "auto" else task)


def _task_for(setup: WriterSetup) -> str:
    kinds, stated = setup.header.kinds, setup.header.info.get("task")
    if setup.header.format == "yolo" and stated in YoloWriter.numbers_of and stated != "pose":
        return str(stated)
    if "keypoints" in kinds and any(entry.keypoints for entry in setup.header.classes):
        return "pose"
    if kinds & {"polygon", "mask"}:
        return "segment"
    return "obb" if "rotated_box" in kinds else "detect"


class YoloWriter:
    """images/<split>/…, labels/<split>/… and data.yaml."""

    def __init__(self, setup: WriterSetup, task: str) -> None:
        self.target = setup.target
        self._source = setup.source
        self._header = setup.header
        self._task = task
        self._images = setup.options.images
        self._keeps_crowds = setup.options.crowds == "keep"
        self._tolerance = setup.options.mask_tolerance_pixels
        self._splits = dict.fromkeys(setup.header.splits, "")
        self._points = max((len(entry.keypoints) for entry in setup.header.classes), default=0)
        if task == "pose" and not self._points:
            raise InvalidRequest(
                "task='pose' needs classes with key points, and this dataset's have none.",
                hint="Leave task out, or choose detect or segment.",
            )

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        split = item.split or "train"
        self._splits[split] = ""
        if item.media != "image":
            self._leave_out(item, losses, "NOT_SUPPORTED")
            return
        if not item.width or not item.height:
            self._leave_out(item, losses, "IMAGE_MISSING")
        else:
            rows = self._rows(item, float(item.width), float(item.height), losses)
            self.target.write(label_of(split, name), "".join(rows).encode())
        if self._images != "none" and item.image is not None:
            self.target.place(
                self._source, item.image, f"images/{split}/{name}", is_linked=self._images == "link"
            )

    def cut(self) -> Piece:
        return Piece({split: [] for split in self._splits})

    def merge(self, piece: Piece) -> None:
        self._splits |= dict.fromkeys(piece.rows, "")

    def finish(self) -> str:
        # JSON's texts are YAML's, whatever is in them.
        names = [json.dumps(entry.name) for entry in self._header.classes]
        lines = ["path: .", *self._split_lines(), f"task: {self._task}", f"nc: {len(names)}"]
        lines.append("names:" if names else "names: {}")
        lines += [f"  {index}: {name}" for index, name in enumerate(names)]
        if self._task == "pose":
            lines += self._point_lines()
        self.target.write("data.yaml", ("\n".join(lines) + "\n").encode())
        return "data.yaml"

    def _split_lines(self) -> list[str]:
        usual = {"valid": "val", "validation": "val"}
        folders: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for split in sorted(self._splits):
            folders.setdefault(usual.get(split, split), []).append(f"images/{split}")
        if not any(folders.values()):
            folders["train"] = ["images/train"]
        lines = [
            f"{_plain_text(split)}: " + (json.dumps(places) if len(places) > 1 else _plain_text(places[0]))
            for split, places in folders.items()
            if places
        ]
        if not folders["val"]:
            lines.append("# There is no val in the source; splits=hash makes one.")
        return lines

    def _point_lines(self) -> list[str]:
        classes, count = self._header.classes, self._points
        names = next(entry.keypoints for entry in classes if len(entry.keypoints) == count)
        stated = self._header.info.get("flip_idx") if self._header.format == "yolo" else None
        is_right = isinstance(stated, list) and sorted(map(str, stated)) == sorted(map(str, range(count)))
        lines = [f"kpt_shape: [{count}, 3]", f"flip_idx: {stated if is_right else mirrored(names)}"]
        lines.append("kpt_names:")
        return lines + [
            f"  {index}: {json.dumps(list(entry.keypoints) or list(names))}"
            for index, entry in enumerate(classes)
        ]

    def _rows(self, item: Item, width: float, height: float, losses: Losses) -> list[str]:
        """Return the rows of one label file, and tell what became of each annotation."""
        error = ROUNDING * max(width, height) * (1.5 if self._task in ("detect", "pose") else 1.0)
        if item.annotations:
            losses.largest_error_pixels = max(losses.largest_error_pixels, error)
        after = losses.after
        if (item.is_plain or item.is_outlined) and self._task == "detect":
            rows = self._box_rows(item, width, height, losses)
            if rows is not None:
                return rows
        rows = []
        told = ItemLosses(item, losses)
        written: Counter[Kind] = Counter()
        unread: Counter[Kind] = Counter()
        for annotation in item.annotations:
            shape = annotation.shape
            if type(shape) is Unread and fits(annotation, width, height):
                shown = shape.kind
                if shown not in unread:
                    told.change(annotation, shown, TO_BOX[shown])
                unread[shown] += 1
                rows.append(f"{annotation.label} {box_numbers(annotation.box, width, height)}\n")  # type: ignore[arg-type]
                after[annotation.label] += 1
                continue
            kind = kind_of(annotation)
            row = self._row(annotation, kind, width, height, told)
            if row is not None:
                rows.append(row)
                after[annotation.label] += 1
                written[kind] += 1
        for kind, number in unread.items():
            told.repeat(kind, TO_BOX[kind], number - 1)
        told.close()
        for kind, number in (written + unread).items():
            losses.counts[kind, "written"] += number
        return rows

    def _box_rows(self, item: Item, width: float, height: float, losses: Losses) -> list[str] | None:
        """Return the rows of boxes that lie in their image, None where outlines beside them have to be told
        one by one.
        """
        rows: list[str] = []
        labels: list[int] = []
        least_width, least_height = width * ROUNDING, height * ROUNDING
        for annotation in item.annotations:
            label = annotation.label
            x, y, w, h = annotation.box  # type: ignore[misc]  # such an item's annotations have one
            if w < least_width or h < least_height:
                if item.is_outlined:
                    return None
                losses.leave(annotation, item, "ZERO_AREA", _TOO_SMALL)
                continue
            labels.append(label)
            rows.append(
                "%d %.6f %.6f %.6f %.6f\n"  # noqa: UP031  # a third faster than an f-string
                % (label, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
            )
        after = losses.after
        for label in labels:
            after[label] += 1
        if item.is_plain:
            losses.counts["box", "written"] += len(rows)
        elif rows:
            losses.change_all(TO_BOX["polygon"], item.key, "polygon", len(rows), item.where)
            losses.counts["polygon", "written"] += len(rows)
        return rows

    def _row(self, one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses) -> str | None:
        """Return the row of an annotation, None where it was told to be left out."""
        if kind in ("tag", "caption", "group", "relation", "other"):
            told.leave(one, "NOT_SUPPORTED")
            return None
        if one.label < 0:
            told.leave(one, "LABEL_MISSING")
            return None
        if one.is_crowd:
            if not self._keeps_crowds:
                told.leave(one, "CROWD_DROPPED")
                return None
            told.change(one, kind, "CROWD_MARK_DROPPED")
        numbers = self.numbers_of[self._task](self, one, kind, width, height, told)
        if numbers is None:
            return None
        if one.attributes:
            told.change(one, kind, "ATTRIBUTES_DROPPED", ", ".join(map(str, one.attributes)), one.attributes)
        if one.extra:
            told.change(one, kind, "ATTRIBUTES_DROPPED", ", ".join(one.extra))
        if one.group is not None:
            told.change(one, kind, "ATTRIBUTES_DROPPED", "group", one.group)
        if one.score is not None:
            told.change(one, kind, "SCORE_DROPPED", before=one.score)
        return f"{one.label} {numbers}\n"

    def _detect(
        self, one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses
    ) -> str | None:
        box = _fitting_box(one, kind, width, height, told)
        if box is None:
            return None
        if kind in TO_BOX:
            told.change(one, kind, TO_BOX[kind])
        return box_numbers(box, width, height)

    def _segment(
        self, one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses
    ) -> str | None:
        if kind == "keypoints":
            if not isinstance(one.shape, Polygon | Mask):
                told.leave(one, "NOT_SUPPORTED", "key points among polygons")
                return None
            told.change(one, kind, "POINTS_DROPPED")
        ring = self._ring(one, kind, told)
        if ring is None:
            told.leave(one, "NOT_SUPPORTED" if kind == "polyline" else "ZERO_AREA")
            return None
        if (over := excess(ring, width, height)) > 0:
            inner = clip_ring(ring, width, height)
            if not inner:
                told.leave(one, "OUTSIDE_IMAGE")
                return None
            _tell_clipped(one, kind, over, told)
            ring = inner
        return ring_numbers(ring, width, height)

    def _obb(self, one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses) -> str | None:
        corners = self._corners(one, kind, told)
        if corners is None:
            told.leave(one, "NOT_SUPPORTED")
            return None
        if (over := excess(corners, width, height)) > 0:
            _tell_clipped(one, kind, over, told)
        return ring_numbers(corners, width, height)

    def _pose(self, one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses) -> str | None:
        if one.points is None:
            told.leave(one, "NOT_SUPPORTED", "an annotation without key points among those with")
            return None
        box = _fitting_box(one, kind, width, height, told)
        if box is None:
            return None
        if one.shape is not None:
            shown = kind_of(Annotation(0, shape=one.shape))
            told.change(one, kind, TO_BOX.get(shown, "ATTRIBUTES_DROPPED"), f"its {shown}")
        points = self._point_numbers(one, width, height, told)
        return f"{box_numbers(box, width, height)} {points}"

    # task -> what makes the numbers of a row
    numbers_of: ClassVar = {"detect": _detect, "segment": _segment, "obb": _obb, "pose": _pose}

    def _point_numbers(self, one: Annotation, width: float, height: float, told: ItemLosses) -> str:
        points = one.points or []
        numbers: list[str] = []
        for at in range(0, min(len(points), 3 * self._points), 3):
            x, y, seen = points[at : at + 3]
            if seen <= 0:
                numbers.append("0.000000 0.000000 0")
                continue
            if not (0 <= x <= width and 0 <= y <= height):
                told.change(one, "keypoints", "CLIPPED", "a key point lies outside the image", [x, y])
            if seen not in (1, 2):
                told.change(one, "keypoints", "KEYPOINT_PROFILE", "visible is 1 or 2", seen)
            numbers.append(f"{ring_numbers([x, y], width, height)} {1 if seen == 1 else 2}")
        missing = self._points - len(points) // 3
        if missing > 0:
            told.change(one, "keypoints", "KEYPOINT_PROFILE", f"{missing} points were added as not labelled")
            numbers += ["0.000000 0.000000 0"] * missing
        elif missing < 0:
            told.change(one, "keypoints", "KEYPOINT_PROFILE", f"{-missing} points beyond the list left out")
        return " ".join(numbers)

    def _ring(self, one: Annotation, kind: Kind, told: ItemLosses) -> list[float] | None:
        """Return the one ring that stands for an annotation, None where there is none."""
        shape = one.shape
        if isinstance(shape, Mask):
            from synapse_core.datasets.mask_shapes import mask_polygon  # numpy: 80 ms

            shape = mask_polygon(shape, self._tolerance)
            told.change(one, kind, "MASK_TO_POLYGON")
        if isinstance(shape, Polygon):
            cut = len(shape.rings) - shape.holes
            outer = [ring for ring in shape.rings[:cut] if len(ring) >= 6]
            holes = [ring for ring in shape.rings[cut:] if len(ring) >= 6]
            if not outer:
                return None
            if len(outer) == 1 and not holes:
                return outer[0]
            from synapse_core.datasets.masks import join_rings  # numpy: 80 ms

            joined = join_rings(outer, holes)
            if joined:
                code = "HOLE_BRIDGED" if holes else "PARTS_JOINED"
                told.change(one, kind, code, f"{len(outer) + len(holes)} rings")
            return joined or None
        if kind in ("box", "rotated_box") and one.box is not None:
            told.change(one, kind, "BOX_TO_POLYGON")
            return box_corners(one.box, one.angle) if one.angle else box_ring(one.box)
        return None

    def _corners(self, one: Annotation, kind: Kind, told: ItemLosses) -> list[float] | None:
        """Return the four corners that stand for an annotation, None where it has none."""
        if one.box is not None and kind in ("box", "rotated_box"):
            return box_corners(one.box, one.angle) if one.angle else box_ring(one.box)
        if isinstance(one.shape, Polygon) and len(one.shape.rings) == 1 and len(one.shape.rings[0]) == 8:
            return one.shape.rings[0]
        box = box_around(one)
        if box is None:
            return None
        told.change(one, kind, TO_BOX[kind])
        return box_ring(box)

    def _leave_out(self, item: Item, losses: Losses, code: str) -> None:
        """Leave out all annotations of an item that has no place here."""
        told = ItemLosses(item, losses)
        for one in item.annotations:
            told.leave(one, code, item.media)


def _fitting_box(one: Annotation, kind: Kind, width: float, height: float, told: ItemLosses) -> Box | None:
    """Return the part of an annotation's upright box that lies in the image; None where none does, which is
    told.
    """
    box = box_around(one)
    if box is None:
        told.leave(one, "ZERO_AREA")
        return None
    over = max(-box[0], -box[1], box[0] + box[2] - width, box[1] + box[3] - height)
    if over > 0:
        inner = clip_box(box, width, height)
        if inner is None:
            told.leave(one, "OUTSIDE_IMAGE")
            return None
        _tell_clipped(one, kind, over, told)
        box = inner
    if box[2] < width * ROUNDING or box[3] < height * ROUNDING:
        told.leave(one, "ZERO_AREA", _TOO_SMALL)
        return None
    return box


def _tell_clipped(one: Annotation, kind: Kind, over: float, told: ItemLosses) -> None:
    if over > _CLIP_SLACK:
        told.change(one, kind, "CLIPPED", f"by {over:g} pixels")
    else:
        told.snap(over)


def _plain_text(text: str) -> str:
    return text if text.replace("/", "").isalnum() else json.dumps(text)
