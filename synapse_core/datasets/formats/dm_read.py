"""Reads DM documents of either version, one item a medium.

The documents are gone through twice: for the classes and kinds of all, and then for the items. The usual one,
version 2 with nothing but boxes, is decoded straight into records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import msgspec

from synapse_core.datasets.formats.dm_documents import Opened, open_document
from synapse_core.datasets.formats.dm_first_look import Attribute, NoOther, Seen, classes_of, look_into
from synapse_core.datasets.formats.dm_layout import Document, read_layout
from synapse_core.datasets.formats.dm_tools import Reading, read_media
from synapse_core.datasets.model import NO_CLASS, Annotation, Header, Item
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shares import in_shares, is_shared
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset, NotFound

# Bytes of documents that are kept from the first pass for the second.
_MOST_KEPT_BYTES = 5 << 20


class _Box(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    id: str
    classification: str
    data: tuple[float, float, float, float]
    attrs: list[Attribute] = []


class _Image(NoOther, gc=False):
    bounding_box: list[_Box] = msgspec.field(default_factory=list)


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


class DmReader:
    """The media of a DM dataset."""

    def __init__(self, source: Source, options: ConvertOptions, format_name: str) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        layout = read_layout(source, told)
        self._kept: dict[str, bytes] = {}
        seen = Seen()
        # Of each item: its document, its place among the media of that, and how many these are.
        self._documents: list[Document] = []
        self._positions = array("i")
        self._counts = array("i")
        self._look_through(layout.documents, seen, told, options.most_processes())
        classes = classes_of(seen, layout.classes)
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

    def _look_through(self, documents: list[Document], seen: Seen, told: Losses, processes: int) -> None:
        """Collect what is in all documents; those that cannot be read are told, and have no items."""
        # What another process read would have to be sent.
        room = 0 if is_shared(documents, processes) else _MOST_KEPT_BYTES
        following = iter(documents)
        for found in in_shares(partial(look_into, self.source, room), documents, processes):
            seen.extend(found)
            self._kept |= found.kept
            problems = iter(found.problems)
            for count, document in zip(found.counts, following, strict=False):
                if count:
                    self._add(document, count)
                else:
                    told.tell("BAD_FILE", document.key, document.path or "", message=next(problems))
        seen.names.discard("")


def _key(document: Document, position: int) -> str:
    """Return the key of a medium: its image's path, with its number where a document has several."""
    if position == 0:
        return document.key
    stem, dot, extension = document.key.rpartition(".")
    return f"{stem}_{position + 1}{dot}{extension}" if dot else f"{document.key}_{position + 1}"
