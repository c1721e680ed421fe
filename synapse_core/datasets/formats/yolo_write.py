"""Writes YOLO labels that ultralytics takes: one task a dataset, every number within the image, no class beyond
the names, and no mixture of boxes and polygons.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.model import Annotation, Item, Kind, Mask, Polygon, kind_of
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shapes import box_corners, box_ring, tight_box
from synapse_core.errors import InvalidRequest

_TO_BOX = {
    "rotated_box": "ROTATION_DROPPED",
    "polygon": "POLYGON_TO_BOX",
    "mask": "MASK_TO_BOX",
    "polyline": "LINE_TO_BOX",
    "keypoints": "POINTS_TO_BOX",
}
# Half of the last of six digits.
_ROUNDING = 0.5e-6


def write(setup: WriterSetup) -> Writer:
    """Return the writer for the task that was asked for, or for the most that is in the source."""
    task = setup.options.task
    if task == "classify":
        from synapse_core.datasets.formats.imagefolder import write as write_folders

        return write_folders(setup)
    if task == "auto":
        task = _task_for(setup)
    return YoloWriter(setup, task)


def _task_for(setup: WriterSetup) -> str:
    kinds = setup.header.kinds
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
        self._points = max((len(entry.keypoints) for entry in setup.header.classes), default=0)
        if task == "pose" and not self._points:
            raise InvalidRequest(
                "task='pose' needs classes with key points, and this dataset's have none.",
                hint="Leave task out, or choose detect or segment.",
            )

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        split = item.split or "train"
        if item.media != "image":
            self._leave_out(item, losses, "NOT_SUPPORTED")
            return
        if not item.width or not item.height:
            self._leave_out(item, losses, "IMAGE_MISSING")
        else:
            rows = self._rows(item, float(item.width), float(item.height), losses)
            label = f"labels/{split}/{posixpath.splitext(name)[0]}.txt"
            self.target.write(label, "".join(rows).encode())
        if self._images != "none" and item.image is not None:
            self.target.place(
                self._source, item.image, f"images/{split}/{name}", is_linked=self._images == "link"
            )

    def cut(self) -> Piece:
        return Piece({})

    def merge(self, piece: Piece) -> None: ...

    def finish(self) -> str:
        lines = ["path: .", *self._split_lines(), f"nc: {len(self._header.classes)}", "names:"]
        # JSON's texts are YAML's, whatever is in them.
        lines += [f"  {index}: {json.dumps(entry.name)}" for index, entry in enumerate(self._header.classes)]
        if self._task == "pose":
            names = next(
                entry.keypoints for entry in self._header.classes if len(entry.keypoints) == self._points
            )
            lines += [f"kpt_shape: [{self._points}, 3]", f"flip_idx: {_mirrored(names)}"]
            lines += [f"kpt_names: {json.dumps([list(names)])[1:-1]}"]
        self.target.write("data.yaml", ("\n".join(lines) + "\n").encode())
        return "data.yaml"

    def _split_lines(self) -> list[str]:
        splits = {"valid": "val", "validation": "val"}
        there = {splits.get(split, split): split for split in self._header.splits}
        lines = [
            f"{split}: images/{there.get(split, split)}"
            for split in ("train", "val", "test")
            if split in there
        ]
        lines = lines or ["train: images/train"]
        if "val" not in there:
            lines.append("# There is no val in the source; splits=hash makes one.")
        others = [
            split for split in self._header.splits if splits.get(split, split) not in ("train", "val", "test")
        ]
        return lines + [f"{split}: images/{split}" for split in others]

    def _rows(self, item: Item, width: float, height: float, losses: Losses) -> list[str]:
        """Return the rows of one label file, and tell what became of each annotation."""
        error = _ROUNDING * max(width, height) * (1.5 if self._task in ("detect", "pose") else 1.0)
        if item.annotations:
            losses.largest_error_pixels = max(losses.largest_error_pixels, error)
        after = losses.after
        if item.is_plain and self._task == "detect":
            rows = []
            for annotation in item.annotations:
                label = annotation.label
                x, y, w, h = annotation.box  # type: ignore[misc]  # is_plain says that it has one
                after[label] += 1
                rows.append(
                    "%d %.6f %.6f %.6f %.6f\n"
                    % (label, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                )
            losses.counts["box", "written"] += len(rows)
            return rows
        rows = []
        written: Counter[Kind] = Counter()
        for annotation in item.annotations:
            row = self._row(annotation, item, width, height, losses)
            if row is not None:
                rows.append(row)
                after[annotation.label] += 1
                written[kind_of(annotation)] += 1
        for kind, number in written.items():
            losses.counts[kind, "written"] += number
        return rows

    def _row(self, one: Annotation, item: Item, width: float, height: float, losses: Losses) -> str | None:
        """Return the row of an annotation, None where it was told to be left out."""
        kind = kind_of(one)

        def leave(code: str, message: str = "") -> None:
            losses.lose(code, item.key, kind, "skipped", annotation=one.id, where=item.where, message=message)

        def change(code: str, message: str = "", before: object = None) -> None:
            losses.lose(
                code,
                item.key,
                kind,
                "written",
                count=False,
                annotation=one.id,
                where=item.where,
                before=before,
                message=message,
            )

        if kind in ("tag", "caption", "group", "relation", "other"):
            return leave("NOT_SUPPORTED")
        if one.label < 0:
            return leave("LABEL_MISSING")
        if one.is_crowd:
            if not self._keeps_crowds:
                return leave("CROWD_DROPPED")
            change("CROWD_MARK_DROPPED")
        if self._task == "detect":
            box = tight_box(one)
            if box is None:
                box = _mask_box(one)
            if box is None or box[2] <= 0 or box[3] <= 0:
                return leave("ZERO_AREA")
            if kind in _TO_BOX:
                change(_TO_BOX[kind])
            numbers = self._box_numbers(box, width, height)
        elif self._task == "segment":
            if kind == "keypoints" and not isinstance(one.shape, Polygon | Mask):
                return leave("NOT_SUPPORTED", "key points among polygons")
            ring = self._ring(one, kind, change)
            if ring is None:
                return leave("NOT_SUPPORTED" if kind == "polyline" else "ZERO_AREA")
            numbers = self._ring_numbers(ring, width, height)
        elif self._task == "obb":
            corners = self._corners(one, kind, change)
            if corners is None:
                return leave("NOT_SUPPORTED")
            outside = max(-min(corners), max(corners[::2]) - width, max(corners[1::2]) - height)
            if outside > 0:
                change("CLIPPED", f"by {outside:g} pixels", corners)
            numbers = self._ring_numbers(corners, width, height)
        else:
            if one.points is None:
                return leave("NOT_SUPPORTED", "an annotation without key points among those with")
            box = tight_box(one)
            if box is None or box[2] <= 0 or box[3] <= 0:
                return leave("ZERO_AREA")
            if one.shape is not None:
                change(_TO_BOX[kind_of(Annotation(0, shape=one.shape))])
            numbers = self._box_numbers(box, width, height)
            numbers += self._point_numbers(one.points, width, height, change)
        if one.attributes:
            change("ATTRIBUTES_DROPPED", ", ".join(map(str, one.attributes)), one.attributes)
        if one.score is not None:
            change("SCORE_DROPPED", before=one.score)
        return f"{one.label} {' '.join(numbers)}\n"

    def _box_numbers(self, box: tuple[float, float, float, float], width: float, height: float) -> list[str]:
        x, y, w, h = box
        left, top = max(0.0, x), max(0.0, y)
        right, bottom = min(width, x + w), min(height, y + h)
        w, h = right - left, bottom - top
        values = ((left + w / 2) / width, (top + h / 2) / height, w / width, h / height)
        return [f"{value:.6f}" for value in values]

    def _ring_numbers(self, ring: list[float], width: float, height: float) -> list[str]:
        return [
            f"{min(max(value / (height if at % 2 else width), 0.0), 1.0):.6f}"
            for at, value in enumerate(ring)
        ]

    def _point_numbers(self, points: list[float], width: float, height: float, change) -> list[str]:  # type: ignore[no-untyped-def]
        numbers: list[str] = []
        for at in range(0, len(points), 3):
            x, y, seen = points[at : at + 3]
            if seen <= 0:
                numbers += ["0.000000", "0.000000", "0"]
                continue
            if not (0 <= x <= width and 0 <= y <= height):
                change("CLIPPED", "a key point lies outside the image", [x, y])
            numbers += self._ring_numbers([min(max(x, 0.0), width), min(max(y, 0.0), height)], width, height)
            numbers.append(f"{seen:.0f}")
        missing = self._points - len(points) // 3
        if missing > 0:
            change("KEYPOINT_PROFILE", f"{missing} points were added as not labelled")
            numbers += ["0.000000", "0.000000", "0"] * missing
        return numbers

    def _ring(self, one: Annotation, kind: Kind, change) -> list[float] | None:  # type: ignore[no-untyped-def]
        """Return the one ring that stands for an annotation, None where there is none."""
        shape = one.shape
        if isinstance(shape, Mask):
            from synapse_core.datasets.mask_shapes import mask_polygon  # numpy: 80 ms

            shape = mask_polygon(shape, self._tolerance)
            change("MASK_TO_POLYGON")
        if isinstance(shape, Polygon):
            rings = [ring for ring in shape.rings if len(ring) >= 6]
            if not rings:
                return None
            if len(rings) == 1:
                return rings[0]
            from synapse_core.datasets.masks import join_rings

            change("HOLE_BRIDGED" if shape.holes else "PARTS_JOINED", f"{len(rings)} rings")
            holes = min(shape.holes, len(rings) - 1)
            return join_rings(rings[: len(rings) - holes], rings[len(rings) - holes :])
        if kind in ("box", "rotated_box") and one.box is not None:
            change("BOX_TO_POLYGON")
            return box_corners(one.box, one.angle) if one.angle else box_ring(one.box)
        return None

    def _corners(self, one: Annotation, kind: Kind, change) -> list[float] | None:  # type: ignore[no-untyped-def]
        """Return the four corners that stand for an annotation, None where it has none."""
        if one.box is not None and kind in ("box", "rotated_box"):
            return box_corners(one.box, one.angle) if one.angle else box_ring(one.box)
        if isinstance(one.shape, Polygon) and len(one.shape.rings) == 1 and len(one.shape.rings[0]) == 8:
            return one.shape.rings[0]
        box = tight_box(one) or _mask_box(one)
        if box is None or box[2] <= 0 or box[3] <= 0:
            return None
        change(_TO_BOX[kind])
        return box_ring(box)

    def _leave_out(self, item: Item, losses: Losses, code: str) -> None:
        """Leave out all annotations of an item that has no place here."""
        for one in item.annotations:
            losses.lose(
                code,
                item.key,
                kind_of(one),
                "skipped",
                annotation=one.id,
                where=item.where,
                message=item.media,
            )


def _mask_box(one: Annotation) -> tuple[float, float, float, float] | None:
    if not isinstance(one.shape, Mask):
        return None
    from synapse_core.datasets.mask_shapes import mask_box  # numpy: 80 ms

    return mask_box(one.shape)


def _mirrored(names: tuple[str, ...]) -> list[int]:
    """Return for each point the one that it becomes in a mirrored image: left and right are exchanged."""
    places = {name: index for index, name in enumerate(names)}
    mirrored = []
    for index, name in enumerate(names):
        other = name.replace("left", "\0").replace("right", "left").replace("\0", "right")
        mirrored.append(places.get(other, index))
    return mirrored if len(set(mirrored)) == len(names) else list(range(len(names)))
