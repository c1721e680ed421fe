"""Reads DM documents of either version, one item a medium.

The documents are gone through twice: for the classes and kinds of all, and then for the items. The usual one,
version 2 with nothing but boxes, is decoded straight into records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from synapse_core.datasets.formats.dm_documents import (
    Media,
    is_v1,
    kind_of_media,
    media_ids,
    media_of,
    size_in,
    to_v2,
)
from synapse_core.datasets.formats.dm_layout import Document, read_layout
from synapse_core.datasets.formats.dm_poses import PERSON_POINTS, find_poses
from synapse_core.datasets.formats.dm_rows import attributes_of, is_number
from synapse_core.datasets.formats.dm_tools import CAPTION, KINDS, Reading, read_media
from synapse_core.datasets.model import NO_CLASS, Annotation, ClassDef, Header, Item, Kind
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset, NotFound

# Bytes of documents that are kept from the first pass for the second.
_MOST_KEPT_BYTES = 5 << 20

_Empty = Annotated[list[Any], msgspec.Meta(max_length=0)]


class _Attribute(msgspec.Struct, gc=False):
    name: str
    value: Any = None


class _Box(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    id: str
    classification: str
    data: tuple[float, float, float, float]
    attrs: list[_Attribute] = []


class _NoOther(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An image on which no tool but the one for boxes was used."""

    polygon: _Empty = []
    polyline: _Empty = []
    keypoint: _Empty = []
    segmentation: _Empty = []
    classification: _Empty = []
    relation: _Empty = []
    group: _Empty = []


class _Image(_NoOther, gc=False):
    bounding_box: list[_Box] = []


class _BoxHead(msgspec.Struct, gc=False):
    classification: str
    attrs: list[_Attribute] = []


class _ImageHead(_NoOther, gc=False):
    bounding_box: list[_BoxHead] = []


