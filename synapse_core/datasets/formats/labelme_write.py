"""Writes LabelMe: <split>/<image> and a JSON file beside it."""

from __future__ import annotations

import base64
import posixpath
from typing import Any

import msgspec

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.upright import is_kept, wrote
from synapse_core.datasets.mask_windows import window_of
from synapse_core.datasets.model import Annotation, Item, Mask, Opaque, Polygon, Polyline, kind_of
from synapse_core.datasets.png_mask import write_png
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shapes import box_corners

_VERSION = "5.5.0"
_HAVE_NO_PLACE = ("caption", "group", "relation")
_encoder = msgspec.json.Encoder()


def write(setup: WriterSetup) -> Writer:
    return LabelMeWriter(setup)


class LabelMeWriter:
    """One file an image; the image itself is not put into it."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._names = [entry.name for entry in setup.header.classes]
        self._points = [entry.keypoints for entry in setup.header.classes]
        self._images = setup.options.images
        self._keeps_crowds = setup.options.crowds == "keep"
        self._is_again = setup.header.format == "labelme"

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        if item.media != "image":
            for one in item.annotations:
                losses.leave(one, item, "NOT_SUPPORTED", item.media)
            return
        shapes: list[dict[str, Any]] = []
        flags: dict[str, bool] = {}
        for number, one in enumerate(item.annotations):
            kind = kind_of(one)
            is_known = isinstance(one.shape, Opaque) and self._is_again
            if kind in _HAVE_NO_PLACE or (kind == "other" and not is_known):
                losses.leave(one, item, "NOT_SUPPORTED")
            elif is_kept(one, item, losses, keeps_crowds=self._keeps_crowds):
                if kind == "tag":
                    flags[self._names[one.label]] = True
                    if one.attributes:
                        losses.change(one, item, "ATTRIBUTES_DROPPED", before=one.attributes)
                elif places := self._places(one, item, losses):
                    shapes += self._shapes(one, places, number)
                else:
                    losses.leave(one, item, "ZERO_AREA")
                    continue
                if one.score is not None:
                    losses.change(one, item, "SCORE_DROPPED", before=one.score)
                wrote(losses, one)
        content = {
            "version": _VERSION,
            "flags": flags,
            "shapes": shapes,
            "imagePath": posixpath.basename(name),
            "imageData": None,
            "imageHeight": item.height,
            "imageWidth": item.width,
        }
        folder = f"{item.split}/" if item.split else ""
        path = f"{folder}{posixpath.splitext(name)[0]}.json"
        self.target.write(path, msgspec.json.format(_encoder.encode(content), indent=2) + b"\n")
        if self._images != "none" and item.image is not None:
            self.target.place(self._source, item.image, folder + name, is_linked=self._images == "link")

    def cut(self) -> Piece:
        return Piece({})

    def merge(self, piece: Piece) -> None: ...

    def finish(self) -> str:
        return ""

    def _shapes(self, one: Annotation, places: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
        """Return the shapes of an annotation with what they have in common."""
        attributes = dict(one.attributes or {})
        description = attributes.pop("description", "")
        flags = {name: value for name, value in attributes.items() if isinstance(value, bool)}
        others = {name: value for name, value in attributes.items() if name not in flags}
        group: int | str | None = one.group
        if one.group is not None and one.group.isdecimal():
            group = int(one.group)
        elif group is None and len(places) > 1:
            group = f"part of {number + 1}"
        common: dict[str, Any] = {
            "label": self._names[one.label],
            "group_id": group,
            "description": description if isinstance(description, str) else str(description),
            "flags": flags,
        }
        if others:
            common["attributes"] = others
        return [{**common, **place} for place in places]

    def _places(self, one: Annotation, item: Item, losses: Losses) -> list[dict[str, Any]]:
        """Return type and points of each shape, none where there is nothing to show."""
        shape = one.shape
        if one.points is not None:
            return self._keypoints(one, one.points, item, losses)
        if isinstance(shape, Polygon):
            rings = [ring for ring in shape.rings if len(ring) >= 6]
            if shape.holes:
                from synapse_core.datasets.masks import join_rings  # numpy: 80 ms

                losses.change(one, item, "HOLE_BRIDGED")
                cut = len(rings) - min(shape.holes, len(rings) - 1)
                rings = [join_rings(rings[:cut], rings[cut:])]
            return [_place("polygon", ring) for ring in rings]
        if isinstance(shape, Polyline):
            return [_place("line" if len(shape.points) == 4 else "linestrip", shape.points)]
        if isinstance(shape, Mask):
            return _mask(shape)
        if isinstance(shape, Opaque):
            return [{"points": shape.data["points"], "shape_type": shape.tool}]
        if one.box is None:
            return []
        if one.angle:
            losses.change(one, item, "BOX_TO_POLYGON", "LabelMe has no turned boxes")
            return [_place("polygon", box_corners(one.box, one.angle))]
        x, y, width, height = one.box
        return [_place("rectangle", [x, y, x + width, y + height])]

    def _keypoints(
        self, one: Annotation, points: list[float], item: Item, losses: Losses
    ) -> list[dict[str, Any]]:
        """Return the labelled points; names, hidden ones and the box beside them have no place."""
        numbers = [
            number
            for at in range(0, len(points), 3)
            if points[at + 2] > 0
            for number in (points[at], points[at + 1])
        ]
        if not numbers:
            return []
        if self._points[one.label] or any(0 < seen < 2 for seen in points[2::3]):
            losses.change(one, item, "KEYPOINT_PROFILE", "the points lose their names, and which are hidden")
        for field in ("box", "shape"):
            if getattr(one, field) is not None:
                losses.change(one, item, "ATTRIBUTES_DROPPED", f"{field} of key points", field=field)
        return [_place("points" if len(numbers) > 2 else "point", numbers)]


def _place(shape_type: str, numbers: list[float]) -> dict[str, Any]:
    return {"points": list(zip(numbers[::2], numbers[1::2], strict=True)), "shape_type": shape_type}


def _mask(mask: Mask) -> list[dict[str, Any]]:
    """Return a mask as a picture of the window around it."""
    window = window_of(mask)
    if window is None:
        return []
    left, top, width, height, runs = window
    picture = base64.b64encode(write_png(width, height, runs)).decode()
    return [{**_place("mask", [left, top, left + width - 1, top + height - 1]), "mask": picture}]
