"""One shape of LabelMe as an annotation."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from synapse_core.datasets.mask_windows import placed_runs, row_runs_of_bytes
from synapse_core.datasets.model import Annotation, Item, Kind, Mask, Opaque, Polygon, Polyline
from synapse_core.datasets.png_mask import read_png
from synapse_core.datasets.shapes import box_of_corners

_KINDS: dict[str, Kind] = {
    "polygon": "polygon",
    "rectangle": "box",
    "rotation": "rotated_box",
    "line": "polyline",
    "linestrip": "polyline",
    "point": "keypoints",
    "points": "keypoints",
    "mask": "mask",
}


class Shape(msgspec.Struct):
    """A shape as LabelMe writes it. attributes: not LabelMe's own; its followers have them."""

    points: list[tuple[float, float]]
    label: Any = None
    shape_type: str = "polygon"
    group_id: Any = None
    flags: dict[str, Any] | None = None
    description: str | None = None
    mask: str | None = None
    attributes: dict[str, Any] | None = None


def kind_of_shape(shape_type: str) -> Kind:
    return _KINDS.get(shape_type, "other")


def annotation_of(shape: Shape, label: int, item: Item) -> Annotation:
    """Return a shape of an image. Raises ValueError where it is broken."""
    numbers = [number for point in shape.points for number in point]
    one = Annotation(label)
    what = shape.shape_type
    if what == "polygon":
        one.shape = Polygon([numbers])
    elif what == "rectangle" and len(numbers) == 4:
        x1, y1, x2, y2 = numbers
        one.box = (min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1))
    elif what in ("rectangle", "rotation"):
        turned = box_of_corners(numbers, 1e-3)
        if turned is None:
            raise ValueError(f"{len(shape.points)} points are no {what}")
        one.box, one.angle = turned
    elif what in ("line", "linestrip"):
        one.shape = Polyline(numbers)
    elif what in ("point", "points"):
        one.points = [number for x, y in shape.points for number in (x, y, 2.0)]
    elif what == "mask":
        one.shape = _mask(shape, item)
    else:
        one.shape = Opaque(what, {"points": [list(point) for point in shape.points]})
    attributes = {**(shape.attributes or {}), **(shape.flags or {})}
    if shape.description:
        attributes["description"] = shape.description
    one.attributes = attributes or None
    if shape.group_id is not None:
        one.group = str(shape.group_id)
    return one


def merged_parts(found: list[tuple[str, Annotation]]) -> list[Annotation]:
    """Return the annotations, polygons of one class and group put together to one."""
    merged: list[Annotation] = []
    first: dict[tuple[int, str], Polygon] = {}
    for _, one in found:
        if one.group is not None and isinstance(one.shape, Polygon):
            place = (one.label, one.group)
            if place in first:
                first[place].rings += one.shape.rings
                continue
            first[place] = one.shape
        merged.append(one)
    return merged


def _mask(shape: Shape, item: Item) -> Mask:
    """Return a mask: a picture of the window between two points, both of which are in it."""
    if shape.mask is None or len(shape.points) != 2:
        raise ValueError("a mask has a picture and two points")
    if item.width is None or item.height is None:
        raise ValueError("the image's size is not known")
    try:
        across, down, pixels = read_png(base64.b64decode(shape.mask, validate=True))
    except binascii.Error as error:
        raise ValueError(f"the mask is not base64: {error}") from error
    left, top = round(shape.points[0][0]), round(shape.points[0][1])
    if left < 0 or top < 0 or left + across > item.width or top + down > item.height:
        raise ValueError(f"the mask's window {left},{top} {across} x {down} lies outside the image")
    runs = placed_runs(row_runs_of_bytes(pixels), left, top, across, item.width)
    return Mask(item.height, item.width, "row_runs", runs)
