"""LabelMe: one JSON file an image, beside it.

Points are pixels of the image as it is shown. Polygons of one label and group_id are the parts of one object.
Flags of the file are classes of the whole image. Source: labelme 5, `label_file.py`.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from synapse_core.datasets.card import json_files
from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.labelme_shapes import Shape, annotation_of, kind_of_shape, merged_parts
from synapse_core.datasets.formats.labelme_write import write
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.image_size import image_size
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, Kind
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source, inside, is_image, walk
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset, NotFound


class _Names(msgspec.Struct):
    """What the first look takes from a shape."""

    label: Any = None
    shape_type: str = "polygon"


class _Look(msgspec.Struct):
    shapes: list[_Names]
    imagePath: str | None = None  # noqa: N815  # LabelMe's name
    flags: dict[str, Any] | None = None


class _File(msgspec.Struct):
    """A file. Shapes and the image in it stay as text until somebody needs them."""

    shapes: list[msgspec.Raw]
    imagePath: str | None = None  # noqa: N815
    imageData: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815
    imageHeight: int | float | None = None  # noqa: N815
    imageWidth: int | float | None = None  # noqa: N815
    flags: dict[str, Any] | None = None


_look = msgspec.json.Decoder(_Look)
_file = msgspec.json.Decoder(_File)
_shape = msgspec.json.Decoder(Shape)


def detect(seen: Glance) -> Evidence | None:
    """Tell LabelMe by the keys of a few JSON files."""
    for path in seen.files(".json")[:5]:
        head = seen.head(path)
        if b'"shapes"' in head and (
            b'"imagePath"' in head or b'"shape_type"' in head or b'"imageData"' in head
        ):
            return Evidence(0.95, (f"{path} has the shapes of LabelMe",))
        # The embedded image may come first, and be long.
        if b'"imageData"' in head and b'"images"' not in head:
            return Evidence(0.8, (f"{path} has the imageData of LabelMe",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read which files there are, and which labels are in them."""
    return LabelMeReader(source, options)


@dataclass(frozen=True)
class _Entry:
    path: str
    key: str
    split: str | None
    image: str | None


class LabelMeReader:
    """The images of LabelMe's files with their shapes."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        self._entries: list[_Entry] = []
        labels: set[str] = set()
        flags: set[str] = set()
        kinds: set[Kind] = set()
        self._paths = set() if source.only is not None else set(walk(source))
        for path in json_files(source):
            try:
                look = _look.decode(source.read(path))
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                told.tell("BAD_FILE", path, path, message=str(error))
                continue
            labels |= {str(shape.label) for shape in look.shapes if shape.label is not None}
            flags |= {name for name, value in (look.flags or {}).items() if value is True}
            kinds |= {kind_of_shape(shape.shape_type) for shape in look.shapes}
            self._entries.append(self._entry(path, look.imagePath))
        if not self._entries:
            raise InvalidDataset(
                f"There are no files of LabelMe in {source.root}.",
                hint="LabelMe has one JSON file an image, with shapes and imagePath.",
            )
        self._entries.sort(key=lambda entry: (entry.split or "", entry.key))
        names = [*sorted(labels), *sorted(flags - labels)]
        if flags:
            kinds.add("tag")
        splits = tuple(dict.fromkeys(entry.split for entry in self._entries if entry.split))
        self.header = Header("labelme", [ClassDef(name) for name in names], frozenset(kinds), splits)
        self.found = Losses(len(names), len(names))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._labels = {name: index for index, name in enumerate(names)}
        self._wants_images = options.images != "none"

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for entry in self._entries:
            yield entry.key, entry.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            entry = self._entries[index]
            try:
                content = _file.decode(self.source.read(entry.path))
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                losses.tell("BAD_FILE", entry.key, entry.path, message=str(error))
                continue
            yield index, self._item(entry, content, losses)

    def _entry(self, path: str, stated: str | None) -> _Entry:
        folder, _, name = path.rpartition("/")
        stem = posixpath.splitext(name)[0]
        stated = (stated or "").replace("\\", "/")
        image = inside(posixpath.join(folder, stated)) if stated else None
        if image is None or not self._has(image):
            beside = posixpath.join(folder, posixpath.basename(stated) or f"{stem}.jpg")
            image = beside if self._has(beside) else self._of_stem(posixpath.join(folder, stem))
        extension = posixpath.splitext(image or stated)[1]
        parts = posixpath.join(folder, stem + (extension if is_image(f"x{extension}") else ".jpg")).split("/")
        split = SPLIT_NAMES.get(parts[0].lower()) if len(parts) > 1 else None
        return _Entry(path, "/".join(parts[1:] if split else parts), split, image)

    def _has(self, path: str) -> bool:
        return path in self._paths or (self.source.only is not None and self.source.has(path))

    def _of_stem(self, stem: str) -> str | None:
        names = (
            f"{stem}{extension}" for extension in (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")
        )
        return next((name for name in names if self._has(name)), None)

    def _item(self, entry: _Entry, content: _File, losses: Losses) -> Item:
        item = Item(entry.key, None, None, [], entry.split, entry.image, entry.path)
        if content.imageWidth and content.imageHeight:
            item.width, item.height = int(content.imageWidth), int(content.imageHeight)
        else:
            self._measure(item, content, losses)
        if item.image is None and self._wants_images:
            is_embedded = bytes(content.imageData)[:1] == b'"'
            message = "it is embedded in the file" if is_embedded else ""
            losses.tell("IMAGE_MISSING", item.key, item.where, message=message)
        found: list[tuple[str, Annotation]] = []
        for number, raw in enumerate(content.shapes, 1):
            where = f"{item.where}: shape {number}"
            try:
                shape = _shape.decode(raw)
                label = self._labels.get(str(shape.label), -1) if shape.label is not None else -1
                found.append((shape.shape_type, annotation_of(shape, label, item)))
            except (msgspec.DecodeError, ValueError) as error:
                losses.unreadable(
                    "BAD_ROW",
                    item.key,
                    "other",
                    where,
                    str(error),
                    before=bytes(raw)[:200].decode("utf-8", "replace"),
                )
        item.annotations = merged_parts(found)
        tags = [name for name, value in (content.flags or {}).items() if value is True]
        item.annotations += [Annotation(self._labels[name]) for name in tags]
        return item

    def _measure(self, item: Item, content: _File, losses: Losses) -> None:
        """Take the size from the image, that in the file where there is no other."""
        try:
            size = size_of(self.source, item.image) if item.image is not None else None
            if size is None:
                text = msgspec.json.decode(content.imageData)
                if isinstance(text, str):
                    size = image_size(base64.b64decode(text))
        except (InvalidDataset, ValueError, binascii.Error) as error:
            losses.tell("BAD_FILE", item.key, item.image or item.where, message=str(error))
            return
        if size is not None:
            item.width, item.height = size.upright


FORMATS = {
    "labelme": Format(
        "labelme",
        "LabelMe JSON, one file an image",
        frozenset({"box", "polygon", "polyline", "keypoints", "mask", "tag"}),
        detect,
        read,
        write,
        is_by_stem=True,
    )
}
