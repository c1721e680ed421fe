"""Writes Pascal VOC: Annotations/, JPEGImages/, ImageSets/Main/ and labelmap.txt, which keeps the classes'
order.

Texts are formatted and escaped, not built from elements: that is what makes it as fast as writing files is.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.upright import box_around, drop_fields, is_kept, upright_box, wrote
from synapse_core.datasets.model import Annotation, Box, Item, Polygon
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import without_extension
from synapse_core.datasets.xml_text import escaped

# %.10g: all digits that a pixel below 10,000 needs for a millionth, and 48 for 48.0.
_CORNERS = (
    "\t\t<bndbox>\n\t\t\t<xmin>%.10g</xmin>\n\t\t\t<ymin>%.10g</ymin>\n"
    "\t\t\t<xmax>%.10g</xmax>\n\t\t\t<ymax>%.10g</ymax>\n\t\t</bndbox>\n"
)
# What stands before the corners of a plain box.
_BEFORE = (
    "\t<object>\n\t\t<name>%s</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
    "\t\t<difficult>0</difficult>\n"
)
_SOURCE = (
    "\t<source>\n\t\t<database>Unknown</database>\n\t\t<annotation>Unknown</annotation>\n"
    "\t\t<image>Unknown</image>\n\t</source>\n"
)
_HEAD = (
    "\t<folder>%s</folder>\n\t<filename>%s</filename>\n"
    + _SOURCE
    + "\t<size>\n\t\t<width>%d</width>\n\t\t<height>%d</height>\n\t\t<depth>3</depth>\n\t</size>\n"
    "\t<segmented>0</segmented>\n"
)
_ROUNDING = 0.5e-9
# Attributes that have an element of their own; all others go into <attributes>.
_OWN = ("pose", "truncated", "difficult", "occluded")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_MOST_TEXTS = 20_000
_NO_SPLIT = "default"
_encoder = msgspec.json.Encoder()


def write(setup: WriterSetup) -> Writer:
    return VocWriter(setup)


class VocWriter:
    """One XML file an image."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._images = setup.options.images
        self._keeps_crowds = setup.options.crowds == "keep"
        self._offset = 1.0 if setup.options.voc_coordinates == "devkit" else 0.0
        self._names = [entry.name for entry in setup.header.classes]
        self._escaped = [escaped(name) for name in self._names]
        self._before = [_BEFORE % name for name in self._escaped]
        self._whole = _WholeNumbers()
        self._lists: dict[str, list[bytes]] = {}
        self._merged: dict[str, list[bytes]] = {}

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        if item.media != "image":
            for one in item.annotations:
                losses.leave(one, item, "NOT_SUPPORTED", item.media)
            return
        stem = without_extension(name)
        body = self._objects(item, losses)
        text = f"<annotation>\n{_head(name, item)}{body}</annotation>\n"
        self.target.write(f"Annotations/{stem}.xml", text.encode())
        if self._images != "none" and item.image is not None:
            self.target.place(
                self._source, item.image, f"JPEGImages/{name}", is_linked=self._images == "link"
            )
        self._lists.setdefault(item.split or _NO_SPLIT, []).append(f"{stem}\n".encode())

    def cut(self) -> Piece:
        piece, self._lists = Piece(self._lists), {}
        return piece

    def merge(self, piece: Piece) -> None:
        for split, stems in piece.rows.items():
            self._merged.setdefault(split, []).extend(stems)

    def finish(self) -> str:
        for split, stems in self._merged.items():
            self.target.write(f"ImageSets/Main/{split.replace('/', '_')}.txt", b"".join(stems))
        lines = ["# label:color_rgb:parts:actions\n"]
        lines += [
            f"{name}:{','.join(map(str, color(at)))}::\n"
            for at, name in enumerate(self._names, 1)
            if "\n" not in name and "\r" not in name
        ]
        self.target.write("labelmap.txt", "".join(lines).encode())
        return ""

    def _objects(self, item: Item, losses: Losses) -> str:
        """Return the <object> elements of an item, and tell what became of each annotation."""
        texts: list[str] = []
        is_whole = True
        if item.is_plain:
            offset, before, after, texts_of = self._offset, self._before, losses.after, self._whole
            for one in item.annotations:
                x, y, width, height = one.box  # type: ignore[misc]  # is_plain says that it has one
                right, bottom = x + width, y + height
                x, y = x + offset, y + offset
                label = one.label
                after[label] += 1
                if x % 1 or y % 1 or right % 1 or bottom % 1:
                    is_whole = False
                    texts.append(before[label] + _CORNERS % (x, y, right, bottom) + "\t</object>\n")
                else:
                    texts.append(
                        f"{before[label]}\t\t<bndbox>\n\t\t\t<xmin>{texts_of[x]}</xmin>\n"
                        f"\t\t\t<ymin>{texts_of[y]}</ymin>\n\t\t\t<xmax>{texts_of[right]}</xmax>\n"
                        f"\t\t\t<ymax>{texts_of[bottom]}</ymax>\n\t\t</bndbox>\n\t</object>\n"
                    )
            losses.counts["box", "written"] += len(texts)
        else:
            for one in item.annotations:
                if (text := self._object(one, item, losses)) is not None:
                    texts.append(text)
                    wrote(losses, one)
                    is_whole = False
        if not is_whole:
            error = _ROUNDING * max(item.width or 10_000, item.height or 10_000)
            losses.largest_error_pixels = max(losses.largest_error_pixels, error)
        return "".join(texts)

    def _object(self, one: Annotation, item: Item, losses: Losses) -> str | None:
        """Return the element of an annotation, None where it was told to be left out."""
        shape = one.shape
        ring: list[float] = []
        if isinstance(shape, Polygon) and len(shape.rings) == 1 and one.points is None:
            ring = shape.rings[0]
            box = self._box_beside(one, item, losses)
        else:
            box = upright_box(one, item, losses, keeps_crowds=self._keeps_crowds)
        if box is None:
            return None
        drop_fields(one, item, losses, attributes=False)
        attributes = one.attributes or {}
        x, y, width, height = box
        corners = _CORNERS % (x + self._offset, y + self._offset, x + width, y + height)
        pose = attributes.get("pose")
        parts = [
            f"\t<object>\n\t\t<name>{self._escaped[one.label]}</name>\n",
            f"\t\t<pose>{escaped(str(pose)) if pose is not None else 'Unspecified'}</pose>\n",
            f"\t\t<truncated>{_flag(attributes.get('truncated', 0))}</truncated>\n",
            f"\t\t<difficult>{_flag(attributes.get('difficult', 0))}</difficult>\n",
        ]
        if "occluded" in attributes:
            parts.append(f"\t\t<occluded>{_flag(attributes['occluded'])}</occluded>\n")
        parts.append(corners)
        if ring:
            parts.append(_polygon(ring))
        parts += _attributes(attributes)
        parts.append("\t</object>\n")
        return "".join(parts)

    def _box_beside(self, one: Annotation, item: Item, losses: Losses) -> Box | None:
        """Return the box of a polygon that is written as well, None where it is left out."""
        if not is_kept(one, item, losses, keeps_crowds=self._keeps_crowds):
            return None
        box = box_around(one)
        if box is None:
            losses.leave(one, item, "ZERO_AREA")
        return box


