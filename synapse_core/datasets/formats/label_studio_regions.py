"""One region of Label Studio's JSON as annotations.

Numbers are percent of the image. A box is turned clockwise about its top left corner; here it is turned about
its centre. Brushes are runs of the four colours of a picture, packed into bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from synapse_core.datasets.mask_windows import row_runs_of_bytes
from synapse_core.datasets.model import (
    NO_CLASS,
    Annotation,
    Kind,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    Relation,
    Text,
)

_KINDS: dict[str, Kind] = {
    "rectangle": "box",
    "rectanglelabels": "box",
    "polygon": "polygon",
    "polygonlabels": "polygon",
    "vectorlabels": "polyline",
    "keypoint": "keypoints",
    "keypointlabels": "keypoints",
    "brush": "mask",
    "brushlabels": "mask",
    "choices": "tag",
    "textarea": "caption",
    "relation": "relation",
}


class Region(msgspec.Struct):
    """A region, or a choice for the whole image."""

    type: str = ""
    value: dict[str, Any] = {}
    id: str | None = None
    original_width: float | None = None
    original_height: float | None = None
    parentID: str | None = None  # noqa: N815  # Label Studio's name
    score: float | None = None
    from_id: str | None = None
    to_id: str | None = None
    meta: dict[str, Any] | None = None


def kind_of_region(region: Region) -> Kind:
    if region.type == "rectanglelabels" and region.value.get("rotation"):
        return "rotated_box"
    return _KINDS.get(region.type, "other")


def labels_of(region: Region) -> list[str]:
    """Return the classes that a region states: those under the name of its type."""
    found = region.value.get(region.type)
    if found is None and not region.type.endswith("labels"):
        found = region.value.get("labels")
    texts = found if isinstance(found, list) else [found] if isinstance(found, str) else []
    return [text for text in texts if isinstance(text, str)] if region.type != "textarea" else []


def annotations_of(region: Region, labels: dict[str, int], width: int, height: int) -> list[Annotation]:
    """Return what a region stands for: one annotation, or one for each choice.

    labels: class name -> index. Raises ValueError where it is broken, KeyError where a value is missing.
    """
    names = labels_of(region)
    if region.type == "choices":
        return [Annotation(labels[name], id=region.id, score=region.score) for name in names]
    one = Annotation(labels[names[0]] if names else NO_CLASS, id=region.id, score=region.score)
    value = region.value
    if region.type in ("rectangle", "rectanglelabels"):
        x, y, across, down = (float(value[name]) / 100 for name in ("x", "y", "width", "height"))
        _set_box(
            one, (x * width, y * height, across * width, down * height), float(value.get("rotation") or 0)
        )
    elif region.type in ("polygon", "polygonlabels"):
        one.shape = Polygon([_numbers(value["points"], width, height)])
    elif region.type == "vectorlabels" and all(
        isinstance(point, dict) for point in value.get("vertices", ())
    ):
        points = [(point["x"], point["y"]) for point in value["vertices"]]
        one.shape = Polyline(_numbers(points, width, height))
    elif region.type in ("keypoint", "keypointlabels"):
        one.points = [float(value["x"]) * width / 100, float(value["y"]) * height / 100, 2.0]
    elif region.type in ("brush", "brushlabels") and value.get("format") == "rle":
        one.shape = Mask(height, width, "row_runs", _brush(value["rle"], width, height))
    elif region.type == "textarea":
        texts = value["text"]
        one.shape = Text("\n".join(texts) if isinstance(texts, list) else str(texts))
    elif region.type == "relation":
        one.shape = Relation(region.from_id or "", region.to_id or "")
    else:
        one.shape = Opaque(region.type, value)
    attributes: dict[str, Any] = {}
    if len(names) > 1:
        attributes["labels"] = names
    if region.meta:
        attributes.update(region.meta)
    one.attributes = attributes or None
    one.group = region.parentID
    return [one]


def _set_box(one: Annotation, box: tuple[float, float, float, float], degrees: float) -> None:
    """Set box and angle; degrees: by how much it is turned about its top left corner."""
    x, y, width, height = box
    if not degrees % 360:
        one.box = box
        return
    angle = math.radians((degrees + 180) % 360 - 180)
    cos, sin = math.cos(angle), math.sin(angle)
    cx = x + width / 2 * cos - height / 2 * sin
    cy = y + width / 2 * sin + height / 2 * cos
    one.box = (cx - width / 2, cy - height / 2, width, height)
    one.angle = angle


def _numbers(points: Sequence[Any], width: int, height: int) -> list[float]:
    return [number for x, y in points for number in (float(x) * width / 100, float(y) * height / 100)]


def _brush(packed: Sequence[int], width: int, height: int) -> list[list[int]]:
    """Return the runs along the rows that a brush covers: where its picture is not transparent.

    Source: the decoder of label-studio-converter's `brush.py` and of thi.ng's rle-pack, which it follows.
    """
    bits = _Bits(bytes(packed))
    count = bits.take(32)
    if count != width * height * 4:
        raise ValueError(f"the brush is a picture of {count // 4} pixels, and the image has {width * height}")
    word = bits.take(5) + 1
    lengths = [bits.take(4) + 1 for _ in range(4)]
    values = bytearray()
    while len(values) < count:
        is_run = bits.take(1)
        length = bits.take(lengths[bits.take(2)]) + 1
        if is_run:
            values += bytes((bits.take(word) & 255,)) * length
        else:
            values += bytes(bits.take(word) & 255 for _ in range(length))
    return row_runs_of_bytes(bytes(values[3:count:4]))


class _Bits:
    """Reads numbers of any number of bits, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        start, stop = self._at, self._at + count
        if stop > len(self._data) * 8:
            raise ValueError("the brush ends too early")
        last = -(-stop // 8)
        number = int.from_bytes(self._data[start // 8 : last], "big")
        self._at = stop
        return number >> (last * 8 - stop) & ((1 << count) - 1)