class _PlainHead(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What the first pass needs of a plain document."""

    images: Annotated[list[_ImageHead], msgspec.Meta(min_length=1, max_length=1)]
    classification: dict[str, list[str]] = {}


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A document of version 2 with one image and nothing but boxes."""

    images: Annotated[list[_Image], msgspec.Meta(min_length=1, max_length=1)]
    classification: dict[str, list[str]] = {}


class Origin(msgspec.Struct):
    """What an item was read from, for a DM target.

    document, kept: bytes of its document, and of the one beside. name: of the document. position: of the
    medium in it, from 0, of `of`.
    """

    document: bytes
    kept: bytes | None
    name: str
    position: int
    of: int


class Opened(msgspec.Struct):
    """A document of any content. media: (kind, annotations, stated size) of each of its media.

    version: 1 or 2. document: as it was read; kept: the one of the other version beside it.
    """

    version: int
    document: dict[str, Any]
    kept: dict[str, Any] | None
    media: list[tuple[str, Media, tuple[int, int] | None]]


class _Seen(msgspec.Struct):
    """What is in the documents of a dataset. points: class -> the names of its points, as they come."""

    names: set[str] = set()
    kinds: set[Kind] = set()
    points: dict[str, dict[str, None]] = {}


class DmReader:
    """The media of a DM dataset."""

    def __init__(self, source: Source, options: ConvertOptions, format_name: str) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        layout = read_layout(source, told)
        self._kept: dict[str, bytes] = {}
        seen = _Seen()
        # Of each item: its document, its place among the media of that, and how many these are.
        self._documents: list[Document] = []
        self._positions = array("i")
        self._counts = array("i")
        self._look_through(layout.documents, seen, told)
        classes = _classes(seen, layout.classes)
        self._points = {entry.name: entry.keypoints for entry in classes if entry.keypoints}
        self._labels = {entry.name: index for index, entry in enumerate(classes)}
        self.header = Header(format_name, classes, frozenset(seen.kinds), layout.splits)
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for document, position in zip(self._documents, self._positions, strict=True):
            yield _key(document, position), document.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        decode = msgspec.json.Decoder(_Plain).decode
        labels = {"": NO_CLASS, **self._labels}
        last: Document | None = None
        opened = Opened(2, {}, None, [])
        for index in range(start, stop):
            document, position, of = self._documents[index], self._positions[index], self._counts[index]
            image = document.image if position == 0 else None
            key = _key(document, position)
            item = Item(key, None, None, [], document.split, image, document.path or image or "")
            if document.path is None:
                self._measure(item, losses)
                yield index, item
                continue
            try:
                data = self._read(document.path)
                kept = self.source.read(document.meta) if document.meta else None
            except (NotFound, InvalidDataset) as error:
                losses.tell("BAD_FILE", key, document.path, message=error.message)
                continue
            item.extra = {"dm": Origin(data, kept, document.key, position, of)}
            try:
                if of != 1 or kept is not None:
                    raise msgspec.ValidationError  # not a plain one
                boxes = decode(data).images[0].bounding_box
            except msgspec.ValidationError:
                if document is not last:
                    last, opened = document, open_document(data, kept)
                self._fill(item, opened, position, losses)
            else:
                self._measure(item, losses)
                try:
                    item.annotations = [
                        Annotation(labels[box.classification], box.data, id=box.id)
                        if not box.attrs
                        else self._with_attributes(box, item, losses)
                        for box in boxes
                    ]
                    item.is_plain = bool(boxes) and not any(
                        box.attrs or not box.classification for box in boxes
                    )
                except KeyError:  # the file has changed since it was looked through
                    self._fill(item, open_document(data, None), 0, losses)
            yield index, item

    def _with_attributes(self, box: _Box, item: Item, losses: Losses) -> Annotation:
        attributes = [{"name": one.name, "value": one.value} for one in box.attrs]
        entry = {"id": box.id, "classification": box.classification, "attrs": attributes, "data": [*box.data]}
        return read_media({"bounding_box": [entry]}, self._reading(item, losses))[0]

    def _fill(self, item: Item, opened: Opened, position: int, losses: Losses) -> None:
        """Give an item what its document says of the medium at a position."""
        if not opened.media:
            self._measure(item, losses)
            return
        item.media, media, size = opened.media[position]
        if size is not None:
            item.width, item.height = size
        elif item.media == "image":
            self._measure(item, losses)
        if item.media != "image" and item.image is not None:
            item.image = None
        item.annotations = read_media(media, self._reading(item, losses))

    def _reading(self, item: Item, losses: Losses) -> Reading:
        return Reading(item, self._labels, self._points, losses)

    def _measure(self, item: Item, losses: Losses) -> None:
        """Give an item the size of its image file: DM shows it as its EXIF mark says."""
        if item.image is None:
            losses.tell("IMAGE_MISSING", item.key, item.where)
            return
        try:
            size = size_of(self.source, item.image)
        except InvalidDataset as error:
            losses.tell("BAD_FILE", item.key, item.image, message=error.message)
            return
        if size is None:
            losses.tell("IMAGE_MISSING", item.key, item.image)
            item.image = None
            return
        item.width, item.height = size.upright
        if size.orientation >= 5:
            losses.tell("EXIF_ORIENTATION", item.key, item.image, after=[item.width, item.height])

    def _read(self, path: str) -> bytes:
        return self._kept.pop(path, None) or self.source.read(path)

    def _add(self, document: Document, count: int) -> None:
        """Add the media of a document to the items."""
        for position in range(count):
            self._documents.append(document)
            self._positions.append(position)
            self._counts.append(count)

    def _look_through(self, documents: list[Document], seen: _Seen, told: Losses) -> None:
        """Collect what is in all documents; those that cannot be read are told, and have no items."""
        decode = msgspec.json.Decoder(_PlainHead).decode
        listed: dict[str, list[str]] = {}
        room = _MOST_KEPT_BYTES
        names = seen.names
        for document in documents:
            if document.path is None:
                self._add(document, 1)
                continue
            try:
                data = self.source.read(document.path)
                try:
                    plain = decode(data)
                except msgspec.ValidationError:
                    kept = self.source.read(document.meta) if document.meta else None
                    opened = open_document(data, kept)
                    _see_listed(opened.document.get("classification"), seen)
                    for kind, media, _ in opened.media:
                        _see(kind, media, seen)
                    count = max(1, len(opened.media))
                else:
                    count = 1
                    if plain.classification != listed:  # mostly it is the same in every document
                        listed = plain.classification
                        _see_listed(listed, seen)
                    boxes = plain.images[0].bounding_box
                    names.update([box.classification for box in boxes])
                    seen.kinds.update(_kinds_of_boxes(boxes, data))
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                told.tell("BAD_FILE", document.key, document.path, message=str(error))
                continue
            self._add(document, count)
            if (room := room - len(data)) > 0:
                self._kept[document.path] = data
        names.discard("")


def _kinds_of_boxes(boxes: list[_BoxHead], data: bytes) -> set[Kind]:
    if b'"rotation"' not in data:
        return {"box"} if boxes else set()
    return {
        "rotated_box" if any(one.name == "rotation" and one.value for one in box.attrs) else "box"
        for box in boxes
    }


def open_document(data: bytes, kept: bytes | None) -> Opened:
    """Return the media of a document of any content.

    Raises InvalidDataset where it is not built like one, and msgspec.DecodeError where it is no JSON.
    """
    document = msgspec.json.decode(data)
    beside = msgspec.json.decode(kept) if kept else None
    if not isinstance(document, dict) or not (beside is None or isinstance(beside, dict)):
        raise InvalidDataset("The document is no mapping.")
    if isinstance(document.get("annotation_data"), dict):  # as the backend and to_v2's callers pass it on
        beside = document.get("annotation_meta") or beside
        document = document["annotation_data"]
    version = 1 if is_v1(document) else 2
    media = media_of(to_v2(document) if version == 1 else document)
    one = document if version == 1 else beside
    sizes = (
        [(kind_of_media(name), size_in(one, name)) for name in media_ids(one)] if one and is_v1(one) else []
    )
    found = []
    for place, (kind, entries) in enumerate(media):
        # A document beside may have other media meanwhile.
        size = sizes[place][1] if len(sizes) == len(media) and sizes[place][0] == kind else None
        found.append((kind, entries, size))
    return Opened(version, document, beside, found)


def _see_listed(listed: object, seen: _Seen) -> None:
    """Collect the classes that a document lists; those of key points are the points' names."""
    for tool, names in listed.items() if isinstance(listed, dict) else ():
        if tool != "keypoint" and isinstance(names, list):
            seen.names.update(name for name in names if isinstance(name, str))


def _see(kind: str, media: Media, seen: _Seen) -> None:
    """Collect what is in one medium of a document."""
    taken: set[int] = set()
    for pose in find_poses(media) if kind == "image" else []:
        taken.update(id(entry) for _, entry in pose.entries())
        seen.names.add(pose.name)
        seen.kinds.add("keypoints")
        seen.points.setdefault(pose.name, {}).update(dict.fromkeys(pose.points))
    for tool, entries in media.items():
        for entry in entries:
            if id(entry) in taken:
                continue
            name = entry.get("classification")
            if isinstance(name, str):
                seen.names.add(name)
            seen.kinds.add(_kind(tool, entry) if kind == "image" else "other")


def _kind(tool: str, entry: dict[str, Any]) -> Kind:
    if tool == "bounding_box" and any(
        name == "rotation" and is_number(value) and value for name, value in attributes_of(entry)
    ):
        return "rotated_box"
    if tool == "classification":
        is_caption = not entry.get("classification") and dict(attributes_of(entry)).get(CAPTION) is not None
        return "caption" if is_caption else "tag"
    return "other" if isinstance(entry.get("data"), dict) else KINDS.get(tool, "other")


def _classes(seen: _Seen, listed: list[ClassDef]) -> list[ClassDef]:
    """Return all classes: those of classes.json in its order, then the others by name."""
    known = {entry.name: entry for entry in listed}
    classes = [*known.values(), *(ClassDef(name) for name in sorted(seen.names - set(known)))]
    found = []
    for entry in classes:
        names = tuple(seen.points.get(entry.name, ()))
        if not entry.keypoints and set(names) <= set(PERSON_POINTS):
            names = PERSON_POINTS if names else ()
        more = [name for name in names if name not in entry.keypoints]
        found.append(msgspec.structs.replace(entry, keypoints=(*entry.keypoints, *more)) if more else entry)
    return found


def _key(document: Document, position: int) -> str:
    """Return the key of a medium: its image's path, with its number where a document has several."""
    if position == 0:
        return document.key
    stem, dot, extension = document.key.rpartition(".")
    return f"{stem}_{position + 1}{dot}{extension}" if dot else f"{document.key}_{position + 1}"
