"""What is true of every annotation before any format writes it: finite, with an area, and in the image, or
told otherwise. Here all that was read is counted as seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from synapse_core.datasets.model import Annotation, Item, Kind, Mask, Polygon, Polyline, Unread, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.rle import (
    InvalidMask,
    check_counts,
    row_indices_to_counts,
    row_runs_to_counts,
    text_to_counts,
)
from synapse_core.datasets.shapes import Extent, clip_box, clip_ring, extent_of, labelled, tight_box

# By how much a shape may leave the image before that is told: less than any format's last digit is worth.
_SLACK = 1e-3
# No image is as wide, nor has so many pixels; see masks.py.
_MOST_PIXELS = 1e7
_MOST_AREA = 1 << 29
# encoding of a mask -> what reads it; what it returns is thrown away.
_TO_COUNTS: dict[str, Callable[[Any, int, int], list[int]]] = {
    "compressed": text_to_counts,
    "row_runs": row_runs_to_counts,
    "row_indices": row_indices_to_counts,
}


class Checker:
    """Checks the annotations of one part of a conversion."""

    def __init__(self, options: ConvertOptions, *, target_clips: bool) -> None:
        """target_clips: readers of the target refuse what leaves the image."""
        self._drops = options.bounds == "drop"
        self._clips = not self._drops and (target_clips or options.bounds == "clip")

    def check(self, item: Item, losses: Losses) -> None:
        """Count an item's annotations as seen, and leave those in it that can be written."""
        width = item.width if item.width is not None else math.inf
        height = item.height if item.height is not None else math.inf
        if (item.is_plain or item.is_outlined) and self._are_inside(item, width, height, losses):
            return
        before = losses.before
        plain = 0
        is_bare = True
        doubtful: list[Annotation] = []
        for annotation in item.annotations:
            label, box = annotation.label, annotation.box
            if label >= 0:
                before[label] += 1
            shape = annotation.shape
            if (
                box is not None
                and (shape is None or isinstance(shape, Unread))
                and annotation.points is None
                and not annotation.angle
            ):
                if shape is None:
                    plain += 1
                else:
                    is_bare = False
                    losses.counts[shape.kind, "seen"] += 1
                x, y, w, h = box
                # False for what is not a number too.
                if not (x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height):
                    doubtful.append(annotation)
                if (
                    label < 0
                    or annotation.attributes is not None
                    or annotation.score is not None
                    or annotation.is_crowd
                    or annotation.extra is not None
                    or annotation.group is not None
                ):
                    is_bare = False
            else:
                losses.counts[kind_of(annotation), "seen"] += 1
                doubtful.append(annotation)
        if plain:
            losses.counts["box", "seen"] += plain
        if doubtful:
            gone = {id(one) for one in doubtful if not self._keep(one, item, width, height, losses)}
            if gone:
                item.annotations = [one for one in item.annotations if id(one) not in gone]
        item.is_plain = is_bare and plain > 0 and len(doubtful) == 0
        item.is_outlined = False

    def _are_inside(self, item: Item, width: float, height: float, losses: Losses) -> bool:
        """Return True, and count them, where an item's boxes all have an area and lie in the image."""
        annotations = item.annotations
        for annotation in annotations:
            x, y, w, h = annotation.box  # type: ignore[misc]  # is_plain says that it has one
            # False for what is not a number too.
            if not (x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height):
                return False
        before = losses.before
        for annotation in annotations:
            before[annotation.label] += 1
        losses.counts["polygon" if item.is_outlined else "box", "seen"] += len(annotations)
        return True

    def _keep(self, one: Annotation, item: Item, width: float, height: float, losses: Losses) -> bool:
        """Return True where an annotation can be written, clipped perhaps."""
        if isinstance(one.shape, Polygon) and _is_ring_inside(one, one.shape, width, height):
            return True
        kind = kind_of(one)
        numbers = _numbers(one)
        # A sum is finite only if all are; which of two is the greater says nothing about what is no number.
        if not math.isfinite(sum(numbers)):
            losses.lose("NOT_FINITE", item.key, kind, "failed", annotation=one.id, where=item.where)
            return False
        if max(numbers) > _MOST_PIXELS or min(numbers) < -_MOST_PIXELS:
            message = "a coordinate of more than ten million pixels"
            losses.lose(
                "BAD_ROW", item.key, kind, "failed", annotation=one.id, where=item.where, message=message
            )
            return False
        if (problem := _broken(one)) is not None:
            losses.lose(
                "BAD_ROW", item.key, kind, "failed", annotation=one.id, where=item.where, message=problem
            )
            return False
        if (wrong := _without_area(one, kind)) is not None:
            losses.lose(
                wrong, item.key, kind, "failed", annotation=one.id, where=item.where, before=numbers[1:9]
            )
            return False
        if (self._clips or self._drops) and width < math.inf:
            return self._bring_inside(one, kind, item, width, height, losses)
        return True

    def _bring_inside(
        self, one: Annotation, kind: Kind, item: Item, width: float, height: float, losses: Losses
    ) -> bool:
        """Return True where it lies in the image, or was cut so that it does."""
        extent = _box_extent(one) if kind == "keypoints" else extent_of(one)
        if extent is None or isinstance(one.shape, Mask):
            return True
        left, top, right, bottom = extent
        over = max(-left, -top, right - width, bottom - height)
        if over <= 0:
            return True
        is_outside = right <= 0 or bottom <= 0 or left >= width or top >= height
        if over > _SLACK and (self._drops or is_outside):
            losses.lose(
                "OUTSIDE_IMAGE",
                item.key,
                kind,
                "skipped",
                annotation=one.id,
                where=item.where,
                before=extent,
                message=f"the image is {width:g} x {height:g} pixels",
            )
            return False
        if kind == "rotated_box":
            return True  # cut by its writer: what is left of it may be no box
        if not _clip(one, width, height):
            losses.lose(
                "ZERO_AREA", item.key, kind, "failed", annotation=one.id, where=item.where, before=extent
            )
            return False
        if over > _SLACK:
            losses.lose(
                "CLIPPED",
                item.key,
                kind,
                "written",
                count=False,
                annotation=one.id,
                where=item.where,
                before=extent,
                message=f"by {over:g} pixels",
            )
        else:
            losses.largest_snap_pixels = max(losses.largest_snap_pixels, over)
        return True