class _WholeNumbers(dict[float, str]):
    """Texts of whole numbers: looked up in half the time in which they are formatted."""

    def __missing__(self, number: float) -> str:
        text = f"{number + 0.0:.10g}"  # 0 for -0, whichever comes first
        if len(self) < _MOST_TEXTS:
            self[number] = text
        return text


def color(index: int) -> tuple[int, int, int]:
    """Return the colour that the development kit gives a class, by its bits."""
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue


def _head(name: str, item: Item) -> str:
    """Return what stands before the objects."""
    extra: dict[str, Any] | None = (item.extra or {}).get("voc")
    folder, _, file_name = name.rpartition("/")
    if extra is None and item.width and item.height:
        return _HEAD % (escaped(folder), escaped(file_name), item.width, item.height)
    extra = extra or {}
    others = extra.get("elements", ())
    source = "" if any(text.startswith("<source") for text in others) else _SOURCE
    size = ""
    if item.width and item.height:
        depth = escaped(str(extra.get("depth", "3")))
        size = (
            f"\t<size>\n\t\t<width>{item.width}</width>\n\t\t<height>{item.height}</height>\n"
            f"\t\t<depth>{depth}</depth>\n\t</size>\n"
        )
    return (
        f"\t<folder>{escaped(folder)}</folder>\n\t<filename>{escaped(file_name)}</filename>\n{source}"
        + "".join(f"\t{text}\n" for text in others)
        + f"{size}\t<segmented>{escaped(str(extra.get('segmented', '0')))}</segmented>\n"
    )


def _flag(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool | int) else escaped(str(value))


def _polygon(ring: list[float]) -> str:
    points = "".join(
        f"\t\t\t<{'y' if at % 2 else 'x'}{at // 2 + 1}>{value:.10g}</{'y' if at % 2 else 'x'}{at // 2 + 1}>\n"
        for at, value in enumerate(ring)
    )
    return f"\t\t<polygon>\n{points}\t\t</polygon>\n"


def _attributes(attributes: dict[str, Any]) -> list[str]:
    """Return the elements of all attributes that come after the box."""
    texts = []
    others = []
    for name, value in attributes.items():
        if name == "part" and isinstance(value, list) and all(map(_is_native, value)):
            texts += [f"\t\t<part>{_elements(part)}</part>\n" for part in value]
        elif name == "actions" and isinstance(value, dict) and _is_native(value):
            texts.append(f"\t\t<actions>{_elements(value)}</actions>\n")
        elif name not in _OWN:
            others.append((name, value))
    if others:
        texts.append("\t\t<attributes>\n")
        texts += [
            f"\t\t\t<attribute><name>{escaped(str(name))}</name><value>{_text(value)}</value></attribute>\n"
            for name, value in others
        ]
        texts.append("\t\t</attributes>\n")
    return texts


def _is_native(value: Any) -> bool:
    """Return True for a mapping that can be written as elements."""
    return isinstance(value, dict) and all(
        isinstance(tag, str) and _TAG.match(tag) and (not isinstance(inner, dict) or _is_native(inner))
        for tag, inner in value.items()
    )


def _elements(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{tag}>{_elements(inner)}</{tag}>" for tag, inner in value.items())
    return _text(value)


def _text(value: Any) -> str:
    """Return the value of an attribute as text; lists and mappings as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, int | float):
        return str(value)
    return escaped(_encoder.encode(value).decode())
