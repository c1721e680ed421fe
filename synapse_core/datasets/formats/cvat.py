"""CVAT's own XML, version 1.1: all images of a task in one file, and the tracks of a video.

Coordinates are pixels from 0; a box is turned by `rotation` degrees, clockwise, about its centre. A video's
tracks are read as the images of its frames, as far as the file states them: what CVAT would fill in between
key frames is told, not made up. Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.cvat_shapes import KIND_OF_TAG, Shapes, skeleton_edges
from synapse_core.datasets.formats.cvat_write import write
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import ClassDef, Header, Item, Kind
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import measure
from synapse_core.datasets.source import Source, is_image, walk
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.datasets.xml_text import InvalidXml, parse_xml, text_of
from synapse_core.errors import InvalidDataset

_MOST_BYTES = 2 << 30
_IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def detect(seen: Glance) -> Evidence | None:
    """Tell CVAT by the beginning of an XML file."""
    for path in seen.files(".xml")[:20]:
        head = seen.head(path)
        if b"<annotations>" in head and (b"<version>1.1" in head or b"<image " in head or b"<track " in head):
            return Evidence(0.95, (f"{path} holds <annotations> of CVAT",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read every file of the source that is CVAT's."""
    return CvatReader(source, options)


@dataclass(frozen=True)
class _Image:
    """One <image> as text, so that it can go to another process. file: where it stands."""

    key: str
    split: str | None
    text: bytes
    file: str


class CvatReader:
    """The images of CVAT's files with their shapes."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        told = Losses(0, 0)
        self._images: list[_Image] = []
        self._files = _Files(source)
        classes: dict[str, ClassDef] = {}
        kinds: set[Kind] = set()
        for path in self._files.annotations():
            root = self._root(path, told)
            if root is None:
                continue
            for entry in _classes_of(root, kinds):
                classes.setdefault(entry.name, entry)
            for element in _frames(root, path, told):
                self._images.append(_image_of(element, path))
        if not self._images:
            raise InvalidDataset(
                f"There are no images in the XML files of {source.root}.",
                hint="CVAT writes <annotations> with an <image> for each image.",
            )
        self.header = Header(
            "cvat",
            list(classes.values()),
            frozenset(kinds),
            tuple(dict.fromkeys(image.split for image in self._images if image.split)),
        )
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._shapes = Shapes(self.header.classes)
        self._wants_images = options.images != "none"
        self.wants_shapes = True

    @property
    def wants_extra(self) -> bool:
        return self._shapes.wants_extra

    @wants_extra.setter
    def wants_extra(self, value: bool) -> None:
        self._shapes.wants_extra = value

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for image in self._images:
            yield image.key, image.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            image = self._images[index]
            yield index, self._item(image, parse_xml(image.text), losses)

    def _item(self, image: _Image, element: Element, losses: Losses) -> Item:
        item = Item(image.key, None, None, [], image.split, None, f"{image.file}: image {image.key}")
        item.image = self._files.image(posixpath.dirname(image.file), element.get("subset"), image.key)
        if item.image is not None:
            item.key = posixpath.join(posixpath.dirname(image.key), item.image.rpartition("/")[2])
        elif self._wants_images:
            losses.tell("IMAGE_MISSING", item.key, item.where)
        identity = element.get("id", "")
        item.id = int(identity) if identity.isdigit() else None
        try:
            item.width, item.height = int(element.attrib["width"]), int(element.attrib["height"])
        except (KeyError, ValueError):
            measure(item, self.source, losses)
        for number, shape in enumerate(element, 1):
            try:
                one = self._shapes.read(shape, item.width or 0, item.height or 0)
            except (KeyError, ValueError) as error:
                message = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                kind = KIND_OF_TAG.get(shape.tag, "other")
                where = f"{item.where}, shape {number}"
                losses.unreadable("BAD_ROW", item.key, kind, where, message, before=dict(shape.attrib))
            else:
                item.annotations.append(one)
        return item

    def _root(self, path: str, told: Losses) -> Element | None:
        try:
            root = parse_xml(self.source.read(path, _MOST_BYTES))
        except InvalidXml as error:
            told.tell("BAD_FILE", path, path, message=str(error))
            return None
        return root if root.tag == "annotations" else None


class _Files:
    """Finds CVAT's files and the images that they are about."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._paths = set() if source.only is not None else set(walk(source))

    def annotations(self) -> list[str]:
        if self._source.only is not None:
            return [self._source.only]
        return sorted(
            path
            for path in self._paths
            if path.lower().endswith(".xml") and b"<annotations" in self._source.head(path, 4096)
        )

    def image(self, folder: str, subset: str | None, name: str) -> str | None:
        """Return the path of an image, None where it is not there. A frame's name has no extension."""
        names = [name] if is_image(name) else [name + extension for extension in _IMAGE_EXTENSIONS]
        for place in ("images", subset or "", "", posixpath.join("images", subset or "")):
            for one in names:
                path = posixpath.normpath(posixpath.join(folder, place, one))
                if path in self._paths or (self._source.only is not None and self._source.has(path)):
                    return path
        return None


