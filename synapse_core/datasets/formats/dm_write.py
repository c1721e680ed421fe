"""Writes DM datasets of either version: json/, original_files/, classes.json, and meta/ where a DM document
of the other version has more to say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.dm_documents import (
    Media,
    classes_by_tool,
    is_v1,
    media_ids,
    open_document,
    to_v1,
    to_v2,
)
from synapse_core.datasets.formats.dm_entries import EntryWriter
from synapse_core.datasets.formats.dm_layout import CLASSES, DOCUMENTS, IMAGES, META, SPLITS
from synapse_core.datasets.formats.dm_read import Origin
from synapse_core.datasets.formats.dm_tools import Entry, Reading, read_with_entries
from synapse_core.datasets.model import Annotation, Item
from synapse_core.datasets.naming import safe_name
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import is_image, without_extension

_FOLDERS = {split: folder for folder, split in reversed(SPLITS.items())}


class _Box(msgspec.Struct, gc=False):
    id: str
    classification: str
    attrs: tuple[()]
    data: Any


class _Part(msgspec.Struct):
    """A medium of a document that was read, until all of its media are there. size: width, height."""

    folder: str
    name: str
    position: int
    kind: str
    media: Media
    size: tuple[int, int] | None
    document: bytes
    kept: bytes | None
    is_unchanged: bool


def write_version(setup: WriterSetup, version: int) -> Writer:
    """Return the writer of a version."""
    return DmWriter(setup, version)


class DmWriter:
    """One document an image; media that were of one document are of one again."""

    def __init__(self, setup: WriterSetup, version: int) -> None:
        self.target = setup.target
        self._source = setup.source
        self._images = setup.options.images
        self._version = version
        self._classes = setup.header.classes
        self._names = [entry.name for entry in self._classes]
        self._labels = {name: index for index, name in enumerate(self._names)}
        self._points = {entry.name: entry.keypoints for entry in self._classes if entry.keypoints}
        self._is_dm = setup.header.format.startswith("dm_")
        self._entries = EntryWriter(self._classes, is_dm=self._is_dm)
        self._parts: list[bytes] = []
        self._merged: list[bytes] = []

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        folder = f"{_FOLDERS.get(item.split, item.split)}/" if item.split else ""
        stem = _stem(name)
        origin: Origin | None = (item.extra or {}).get("dm") if self._is_dm else None
        if origin is not None:
            self._add_known(folder, stem, item, origin, losses)
        else:
            document = self._plain(index, item, losses) if item.is_plain and self._version == 2 else None
            media: Media = {}
            if document is None:
                media = self._entries.write(item, losses, {})
                document = self._encoded(item.media, media, _size(item))
            if self._version == 2 and (item.image is None or "segmentation" in media):
                self._keep_size(f"{folder}{META}/{stem}.json", item)
            self.target.write(f"{folder}{DOCUMENTS}/{stem}.json", document)
        if self._images != "none" and item.image is not None:
            self.target.place(
                self._source, item.image, f"{folder}{IMAGES}/{name}", is_linked=self._images == "link"
            )

    def cut(self) -> Piece:
        piece, self._parts = Piece({"parts": self._parts} if self._parts else {}), []
        return piece

    def merge(self, piece: Piece) -> None:
        self._merged += piece.rows.get("parts", [])

    def finish(self) -> str:
        waiting: dict[tuple[str, str], list[_Part]] = {}
        for row in self._merged:
            part = msgspec.msgpack.decode(row, type=_Part)
            waiting.setdefault((part.folder, part.name), []).append(part)
        for (folder, name), parts in waiting.items():
            self._write_known(folder, name, sorted(parts, key=lambda part: part.position))
        self.target.write(CLASSES, msgspec.json.format(msgspec.json.encode(self._classes), indent=1) + b"\n")
        return ""

    def _plain(self, index: int, item: Item, losses: Losses) -> bytes | None:
        """Return the document of an item with nothing but boxes, None where they have not each an id."""
        names, after = self._names, losses.after
        ids = {one.id for one in item.annotations}
        if ids == {None}:
            boxes = [
                _Box(f"{index:06d}{number:04d}", names[one.label], (), one.box)
                for number, one in enumerate(item.annotations)
            ]
        elif None in ids or len(ids) < len(item.annotations):
            return None
        else:
            boxes = [_Box(str(one.id), names[one.label], (), one.box) for one in item.annotations]
        for one in item.annotations:
            after[one.label] += 1
        losses.counts["box", "written"] += len(boxes)
        found = sorted({box.classification for box in boxes})
        return msgspec.json.encode(
            {"classification": {"bounding_box": found}, "images": ({"bounding_box": boxes},)}
        )

    def _encoded(self, kind: str, media: Media, size: tuple[int, int] | None) -> bytes:
        """Return a new document of one medium."""
        document = {"classification": classes_by_tool([media]), f"{kind}s": [media]}
        if self._version == 1:
            document = to_v1(document)
            if size is not None:
                document["extra"] = {f"{kind}_1": {"width": size[0], "height": size[1]}}
        return msgspec.json.encode(document)

    def _keep_size(self, path: str, item: Item) -> None:
        """Write the size that version 2 would take from the image, where the image is not there."""
        size = _size(item)
        if size is None or (item.image is not None and self._images != "none"):
            return
        extra = {f"{item.media}_1": {"width": size[0], "height": size[1]}}
        self.target.write(
            path, msgspec.json.encode({"extra": extra, "annotations": {}, "annotationsData": {}})
        )

    def _add_known(self, folder: str, stem: str, item: Item, origin: Origin, losses: Losses) -> None:
        """Write what was read from a DM document: as it was, but for what has changed."""
        opened = open_document(origin.document, origin.kept)
        then: Media = opened.media[origin.position][1] if opened.media else {}
        media, is_unchanged = self._media(item, then, losses)
        name = stem if origin.of == 1 else safe_name(_stem(origin.name))
        part = _Part(
            *(folder, name, origin.position, item.media, media, _size(item)),
            *(origin.document, origin.kept, is_unchanged),
        )
        if origin.of == 1:
            self._write_known(folder, name, [part])
        else:
            self._parts.append(msgspec.msgpack.encode(part))

    def _media(self, item: Item, then: Media, losses: Losses) -> tuple[Media, bool]:
        """Return the entries of an item, and True where they are those that it was read from, in all."""
        blank = Item(item.key, item.width, item.height, [], where=item.where, media=item.media)
        nobody = Losses(0, 0)
        read = read_with_entries(then, Reading(blank, self._labels, self._points, nobody))
        waiting: dict[str, list[tuple[Annotation, list[Entry]]]] = {}
        for one, entries in reversed(read):
            waiting.setdefault(str(one.id), []).append((one, entries))
        unchanged: dict[int, list[Entry]] = {}
        for place, one in enumerate(item.annotations):
            same = waiting.get(str(one.id))
            if same and same[-1][0] == one:
                unchanged[place] = same.pop()[1]
        used = sum(len(entries) for entries in unchanged.values())
        is_all = len(unchanged) == len(item.annotations) and used == sum(map(len, then.values()))
        media = self._entries.write(item, losses, unchanged)
        return (then, True) if is_all else (media, False)

    def _write_known(self, folder: str, name: str, parts: list[_Part]) -> None:
        """Write a document whose media are all there."""
        first = parts[0]
        opened = open_document(first.document, first.kept)
        is_unchanged = all(part.is_unchanged for part in parts) and len(parts) == max(1, len(opened.media))
        ones = [one for one in (opened.document, opened.kept) if one is not None and is_v1(one)]
        twos = [one for one in (opened.document, opened.kept) if one is not None and not is_v1(one)]
        if is_unchanged:
            two = twos[0] if opened.version == 2 else to_v2(opened.document, twos[0] if twos else None)
        else:
            two = {"classification": classes_by_tool(part.media for part in parts)}
            for part in parts:
                two.setdefault(f"{part.kind}s", []).append(part.media)
        one = to_v1(two, ones[0] if ones else None)
        if not ones:
            _add_sizes(one, parts)
        document, other = (one, two) if self._version == 1 else (two, ones[0] if ones else None)
        self.target.write(f"{folder}{DOCUMENTS}/{name}.json", msgspec.json.encode(document))
        # Of version 2, only what version 1 does not lead back to is worth a file.
        if other is not None and (self._version == 2 or to_v2(one) != two):
            self.target.write(f"{folder}{META}/{name}.json", msgspec.json.encode(other))


def _add_sizes(document: dict[str, Any], parts: list[_Part]) -> None:
    ids = media_ids(document)
    for media_id, part in zip(ids, parts, strict=False):
        if part.size is not None:
            document["extra"][media_id] = {"width": part.size[0], "height": part.size[1]}


def _stem(name: str) -> str:
    """Return a name without an image's extension; that of a document without an image has none."""
    return without_extension(name) if is_image(name) else name


def _size(item: Item) -> tuple[int, int] | None:
    return (item.width, item.height) if item.width and item.height else None
