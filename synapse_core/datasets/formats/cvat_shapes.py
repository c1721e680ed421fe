"""One shape of CVAT's XML as an annotation: <box>, <polygon>, <mask>, <skeleton> and the others."""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import Any
from xml.etree.ElementTree import Element

from synapse_core.datasets.mask_windows import placed_runs
from synapse_core.datasets.model import (
    NO_CLASS,
    Annotation,
    ClassDef,
    Kind,
    Mask,
    Opaque,
    Polygon,
    Polyline,
)
from synapse_core.datasets.xml_text import value_of

KIND_OF_TAG: dict[str, Kind] = {
    "box": "box",
    "polygon": "polygon",
    "polyline": "polyline",
    "points": "keypoints",
    "skeleton": "keypoints",
    "mask": "mask",
    "tag": "tag",
    "ellipse": "other",
    "cuboid": "other",
}
# Of these only CVAT knows what they mean; they are carried along as they are.
OPAQUE = ("ellipse", "cuboid")
# Attributes of a shape that say how it lies among others, and nothing of where.
_ABOUT = frozenset({"label", "occluded", "z_order", "source", "group_id", "keyframe", "outside", "frame"})


class Shapes:
    """Makes annotations of the shapes of one dataset. labels: class name -> index among the classes."""

    def __init__(self, classes: list[ClassDef]) -> None:
        self._labels = {entry.name: index for index, entry in enumerate(classes)}
        self._points = [entry.keypoints for entry in classes]
        # Set where CVAT is written again.
        self.wants_extra = False
        self.wants_shapes = True

    def read(self, element: Element, width: int, height: int) -> Annotation:
        """Return a shape of an image of this size. Raises ValueError where it is broken, KeyError where a
        value of it is missing."""
        label = self._labels.get(element.get("label", ""), NO_CLASS)
        tag = element.tag
        one = Annotation(label)
        if tag == "box":
            left, top, right, bottom = (float(element.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
            one.box = (left, top, right - left, bottom - top)
            one.angle = _angle(float(element.get("rotation") or 0))
        elif tag == "polygon":
            one.shape = Polygon([numbers_of(element.attrib["points"])])
        elif tag == "polyline":
            one.shape = Polyline(numbers_of(element.attrib["points"]))
        elif tag == "points":
            numbers = numbers_of(element.attrib["points"])
            seen = 1.0 if element.get("occluded") == "1" else 2.0
            one.points = [
                number for at in range(0, len(numbers), 2) for number in (numbers[at], numbers[at + 1], seen)
            ]
        elif tag == "skeleton":
            one.points = self._skeleton(element, label)
        elif tag == "mask":
            one.shape = _mask(element, width, height)
        elif tag in OPAQUE:
            data = {name: value_of(value) for name, value in element.attrib.items() if name not in _ABOUT}
            one.shape = Opaque(tag, data)
        elif tag != "tag":
            raise ValueError(f"there are no shapes <{tag}>")
        self._read_about(one, element)
        return one

    def _read_about(self, one: Annotation, element: Element) -> None:
        attributes: dict[str, Any] = {
            child.get("name", ""): value_of((child.text or "").strip())
            for child in element.findall("attribute")
        }
        if element.get("occluded") == "1" and element.tag != "points":
            attributes["occluded"] = True
        if (order := element.get("z_order", "0")) != "0":
            attributes["z_order"] = value_of(order)
        one.attributes = attributes or None
        one.group = element.get("group_id")
        if one.group == "0":
            one.group = None
        if self.wants_extra and element.get("source", "manual") != "manual":
            one.extra = {"source": element.get("source")}

    def _skeleton(self, element: Element, label: int) -> list[float]:
        """Return the points in the order of the class's, those that it lacks as not labelled."""
        there: dict[str, tuple[float, float, float]] = {}
        for child in element.findall("points"):
            x, y = numbers_of(child.attrib["points"])
            seen = 0.0 if child.get("outside") == "1" else 1.0 if child.get("occluded") == "1" else 2.0
            there[child.get("label", "")] = (x, y, seen) if seen else (0.0, 0.0, 0.0)
        names = self._points[label] if label != NO_CLASS else tuple(there)
        unknown = [name for name in there if name not in names]
        if unknown:
            raise ValueError(f"the skeleton has no point {unknown[0]!r}; it has {', '.join(names) or 'none'}")
        return [number for name in names for number in there.get(name, (0.0, 0.0, 0.0))]


def numbers_of(text: str) -> list[float]:
    """Return [x1, y1, x2, y2, …] of "x1,y1;x2,y2;…". Raises ValueError."""
    numbers: list[float] = []
    for pair in text.split(";"):
        x, _, y = pair.partition(",")
        numbers += [float(x), float(y)]
    return numbers


def skeleton_edges(svg: str, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of points that the drawing of a skeleton joins."""
    nodes: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    for tag, text in re.findall(r"<(circle|line)\b([^>]*)>", svg):
        values = dict(re.findall(r'([\w-]+)="([^"]*)"', text))
        if tag == "circle" and values.get("data-label-name") in names:
            nodes[values.get("data-node-id", "")] = names.index(values["data-label-name"])
        elif tag == "line":
            pairs.append((values.get("data-node-from", ""), values.get("data-node-to", "")))
    return tuple((nodes[start], nodes[end]) for start, end in pairs if start in nodes and end in nodes)


def _angle(degrees: float) -> float:
    """Return radians between -pi and pi."""
    return math.radians((degrees + 180.0) % 360.0 - 180.0) if degrees else 0.0


def _mask(element: Element, width: int, height: int) -> Mask:
    """Return a mask: CVAT counts along the rows of a window of the image, background first."""
    left, top, across, down = (
        int(float(element.attrib[name])) for name in ("left", "top", "width", "height")
    )
    counts = [int(text) for text in element.attrib["rle"].split(",") if text.strip()]
    if min([left, top, across, down, *counts], default=0) < 0 or left + across > width or top + down > height:
        raise ValueError(f"the mask's window {left},{top} {across} x {down} lies outside the image")
    if sum(counts) > across * down:
        raise ValueError(f"the mask has {sum(counts)} pixels, and its window {across * down}")
    ends = list(accumulate(counts))
    runs = [[ends[at] - counts[at], counts[at]] for at in range(1, len(counts), 2)]
    return Mask(height, width, "row_runs", placed_runs(runs, left, top, across, width))