def _image_of(element: Element, path: str) -> _Image:
    subset = element.get("subset") or posixpath.splitext(path.rpartition("/")[2])[0]
    split = SPLIT_NAMES.get(subset.lower(), element.get("subset"))
    if split is not None and split.lower() == "default":
        split = None
    name = element.get("name", "").replace("\\", "/").lstrip("/") or f"image_{element.get('id', '')}"
    element.tail = None
    return _Image(name, split, tostring(element), path)


def _classes_of(root: Element, kinds: set[Kind]) -> list[ClassDef]:
    """Return the labels that the file describes, and those that only its shapes have, sorted.

    Adds the kinds of the shapes to `kinds`.
    """
    parts: dict[str, list[str]] = {}
    described: list[Element] = []
    for label in root.iterfind("meta//labels/label"):
        if parent := text_of(label, "parent"):
            parts.setdefault(parent, []).append(text_of(label, "name"))
        else:
            described.append(label)
    used: dict[str, list[str]] = {}
    for shape in (*root.iterfind("image/*"), *root.iterfind("track")):
        kind = KIND_OF_TAG.get(shape.tag)
        for one in (shape,) if kind else list(shape):
            if one.tag in KIND_OF_TAG:
                is_turned = one.tag == "box" and float(one.get("rotation") or 0) != 0
                kinds.add("rotated_box" if is_turned else KIND_OF_TAG[one.tag])
        points = used.setdefault(shape.get("label", ""), [])
        inner = shape.findall("points") if shape.tag == "skeleton" else shape.findall("track")
        points += [name for one in inner if (name := one.get("label", "")) not in points]
    classes = [_class_of(label, parts) for label in described]
    known = {entry.name for entry in classes} | {""}
    return classes + [
        ClassDef(name, keypoints=tuple(used[name])) for name in sorted(used) if name not in known
    ]


def _class_of(label: Element, parts: dict[str, list[str]]) -> ClassDef:
    name = text_of(label, "name")
    points = tuple(parts.get(name, ()))
    extra: dict[str, object] = {}
    if color := text_of(label, "color"):
        extra["color"] = color
    attributes = [
        {child.tag: (child.text or "").strip() for child in attribute}
        for attribute in label.iterfind("attributes/attribute")
    ]
    if attributes:
        extra["attributes"] = attributes
    edges = skeleton_edges(text_of(label, "svg"), points) if points else ()
    return ClassDef(name, keypoints=points, skeleton=edges, extra=extra)


def _frames(root: Element, path: str, told: Losses) -> list[Element]:
    """Return the images of a file; the frames of a video as images too."""
    images = root.findall("image")
    tracks = root.findall("track")
    if not tracks:
        return images
    size = root.find("meta//original_size")
    step = re.search(r"step=(\d+)", text_of(root, "meta//frame_filter"))
    frames: dict[int, Element] = {}
    for track in tracks:
        shapes = [shape for shape in track if shape.tag in KIND_OF_TAG]
        points = {
            (inner.get("label", ""), shape.get("frame")): shape
            for inner in track.findall("track")
            for shape in inner
        }
        numbers = [int(shape.get("frame", "0")) for shape in shapes]
        missing = 0
        for at, (number, shape) in enumerate(zip(numbers, shapes, strict=True)):
            if shape.get("outside") == "1":
                continue
            following = numbers[at + 1] if at + 1 < len(numbers) else number
            missing += max(0, (following - number) // int(step[1] if step else 1) - 1)
            frame = frames.get(number)
            if frame is None:
                frames[number] = frame = Element("image", id=str(number), name=f"frame_{number:06}")
                if size is not None:
                    frame.set("width", text_of(size, "width"))
                    frame.set("height", text_of(size, "height"))
            shape.set("label", track.get("label", ""))
            shape.set("group_id", f"track {track.get('id', '')}")
            for (label, its_frame), point in points.items():
                if its_frame == shape.get("frame"):
                    SubElement(shape, "points", {**point.attrib, "label": label})
            frame.append(shape)
        if missing:
            message = f"track {track.get('id')} has no shape in {missing} frames between others"
            told.tell("FRAMES_LEFT_OUT", path, path, after=missing, message=message)
    return images + [frames[number] for number in sorted(frames)]


FORMATS = {
    "cvat": Format(
        "cvat",
        "CVAT for images 1.1, XML",
        frozenset({"box", "rotated_box", "polygon", "polyline", "keypoints", "mask", "tag"}),
        detect,
        read,
        write,
        note="the tracks of a video are read as images of its frames",
    )
}