def _is_ring_inside(one: Annotation, shape: Polygon, width: float, height: float) -> bool:
    """Return True for a polygon of one ring, beside a box perhaps, of which everything is as it should be.

    Most polygons are so, and this takes a quarter of the time of looking for what may be wrong.
    """
    if len(shape.rings) != 1 or shape.holes or one.points is not None or one.angle or width > _MOST_PIXELS:
        return False
    ring = shape.rings[0]
    if len(ring) < 6 or len(ring) % 2:
        return False
    # Only what is finite adds up to something finite; which of two is the greater says nothing before.
    if not math.isfinite(sum(ring)) or min(ring) < 0 or height > _MOST_PIXELS:
        return False
    if max(ring[::2]) > width or max(ring[1::2]) > height:
        return False
    box = one.box
    return box is None or (math.isfinite(sum(box)) and max(box) <= _MOST_PIXELS and min(box) >= -_MOST_PIXELS)


def _numbers(one: Annotation) -> list[float]:
    """Return every coordinate of an annotation, its angle first."""
    found = [one.angle, *(one.box or ()), *(one.points or ())]
    if isinstance(one.shape, Polygon):
        for ring in one.shape.rings:
            found += ring
    elif isinstance(one.shape, Polyline):
        found += one.shape.points
    return found


def _box_extent(one: Annotation) -> Extent | None:
    """Return what the box of key points covers; what the points do where it is not stated."""
    box = tight_box(one)
    return None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])


def _broken(one: Annotation) -> str | None:
    """Return what is wrong with the numbers of an annotation, None where nothing is."""
    if one.points is not None and len(one.points) % 3:
        return "key points come in threes"
    shape = one.shape
    if isinstance(shape, Polygon):
        if any(len(ring) % 2 for ring in shape.rings):
            return "a ring has an odd number of coordinates"
        extent = extent_of(one) if len(shape.rings) > 1 else None
        if extent is not None and (extent[2] - extent[0]) * (extent[3] - extent[1]) > _MOST_AREA:
            return "its parts lie further apart than any image is wide"
    if isinstance(shape, Polyline) and len(shape.points) % 2:
        return "a line has an odd number of coordinates"
    if isinstance(shape, Mask):
        try:
            if shape.encoding == "counts":
                check_counts(shape.data, shape.height, shape.width)
            elif shape.encoding in _TO_COUNTS:
                _TO_COUNTS[shape.encoding](shape.data, shape.height, shape.width)
        except InvalidMask as error:
            return str(error)
    return None


def _without_area(one: Annotation, kind: Kind) -> str | None:
    """Return the code of what is wrong with an annotation that covers nothing."""
    box = one.box
    if kind in ("box", "rotated_box") and box is not None and (box[2] <= 0 or box[3] <= 0):
        return "BAD_ROW" if box[2] < 0 or box[3] < 0 else "ZERO_AREA"
    shape = one.shape
    if isinstance(shape, Polygon):
        outer = shape.rings[: len(shape.rings) - shape.holes]
        if all(len(ring) < 6 for ring in outer):
            return "ZERO_AREA"
    if kind == "keypoints" and box is None and not labelled(one.points or ()):
        return "ZERO_AREA"
    return None


def _clip(one: Annotation, width: float, height: float) -> bool:
    """Cut what an annotation shows to the image. Returns False where nothing is left."""
    shape = one.shape
    if isinstance(shape, Polygon):
        outer = len(shape.rings) - shape.holes
        clipped = [clip_ring(ring, width, height) for ring in shape.rings]
        rings = [ring for ring in clipped[:outer] if ring]
        holes = [ring for ring in clipped[outer:] if ring]
        if not rings:
            return False
        one.shape = Polygon(rings + holes, len(holes))
        one.area = None
    elif isinstance(shape, Polyline):
        points = shape.points
        one.shape = Polyline(
            [min(max(number, 0.0), height if at % 2 else width) for at, number in enumerate(points)]
        )
    if one.box is not None:
        one.box = clip_box(one.box, width, height)
        if one.box is None and one.shape is None:
            return False
    return tight_box(one) is not None
