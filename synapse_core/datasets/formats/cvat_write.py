"""Writes CVAT for images 1.1: annotations.xml and images/<split>/."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.upright import is_kept, wrote
from synapse_core.datasets.mask_windows import window_of
from synapse_core.datasets.model import (
    Annotation,
    ClassDef,
    Item,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    kind_of,
)
from synapse_core.datasets.report import Losses
from synapse_core.datasets.xml_text import escaped, quoted

_PATH = "annotations.xml"
_HAVE_NO_PLACE = ("caption", "group", "relation")
_ROUNDING = 0.5e-9
_encoder = msgspec.json.Encoder()


def write(setup: WriterSetup) -> Writer:
    return CvatWriter(setup)


class CvatWriter:
    """All images in one file."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._classes = setup.header.classes
        self._names = [quoted(entry.name) for entry in self._classes]
        self._images = setup.options.images
        self._keeps_crowds = setup.options.crowds == "keep"
        self._is_again = setup.header.format == "cvat"
        self._rows: list[bytes] = []
        self._written = 0

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        if item.media != "image":
            for one in item.annotations:
                losses.leave(one, item, "NOT_SUPPORTED", item.media)
            return
        groups = _Groups(item)
        shapes = [text for one in item.annotations for text in self._shape(one, item, groups, losses)]
        subset = f" subset={quoted(item.split)}" if item.split else ""
        size = f' width="{item.width}" height="{item.height}"' if item.width and item.height else ""
        self._rows.append(f" name={quoted(name)}{subset}{size}>\n{''.join(shapes)}  </image>\n".encode())
        if shapes:
            error = _ROUNDING * max(item.width or 10_000, item.height or 10_000)
            losses.largest_error_pixels = max(losses.largest_error_pixels, error)
        if self._images != "none" and item.image is not None:
            path = f"images/{item.split}/{name}" if item.split else f"images/{name}"
            self.target.place(self._source, item.image, path, is_linked=self._images == "link")

    def cut(self) -> Piece:
        rows, self._rows = self._rows, []
        return Piece({"images": rows})

    def merge(self, piece: Piece) -> None:
        rows = piece.rows["images"]
        head = b"" if self._written else self._head()
        numbered = [b'  <image id="%d"%b' % pair for pair in enumerate(rows, self._written)]
        self._written += len(rows)
        if rows:
            self.target.append(_PATH, head + b"".join(numbered))

    def finish(self) -> str:
        self.target.append(_PATH, (b"" if self._written else self._head()) + b"</annotations>\n")
        return _PATH

    def _head(self) -> bytes:
        labels = "".join(_label(entry) for entry in self._classes)
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
            "  <meta>\n    <task>\n      <mode>annotation</mode>\n      <labels>\n"
            f"{labels}      </labels>\n    </task>\n  </meta>\n"
        ).encode()

    def _shape(self, one: Annotation, item: Item, groups: _Groups, losses: Losses) -> list[str]:
        """Return the elements that stand for an annotation, none where it was told to be left out."""
        kind = kind_of(one)
        is_known = isinstance(one.shape, Opaque) and self._is_again
        if kind in _HAVE_NO_PLACE or (kind == "other" and not is_known):
            losses.leave(one, item, "NOT_SUPPORTED")
            return []
        if not is_kept(one, item, losses, keeps_crowds=self._keeps_crowds):
            return []
        places = self._places(one, item, losses)
        if not places:
            losses.leave(one, item, "ZERO_AREA")
            return []
        if one.score is not None:
            losses.change(one, item, "SCORE_DROPPED", before=one.score)
        if one.extra and not self._is_again:
            losses.change(one, item, "ATTRIBUTES_DROPPED", ", ".join(one.extra))
        if len(places) == 1:
            wrote(losses, one)
        else:
            losses.lose("PARTS_SPLIT", item.key, kind, "split_extra", annotation=one.id, where=item.where)
            losses.after[one.label] += len(places)
        group = groups.number(one, is_needed=len(places) > 1)
        about, inner = self._about(one, group)
        return [f"    <{tag}{about}{place}>{inside}{inner}</{tag}>\n" for tag, place, inside in places]

    def _about(self, one: Annotation, group: int | None) -> tuple[str, str]:
        """Return what every element of an annotation has: its attributes in XML's sense, and in CVAT's."""
        attributes = dict(one.attributes or {})
        is_occluded = (
            attributes.pop("occluded", None) if isinstance(attributes.get("occluded"), bool) else False
        )
        order = attributes.pop("z_order", 0) if isinstance(attributes.get("z_order"), int) else 0
        source = (one.extra or {}).get("source", "manual") if self._is_again else "manual"
        about = (
            f" label={self._names[one.label]} source={quoted(str(source))} "
            f'occluded="{int(bool(is_occluded))}" z_order="{order}"'
        )
        if group is not None:
            about += f' group_id="{group}"'
        inner = "".join(
            f"\n      <attribute name={quoted(str(name))}>{_text(value)}</attribute>"
            for name, value in attributes.items()
        )
        return about, f"{inner}\n    " if inner else ""

    def _places(self, one: Annotation, item: Item, losses: Losses) -> list[tuple[str, str, str]]:
        """Return tag, attributes and content of each element, empty where there is nothing to show."""
        shape = one.shape
        if one.points is not None:
            for field in ("box", "shape"):
                if getattr(one, field) is not None:
                    losses.change(one, item, "ATTRIBUTES_DROPPED", f"{field} of key points", field=field)
            return self._keypoints(one, one.points)
        if isinstance(shape, Polygon):
            if shape.holes and item.width and item.height:
                from synapse_core.datasets.mask_shapes import polygon_counts  # numpy: 80 ms

                losses.change(one, item, "POLYGON_TO_MASK", "polygons of CVAT have no holes")
                counts = polygon_counts(shape, item.height, item.width)
                return _mask(Mask(item.height, item.width, "counts", counts))
            return [("polygon", f' points="{_pairs(ring)}"', "") for ring in shape.rings if len(ring) >= 6]
        if isinstance(shape, Polyline):
            return [("polyline", f' points="{_pairs(shape.points)}"', "")] if shape.points else []
        if isinstance(shape, Mask):
            return _mask(shape)
        if isinstance(shape, Opaque):
            return [
                (
                    shape.tool,
                    "".join(f" {name}={quoted(_plain(value))}" for name, value in shape.data.items()),
                    "",
                )
            ]
        if one.box is None:
            return [("tag", "", "")]
        x, y, width, height = one.box
        text = f' xtl="{x:.10g}" ytl="{y:.10g}" xbr="{x + width:.10g}" ybr="{y + height:.10g}"'
        if one.angle:
            text += f' rotation="{math.degrees(one.angle) % 360:.10g}"'
        return [("box", text, "")]

    def _keypoints(self, one: Annotation, points: list[float]) -> list[tuple[str, str, str]]:
        """Return a skeleton where the class has named points, plain points elsewhere."""
        names = self._classes[one.label].keypoints
        triples = list(zip(points[::3], points[1::3], points[2::3], strict=True))
        if not names or len(names) != len(triples):
            pairs = [number for x, y, seen in triples if seen > 0 for number in (x, y)]
            return [("points", f' points="{_pairs(pairs)}"', "")] if pairs else []
        inner = "".join(
            f'\n      <points label={quoted(name)} outside="{int(seen <= 0)}" occluded="{int(seen == 1)}" '
            f'points="{_pairs((x, y))}"/>'
            for name, (x, y, seen) in zip(names, triples, strict=True)
        )
        return [("skeleton", "", inner + "\n    ")]


