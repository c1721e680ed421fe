"""What one XML file of Pascal VOC says.

Nearly all files have one of two layouts, for which a pattern that must fit the whole text is four times as
fast as an XML parser; any other text goes to the parser. A test holds the two to the same result.
"""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree.ElementTree import Element, tostring

import msgspec

from synapse_core.datasets.model import NO_CLASS, Annotation, Box, Kind, Polygon
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
_MARKS = "((?:" + "|".join(rf"<{tag}>{_T}</{tag}>\s*" for tag in ("pose", *_FLAGS)) + ")*)"


def _object(*corners: str) -> re.Pattern[str]:
    """Return the pattern of an object whose corners stand in this order, with the seven groups of
    `_COLUMNS`."""
    numbers = "".join(rf"<{corner}>{_N}</{corner}>\s*" for corner in corners)
    return re.compile(
        rf"<object>\s*<name>({_T})</name>\s*{_MARKS}<bndbox>\s*{numbers}</bndbox>\s*{_MARKS}</object>\s*"
    )


# The kit's order and Roboflow's; the places of xmin, ymin, xmax and ymax among the groups.
_LAYOUTS = (
    (_object("xmin", "ymin", "xmax", "ymax"), (3, 4, 5, 6)),
    (_object("xmin", "xmax", "ymin", "ymax"), (3, 5, 4, 6)),
)
# What is between two objects, and the groups of one.
_COLUMNS = 8
_END = "</annotation>"
_MARK = re.compile(rf"<(\w+)>({_T})<")

_SAYS_SOMETHING = re.compile(r">\s*(?!Unknown<)[^<\s]")

_NAME = re.compile(rb"<object>\s*<name>([^<&]*)</name>")
_FILE_NAME = re.compile(r"<filename>([^<&]*)</filename>")


class Broken(msgspec.Struct):
    """An object that cannot be read: its number in the file, from 1, and why."""

    number: int
    message: str
    text: str = ""


class Content(msgspec.Struct):
    """What an XML file says. extra: what a Pascal VOC target gets back and others have no place for.

    swapped: annotations whose corners stood in another order. is_plain: see Item.
    """

    width: int | None
    height: int | None
    annotations: list[Annotation] = []
    broken: list[Broken] = []
    swapped: list[Annotation] = []
    extra: dict[str, Any] = {}
    is_plain: bool = False


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
        found = _pieces_of(text[head.end() :])
        if found is None:
            return None
        pieces, (xmin, ymin, xmax, ymax) = found
        content = Content(int(head[5]) or None, int(head[6]) or None)
        is_plain = len(pieces) > 1
        labels, offset, add = self._labels, self._offset, content.annotations.append
        for name, before, left, top, right, bottom, after in zip(
            pieces[1::_COLUMNS],
            pieces[2::_COLUMNS],
            map(float, pieces[xmin::_COLUMNS]),
            map(float, pieces[ymin::_COLUMNS]),
            map(float, pieces[xmax::_COLUMNS]),
            map(float, pieces[ymax::_COLUMNS]),
            pieces[7::_COLUMNS],
            strict=True,
        ):
            label = labels.get(name)
            if label is None:
                label = labels.get(name.strip(), NO_CLASS)
                is_plain = is_plain and label != NO_CLASS
            annotation = Annotation(
                label, (left - offset, top - offset, right - left + offset, bottom - top + offset)
            )
            add(annotation)
            if right < left or bottom < top:
                annotation.box = _ordered(left, top, right, bottom, offset)
                content.swapped.append(annotation)
            marks = before + after
            attributes = self._marks.get(marks)
            if attributes is None:
                self._marks[marks] = attributes = _attributes_of_marks(_MARK.findall(marks))
            if attributes:
                annotation.attributes = attributes.copy()
                is_plain = False
        content.is_plain = is_plain
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
        content.is_plain = bool(content.annotations) and all(
            one.label != NO_CLASS and one.attributes is None and one.box and not (one.shape or one.angle)
            for one in content.annotations
        )
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


class Names:
    """Gathers the names of the objects of many files, parts of them excepted, and their kinds of
    annotation."""

    def __init__(self) -> None:
        self.kinds: set[Kind] = {"box"}
        self._raw: set[bytes] = set()
        self._names: set[str] = set()

    def see(self, data: bytes) -> None:
        """Look through one file. Raises InvalidXml."""
        if b"<polygon" in data:
            self.kinds.add("polygon")
        if b"<robndbox" in data or b"<name>rotation</name>" in data:
            self.kinds.add("rotated_box")
        found = _NAME.findall(data)
        if len(found) == data.count(b"<object") and data.isascii():
            self._raw.update(found)
        else:
            self._names.update(text_of(element, "name") for element in parse_xml(data).findall("object"))

    def extend(self, other: Names) -> None:
        """Add what was found in other files."""
        self.kinds |= other.kinds
        self._raw |= other._raw
        self._names |= other._names

    def found(self) -> set[str]:
        """Return the names, without the white space around them."""
        return {name for name in (*self._names, *(raw.decode().strip() for raw in self._raw)) if name}


def _pieces_of(text: str) -> tuple[list[str], tuple[int, int, int, int]] | None:
    """Return the objects cut to pieces, and which of those are the corners; None where the text has more in
    it."""
    for pattern, corners in _LAYOUTS:
        pieces: list[str] = pattern.split(text)
        # Nothing may stand between the objects, nor after them but the end.
        if not any(pieces[:-1:_COLUMNS]) and pieces[-1].rstrip() == _END:
            return pieces, corners
    return None


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
