"""What one XML file of Pascal VOC says.

Nearly all files have one of two layouts, for which a pattern that must fit the whole text is four times as
fast as an XML parser; any other text goes to the parser. A test holds the two to the same result.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, tostring

from synapse_core.datasets.model import NO_CLASS, Annotation, Box, Polygon
from synapse_core.datasets.xml_text import InvalidXml, parse_xml, text_of, value_of

# What does not stand for itself: these are the defaults of the format and say nothing.
_PLAIN_POSES = ("", "unspecified")
_FLAGS = ("truncated", "difficult", "occluded")
_KNOWN_OF_OBJECT = {"name", "bndbox", "robndbox", "pose", "attributes", "polygon", *_FLAGS}
_KNOWN_OF_IMAGE = {"folder", "filename", "path", "size", "segmented", "object"}

# A text without entities, markup and control characters.
_T = "[^<&\x00-\x1f]*"
_N = r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*"
_HEAD = re.compile(
    r"\s*(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'][Uu][Tt][Ff]-8[\"'])? ?\?>\s*)?"
    r"<annotation(?: verified=\"(?:yes|no)\")?>\s*"
    rf"(?:<folder>{_T}</folder>\s*)?(?:<filename>{_T}</filename>\s*)?(?:<path>{_T}</path>\s*)?"
    rf"(<source>\s*(?:<(database|annotation|image|flickrid)>{_T}</\2>\s*)*</source>)?\s*"
    rf"(<owner>\s*(?:<(flickrid|name)>{_T}</\4>\s*)*</owner>)?\s*"
    rf"<size>\s*<width>([0-9]+)</width>\s*<height>([0-9]+)</height>\s*(?:<depth>({_T})</depth>\s*)?</size>\s*"
    rf"(?:<segmented>({_T})</segmented>\s*)?"
)
_MARKS = rf"((?:<(pose|truncated|difficult|occluded)>{_T}</\{{}}>\s*)*)"
_OBJECT = re.compile(
    rf"<object>\s*<name>({_T})</name>\s*" + _MARKS.format(3) + rf"<bndbox>\s*<xmin>{_N}</xmin>\s*"
    rf"(?:<ymin>{_N}</ymin>\s*<xmax>{_N}</xmax>|<xmax>{_N}</xmax>\s*<ymin>{_N}</ymin>)"
    rf"\s*<ymax>{_N}</ymax>\s*</bndbox>\s*" + _MARKS.format(11) + r"</object>\s*"
)
_GROUPS = _OBJECT.groups + 1
_END = "</annotation>"
_MARK = re.compile(rf"<(\w+)>({_T})<")

_SAYS_SOMETHING = re.compile(r">\s*(?!Unknown<)[^<\s]")

_NAME = re.compile(rb"<object>\s*<name>([^<&]*)</name>")
_FILE_NAME = re.compile(r"<filename>([^<&]*)</filename>")


@dataclass
class Broken:
    """An object that cannot be read: its number in the file, from 1, and why."""

    number: int
    message: str
    text: str = ""


@dataclass
class Content:
    """What an XML file says. extra: what a Pascal VOC target gets back and others have no place for.

    swapped: annotations whose corners stood in another order.
    """

    width: int | None
    height: int | None
    annotations: list[Annotation] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    swapped: list[Annotation] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Texts:
    """Reads the XML files of one dataset. labels: class name -> index. offset: 1 where pixels count from
    1."""

    def __init__(self, labels: dict[str, int], offset: int) -> None:
        self._labels = labels
        self._offset = float(offset)
        self._marks: dict[str, dict[str, Any]] = {"": {}}

    def read(self, data: bytes) -> Content:
        """Return what a file says. Raises InvalidXml."""
        return self.read_known(data) or self.read_any(data)

    def read_known(self, data: bytes) -> Content | None:
        """Return what a file of a usual layout says, None for any other."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return None
        head = _HEAD.match(text)
        if head is None:
            return None
        pieces = _OBJECT.split(text[head.end() :])
        # Nothing may stand between the objects, nor after them but the end.
        if pieces[-1].rstrip() != _END or any(pieces[:-1:_GROUPS]):
            return None
        content = Content(int(head[5]) or None, int(head[6]) or None)
        labels, offset, add = self._labels, self._offset, content.annotations.append
        for at in range(1, len(pieces) - 1, _GROUPS):
            name, before, _, xmin, ymin, xmax, xmax2, ymin2, ymax, after, _ = pieces[at : at + _GROUPS - 1]
            left, top, right, bottom = float(xmin), float(ymin or ymin2), float(xmax or xmax2), float(ymax)
            box = left - offset, top - offset, right - left + offset, bottom - top + offset
            label = labels.get(name.strip(), NO_CLASS)
            marks = before + after
            attributes = self._marks.get(marks)
            if attributes is None:
                self._marks[marks] = attributes = _attributes_of_marks(_MARK.findall(marks))
            annotation = Annotation(label, box, attributes=attributes.copy() if attributes else None)
            add(annotation)
            if right < left or bottom < top:
                annotation.box = _ordered(left, top, right, bottom, offset)
                content.swapped.append(annotation)
        if head[1] or head[3] or head[7] or head[8]:
            _keep_head(content.extra, (head[1], head[3]), head[7], head[8])
        return content

    def read_any(self, data: bytes) -> Content:
        """Return what a file says, with an XML parser. Raises InvalidXml."""
        root = parse_xml(data)
        if root.tag != "annotation":
            raise InvalidXml(f"its root is <{root.tag}> and not <annotation>")
        size = root.find("size")
        content = Content(None, None)
        if size is not None:
            content.width, content.height = _count(text_of(size, "width")), _count(text_of(size, "height"))
        for number, element in enumerate(root.findall("object"), 1):
            try:
                annotation, is_swapped = self._annotation(element)
            except ValueError as error:
                content.broken.append(Broken(number, str(error), tostring(element, "unicode")[:500]))
                continue
            content.annotations.append(annotation)
            if is_swapped:
                content.swapped.append(annotation)
        others = [_raw(element) for element in root if element.tag not in _KNOWN_OF_IMAGE]
        depth = None if size is None else text_of(size, "depth")
        _keep_head(content.extra, others, depth, text_of(root, "segmented"))
        return content

    def _annotation(self, element: Element) -> tuple[Annotation, bool]:
        """Return an object, and whether its corners were in another order. Raises ValueError."""
        name = text_of(element, "name")
        polygon = _polygon(element.find("polygon"))
        attributes = _attributes_of_marks([(child.tag, child.text or "") for child in element])
        angle = 0.0
        box, is_swapped = None, False
        if (corners := element.find("bndbox")) is not None:
            left, top, right, bottom = (_number(corners, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
            is_swapped = right < left or bottom < top
            box = _ordered(left, top, right, bottom, self._offset)
        elif (turned := element.find("robndbox")) is not None:
            cx, cy, width, height = (_number(turned, tag) for tag in ("cx", "cy", "w", "h"))
            box = cx - width / 2, cy - height / 2, width, height
            angle = _number(turned, "angle")
        elif polygon is None:
            raise ValueError("the object has no <bndbox>")
        stated = element.find("attributes")
        for attribute in () if stated is None else stated.findall("attribute"):
            attributes[text_of(attribute, "name")] = value_of(text_of(attribute, "value"))
        # CVAT writes a turned box so: the corners of the upright one, and degrees.
        if isinstance(rotation := attributes.get("rotation"), int | float) and not isinstance(rotation, bool):
            del attributes["rotation"]
            angle = angle or math.radians(rotation)
        for child in element:
            if child.tag not in _KNOWN_OF_OBJECT:
                _keep(attributes, child)
        annotation = Annotation(
            self._labels.get(name, NO_CLASS),
            box,
            shape=polygon,
            angle=angle if polygon is None else 0.0,
            attributes=attributes or None,
        )
        return annotation, is_swapped


def names_in(data: bytes) -> tuple[list[str], set[str]]:
    """Return the names of the objects, parts of them excepted, and the kinds of annotation that are there.

    Raises InvalidXml.
    """
    kinds = {"box"}
    if b"<polygon" in data:
        kinds.add("polygon")
    if b"<robndbox" in data or b"<name>rotation</name>" in data:
        kinds.add("rotated_box")
    found = _NAME.findall(data)
    if len(found) == data.count(b"<object"):
        try:
            return [name.decode().strip() for name in found], kinds
        except UnicodeDecodeError:
            pass
    return [text_of(element, "name") for element in parse_xml(data).findall("object")], kinds


def file_name_in(data: bytes) -> str:
    """Return the file name that a file states, '' where it states none. Raises InvalidXml."""
    try:
        found = _FILE_NAME.search(data.decode())
    except UnicodeDecodeError:
        found = None
    return found[1].strip() if found is not None else text_of(parse_xml(data), "filename")


def _ordered(left: float, top: float, right: float, bottom: float, offset: float) -> Box:
    left, right = min(left, right), max(left, right)
    top, bottom = min(top, bottom), max(top, bottom)
    return left - offset, top - offset, right - left + offset, bottom - top + offset


def _attributes_of_marks(marks: list[tuple[str, str]]) -> dict[str, Any]:
    """Return pose and flags as attributes, those that say nothing left out."""
    attributes: dict[str, Any] = {}
    for tag, text in marks:
        text = text.strip()
        if tag == "pose" and text.lower() not in _PLAIN_POSES:
            attributes["pose"] = text
        elif tag in _FLAGS and text not in ("", "0", "false", "False"):
            attributes[tag] = True if text in ("1", "true", "True") else value_of(text)
    return attributes


def _number(element: Element, tag: str) -> float:
    text = text_of(element, tag)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"<{tag}> is {text!r}, which is not a number") from None


def _count(text: str) -> int | None:
    """Return a number of pixels, None for what is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if 0 < number < 1e9 else None


def _polygon(element: Element | None) -> Polygon | None:
    """Return the ring of <x1><y1><x2>…, None where there is none."""
    if element is None:
        return None
    ring: list[float] = []
    while element.find(f"x{len(ring) // 2 + 1}") is not None:
        number = len(ring) // 2 + 1
        ring += [_number(element, f"x{number}"), _number(element, f"y{number}")]
    return Polygon([ring]) if ring else None


def _keep(attributes: dict[str, Any], element: Element) -> None:
    """Add an element that no field stands for to the attributes: parts of the body, actions, and so on."""
    value = _plain(element)
    if element.tag == "part":
        attributes.setdefault("part", []).append(value)
    elif value != "":
        attributes[element.tag] = value


def _plain(element: Element) -> Any:
    """Return an element as a text, or as a mapping of what is in it."""
    if len(element) == 0:
        return value_of((element.text or "").strip())
    return {child.tag: _plain(child) for child in element}


def _raw(element: Element) -> str:
    element.tail = None
    return tostring(element, "unicode")


def _keep_head(extra: dict[str, Any], elements: Any, depth: str | None, segmented: str | None) -> None:
    """Add what an image's header says beyond its name and size, defaults left out."""
    texts = [text for text in elements if text and _SAYS_SOMETHING.search(text)]
    if texts:
        extra["elements"] = texts
    if depth and depth != "3":
        extra["depth"] = depth
    if segmented and segmented != "0":
        extra["segmented"] = segmented
