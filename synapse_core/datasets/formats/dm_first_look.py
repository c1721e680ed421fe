"""The first look into DM documents: the classes, kinds and key points of all, and the media of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from synapse_core.datasets.formats.dm_documents import Media, open_document
from synapse_core.datasets.formats.dm_layout import Document
from synapse_core.datasets.formats.dm_poses import PERSON_POINTS, find_poses
from synapse_core.datasets.formats.dm_rows import attributes_of, is_number
from synapse_core.datasets.formats.dm_tools import CAPTION, KINDS
from synapse_core.datasets.model import ClassDef, Kind
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset, NotFound

_Empty = Annotated[list[Any], msgspec.Meta(max_length=0)]


class Attribute(msgspec.Struct, gc=False):
    name: str
    value: Any = None


class NoOther(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An image on which no tool but the one for boxes was used."""

    polygon: _Empty = []
    polyline: _Empty = []
    keypoint: _Empty = []
    segmentation: _Empty = []
    classification: _Empty = []
    relation: _Empty = []
    group: _Empty = []


class _BoxHead(msgspec.Struct, gc=False):
    classification: str
    attrs: list[Attribute] = []


class _ImageHead(NoOther, gc=False):
    bounding_box: list[_BoxHead] = []


class _PlainHead(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What the first pass needs of a plain document."""

    images: Annotated[list[_ImageHead], msgspec.Meta(min_length=1, max_length=1)]
    classification: dict[str, list[str]] = {}


class Seen(msgspec.Struct):
    """What is in documents.

    points: class -> the names of its points, as they come. counts: of the media in each document, 0 where it
    cannot be read. problems: why each of those cannot. kept: path -> content, of the first documents.
    """

    names: set[str] = set()
    kinds: set[Kind] = set()
    points: dict[str, dict[str, None]] = {}
    counts: list[int] = []
    problems: list[str] = []
    kept: dict[str, bytes] = {}

    def extend(self, other: Seen) -> None:
        """Add the names, kinds and points of further documents."""
        self.names |= other.names
        self.kinds |= other.kinds
        for name, points in other.points.items():
            self.points.setdefault(name, {}).update(points)


def look_into(source: Source, room: int, documents: Sequence[Document]) -> Seen:
    """Return what is in documents. room: bytes of them that are kept."""
    seen = Seen()
    decode = msgspec.json.Decoder(_PlainHead).decode
    listed: dict[str, list[str]] = {}
    for document in documents:
        count = 1
        if document.path is not None:
            try:
                data = source.read(document.path)
                try:
                    plain = decode(data)
                except msgspec.ValidationError:
                    kept = source.read(document.meta) if document.meta else None
                    opened = open_document(data, kept)
                    _see_listed(opened.document.get("classification"), seen)
                    for kind, media, _ in opened.media:
                        _see(kind, media, seen)
                    count = max(1, len(opened.media))
                else:
                    if plain.classification != listed:  # mostly it is the same in every document
                        listed = plain.classification
                        _see_listed(listed, seen)
                    boxes = plain.images[0].bounding_box
                    seen.names.update([box.classification for box in boxes])
                    seen.kinds.update(_kinds_of_boxes(boxes, data))
                if (room := room - len(data)) > 0:
                    seen.kept[document.path] = data
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                seen.problems.append(str(error))
                count = 0
        seen.counts.append(count)
    return seen


def _kinds_of_boxes(boxes: list[_BoxHead], data: bytes) -> set[Kind]:
    if b'"rotation"' not in data:
        return {"box"} if boxes else set()
    return {
        "rotated_box" if any(one.name == "rotation" and one.value for one in box.attrs) else "box"
        for box in boxes
    }


def _see_listed(listed: object, seen: Seen) -> None:
    """Collect the classes that a document lists; those of key points are the points' names."""
    for tool, names in listed.items() if isinstance(listed, dict) else ():
        if tool != "keypoint" and isinstance(names, list):
            seen.names.update(name for name in names if isinstance(name, str))


def _see(kind: str, media: Media, seen: Seen) -> None:
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


def classes_of(seen: Seen, listed: list[ClassDef]) -> list[ClassDef]:
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
