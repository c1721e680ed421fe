"""Boxes, rings and points of annotations: what they cover, and what of it lies in the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from synapse_core.datasets.model import Annotation, Box, Polygon, Polyline

# Left, top, right, bottom in pixels.
Extent = tuple[float, float, float, float]


def extent_of(annotation: Annotation) -> Extent | None:
    """Return what an annotation covers; None where it has no place in the image, or is a mask without a box.

    Of a turned box, what its corners cover; of key points, those that are labelled.
    """
    shape = annotation.shape
    if isinstance(shape, Polygon):
        outer = shape.rings[: len(shape.rings) - shape.holes] or shape.rings
        return around([number for ring in outer for number in ring])
    if isinstance(shape, Polyline):
        return around(shape.points)
    box = annotation.box
    if box is not None:
        if annotation.angle:
            return around(box_corners(box, annotation.angle))
        x, y, width, height = box
        return x, y, x + width, y + height
    if annotation.points is not None:
        return around(labelled(annotation.points))
    return None


def tight_box(annotation: Annotation) -> Box | None:
    """Return the upright box that an annotation states, or the smallest one around what it covers."""
    if annotation.box is not None and not annotation.angle:
        return annotation.box
    extent = extent_of(annotation)
    return None if extent is None else (extent[0], extent[1], extent[2] - extent[0], extent[3] - extent[1])


def around(numbers: Sequence[float]) -> Extent | None:
    """Return what the points [x1, y1, x2, y2, …] cover, None where there are none."""
    if not numbers:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def labelled(points: Sequence[float]) -> list[float]:
    """Return [x1, y1, …] of those of the points [x, y, v, …] whose v is not 0."""
    return [
        number
        for at in range(0, len(points), 3)
        if points[at + 2] > 0
        for number in (points[at], points[at + 1])
    ]


def box_corners(box: Box, angle: float) -> list[float]:
    """Return the corners [x1, y1, …, x4, y4] of a box turned clockwise by `angle` radians about its centre.

    The first is what was the top left one; they go clockwise, as one sees the image.
    """
    x, y, width, height = box
    cx, cy = x + width / 2, y + height / 2
    cos, sin = math.cos(angle), math.sin(angle)
    corners: list[float] = []
    for dx, dy in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        across, down = dx * width, dy * height
        corners += [cx + across * cos - down * sin, cy + across * sin + down * cos]
    return corners


def box_of_corners(corners: Sequence[float], tolerance: float) -> tuple[Box, float] | None:
    """Return the box and the angle (-pi/2 to pi/2, clockwise) whose corners these are, in order.

    tolerance: pixels by which a corner may lie beside it. None where four corners are no rectangle.
    """
    if len(corners) != 8:
        return None
    x1, y1, x2, y2, x3, y3, x4, y4 = corners
    cx, cy = (x1 + x2 + x3 + x4) / 4, (y1 + y2 + y3 + y4) / 4
    if (x2 - x1) * (y4 - y1) - (y2 - y1) * (x4 - x1) < 0:  # drawn the other way round
        x2, y2, x4, y4 = x4, y4, x2, y2
    width = (math.hypot(x2 - x1, y2 - y1) + math.hypot(x3 - x4, y3 - y4)) / 2
    height = (math.hypot(x4 - x1, y4 - y1) + math.hypot(x3 - x2, y3 - y2)) / 2
    if width <= 0 or height <= 0:
        return None
    angle = math.atan2((y2 - y1) + (y3 - y4), (x2 - x1) + (x3 - x4))
    box = (cx - width / 2, cy - height / 2, width, height)
    there = box_corners(box, angle)
    given = (x1, y1, x2, y2, x3, y3, x4, y4)
    if max(abs(a - b) for a, b in zip(there, given, strict=True)) > tolerance:
        return None
    if angle > math.pi / 2 or angle <= -math.pi / 2:
        angle += -math.pi if angle > 0 else math.pi
    return box, 0.0 if abs(angle) < 1e-12 else angle


def box_ring(box: Box) -> list[float]:
    """Return the four corners of a box as a ring."""
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def clip_box(box: Box, width: float, height: float) -> Box | None:
    """Return the part of a box that lies in the image, None where nothing does."""
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def clip_ring(ring: Sequence[float], width: float, height: float) -> list[float]:
    """Return the part of a ring that lies in the image, empty where nothing does.

    Cut at one border after the other (Sutherland and Hodgman, 1974); the parts of a ring that the image
    divides stay joined along the border.
    """
    points = list(zip(ring[::2], ring[1::2], strict=True))
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        kept: list[tuple[float, float]] = []
        for at, end in enumerate(points):
            start = points[at - 1]
            start_in, end_in = (start[axis] - limit) * sign >= 0, (end[axis] - limit) * sign >= 0
            if start_in != end_in:
                share = (limit - start[axis]) / (end[axis] - start[axis])
                other = start[1 - axis] + share * (end[1 - axis] - start[1 - axis])
                kept.append((limit, other) if axis == 0 else (other, limit))
            if end_in:
                kept.append(end)
        points = kept
    return [number for point in points for number in point] if len(points) > 2 else []


def ring_area(ring: Sequence[float]) -> float:
    """Return the area of a ring in square pixels; negative where it goes counter-clockwise, as one sees
    it.
    """
    xs, ys = ring[::2], ring[1::2]
    return sum(xs[at - 1] * ys[at] - xs[at] * ys[at - 1] for at in range(len(xs))) / 2