class _Groups:
    """The numbers of an image's groups: CVAT takes nothing else, other formats have texts."""

    def __init__(self, item: Item) -> None:
        texts = dict.fromkeys(one.group for one in item.annotations if one.group is not None)
        self._numbers = {text: int(text) for text in texts if text.isdecimal()}
        self._next = max(self._numbers.values(), default=0) + 1
        for text in texts:
            if text not in self._numbers:
                self._numbers[text] = self._new()

    def number(self, one: Annotation, *, is_needed: bool) -> int | None:
        """Return the number of an annotation's group; a new one where it has none and needs one."""
        if one.group is not None:
            return self._numbers[one.group]
        return self._new() if is_needed else None

    def _new(self) -> int:
        self._next += 1
        return self._next - 1


def _mask(mask: Mask) -> list[tuple[str, str, str]]:
    """Return a mask as CVAT has it: the window around it, and counts along the rows of that."""
    window = window_of(mask)
    if window is None:
        return []
    left, top, width, height, runs = window
    counts: list[int] = []
    end = 0
    for start, length in runs:
        counts += [start - end, length]
        end = start + length
    counts.append(width * height - end)
    text = ", ".join(map(str, counts))
    return [("mask", f' rle="{text}" left="{left}" top="{top}" width="{width}" height="{height}"', "")]


def _pairs(numbers: Iterable[float]) -> str:
    values = [f"{number:.10g}" for number in numbers]
    return ";".join(f"{x},{y}" for x, y in zip(values[::2], values[1::2], strict=True))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return escaped(_encoder.encode(value).decode())
    return escaped(_plain(value))


def _label(entry: ClassDef) -> str:
    """Return a label of the task, and those of its points."""
    color = entry.extra.get("color")
    text = f"        <label>\n          <name>{escaped(entry.name)}</name>\n"
    if isinstance(color, str):
        text += f"          <color>{escaped(color)}</color>\n"
    if entry.keypoints:
        text += "          <type>skeleton</type>\n"
    attributes = entry.extra.get("attributes")
    text += "          <attributes>\n"
    for attribute in attributes if isinstance(attributes, list) else ():
        inner = "".join(
            f"<{tag}>{escaped(str(value))}</{tag}>" for tag, value in attribute.items() if tag.isidentifier()
        )
        text += f"            <attribute>{inner}</attribute>\n"
    text += "          </attributes>\n"
    if entry.keypoints:
        text += f"          <svg>{escaped(_drawing(entry))}</svg>\n"
    text += "        </label>\n"
    for name in entry.keypoints:
        text += (
            f"        <label>\n          <name>{escaped(name)}</name>\n          <type>points</type>\n"
            "          <attributes>\n          </attributes>\n"
            f"          <parent>{escaped(entry.name)}</parent>\n        </label>\n"
        )
    return text


def _drawing(entry: ClassDef) -> str:
    """Return the drawing of a skeleton, its points on a circle: where they are there means nothing."""
    count = len(entry.keypoints)
    places = [
        (50 + 40 * math.cos(2 * math.pi * at / count), 50 + 40 * math.sin(2 * math.pi * at / count))
        for at in range(count)
    ]
    lines = "".join(
        f'<line x1="{places[start][0]:.4f}" y1="{places[start][1]:.4f}" x2="{places[end][0]:.4f}" '
        f'y2="{places[end][1]:.4f}" data-type="edge" '
        f'data-node-from="{start + 1}" data-node-to="{end + 1}"></line>'
        for start, end in entry.skeleton
        if max(start, end) < count
    )
    return lines + "".join(
        f'<circle r="1.5" cx="{x:.4f}" cy="{y:.4f}" data-type="element node" data-element-id="{at}" '
        f'data-node-id="{at}" data-label-name={quoted(name)}></circle>'
        for at, (name, (x, y)) in enumerate(zip(entry.keypoints, places, strict=True), 1)
    )
