"""One DM document as version 1 or as version 2: plain data to plain data.

Version 1 describes an event. Each of its maps is keyed by medium (`image_1`, also `image`): `annotations` has
what is there, `annotationsData` where, joined by id; `relations`, `annotationGroups` and `extra` (the size)
stand beside. Version 2 lists media by kind (`images`, `videos`, …), and the annotations of each by tool. It
has no place for the state of the editor, ids of points, sizes and ids of assignments: `to_v1` takes them from
the document that `to_v2` was given, where that is kept beside. The geometry of the tools is in dm_rows.py.
Source: the DM converters of synapse-sdk 2026.2.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from synapse_core.datasets.formats.dm_rows import (
    classification_of,
    entry_of,
    head_of,
    row_of,
)
from synapse_core.errors import InvalidDataset

Document: TypeAlias = dict[str, Any]
# tool -> its annotations, as version 2 writes them.
Media: TypeAlias = dict[str, list[dict[str, Any]]]

MEDIA = ("image", "video", "pcd", "text", "audio", "prompt", "data")
# What version 1 keys by medium.
_MAPS = ("annotations", "annotationsData", "relations", "annotationGroups", "extra")
# Other names under which version 1 has been written.
_TOOLS = {"boundingBox": "bounding_box", "bbox": "bounding_box", "point": "keypoint"}
_EDITOR = {"isLocked": False, "isVisible": True, "isValid": False, "isDrawCompleted": True}


class _Origin(msgspec.Struct):
    """An annotation of version 2 and where version 1 has it. rows: its own in annotationsData."""

    tool: str
    entry: dict[str, Any]
    map: str
    item: dict[str, Any]
    rows: list[dict[str, Any]] = []


def is_v1(document: Mapping[str, Any]) -> bool:
    """Return True for a document of version 1."""
    return "annotations" in document or "annotationsData" in document


def media_of(document: Document) -> list[tuple[str, Media]]:
    """Return (kind of medium, its annotations) of a version 2 document, in order.

    Raises InvalidDataset where it is not built like one.
    """
    found: list[tuple[str, Media]] = []
    for kind in MEDIA:
        for media in _list(document.get(f"{kind}s", []), f"{kind}s"):
            if not isinstance(media, dict):
                raise InvalidDataset(
                    f"An entry of {kind}s is no mapping of tools to annotations: {_short(media)}"
                )
            for tool, entries in media.items():
                if any(not isinstance(entry, dict) for entry in _list(entries, tool)):
                    raise InvalidDataset(f"An annotation of {tool} is no mapping: {_short(entries)}")
            found.append((kind, media))
    return found


def media_ids(document: Document) -> list[str]:
    """Return the ids of the media of a version 1 document, in the order that version 2 has them in."""
    ids = {key for name in _MAPS for key in _map(document, name)}
    return sorted(ids, key=lambda one: (MEDIA.index(kind_of_media(one)), _number(one), one))


def kind_of_media(media_id: str) -> str:
    """Return the kind that a medium's id tells: `image` for image_1 and for image."""
    return next((kind for kind in MEDIA if media_id.startswith(kind)), "data")


def size_in(document: Document, media_id: str) -> tuple[int, int] | None:
    """Return the width and height in pixels that a version 1 document states."""
    stated = _map(document, "extra").get(media_id)
    if not isinstance(stated, dict):
        return None
    width, height = stated.get("width"), stated.get("height")
    if isinstance(width, int | float) and isinstance(height, int | float) and width >= 1 and height >= 1:
        return int(width), int(height)
    return None


def to_v2(document: Document, kept: Document | None = None) -> Document:
    """Return a version 1 document as version 2.

    kept: the version 2 document that it was once made from; it comes back where nothing has changed since.
    Raises InvalidDataset where the document is not built like one.
    """
    lists: dict[str, list[Media]] = {}
    for media_id in media_ids(document):
        media: Media = {}
        for origin in _origins(document, media_id):
            media.setdefault(origin.tool, []).append(origin.entry)
        lists.setdefault(f"{kind_of_media(media_id)}s", []).append(media)
    two = {"classification": classes_by_tool(one for media in lists.values() for one in media), **lists}
    if kept is not None and media_of(to_v2(to_v1(kept))) == media_of(two):
        return copy.deepcopy(kept)
    return two


def to_v1(document: Document, kept: Document | None = None) -> Document:
    """Return a version 2 document as version 1.

    kept: the version 1 document that it was once made from. What is unchanged since is as it was there; what
    has changed keeps what version 2 has no place for.
    Raises InvalidDataset where a document is not built like one.
    """
    now = media_of(document)
    if kept is None:
        result: Document = {name: {} for name in _MAPS}
        result["assignmentId"] = None
        known: dict[str, list[tuple[str, Media]]] = {}
    else:
        result = {name: value for name, value in copy.deepcopy(kept).items() if name not in _MAPS}
        ids = media_ids(kept)
        before = media_of(to_v2(kept))
        if before == now:
            return copy.deepcopy(kept)
        known = {}
        for media_id, (kind, media) in zip(ids, before, strict=True):
            known.setdefault(kind, []).append((media_id, media))
    numbers: dict[str, int] = {}
    for kind, media in now:
        numbers[kind] = numbers.get(kind, 0) + 1
        former = known.get(kind, [])
        if kept is None or numbers[kind] > len(former):
            _add_media(result, f"{kind}_{numbers[kind]}", media, {})
            continue
        media_id, then = former[numbers[kind] - 1]
        if then == media:
            for name in _MAPS:
                if media_id in _map(kept, name):
                    result.setdefault(name, {})[media_id] = copy.deepcopy(kept[name][media_id])
            continue
        origins = {(one.tool, str(one.entry["id"])): one for one in _origins(kept, media_id)}
        _add_media(result, media_id, media, origins)
        if media_id in _map(kept, "extra"):
            result.setdefault("extra", {})[media_id] = copy.deepcopy(kept["extra"][media_id])
    return result


def classes_by_tool(media: Iterable[Media]) -> dict[str, list[str]]:
    """Return tool -> the classes of its annotations, both sorted: what version 2 begins with."""
    found: dict[str, set[str]] = {}
    for one in media:
        for tool, entries in one.items():
            names = {entry["classification"] for entry in entries if entry.get("classification")}
            found.setdefault(tool, set()).update(name for name in names if isinstance(name, str))
    return {tool: sorted(names) for tool, names in sorted(found.items()) if names}


# From version 1


def _origins(document: Document, media_id: str) -> list[_Origin]:
    """Return the annotations, relations and groups of one medium as version 2 has them."""
    rows: dict[Any, list[dict[str, Any]]] = {}
    for row in _items(document, "annotationsData", media_id):
        rows.setdefault(_key(row), []).append(row)
    annotations = _items(document, "annotations", media_id)
    repeated = len({_key(one) for one in annotations}) < len(annotations)
    found = []
    for item in annotations:
        tool = item.get("tool") if isinstance(item.get("tool"), str) else ""
        tool = _TOOLS.get(tool or "", tool or "")
        mine = rows.get(_key(item), [])
        if repeated and len(mine) > 1:
            mine = [mine.pop(0)]  # of annotations with one id, each has its own row
        entry = entry_of(tool, item, mine)
        found.append(_Origin(tool, entry, "annotations", item, mine))
    for item in _items(document, "relations", media_id):
        entry = {**head_of(item), "data": [item.get("annotationId"), item.get("targetAnnotationId")]}
        found.append(_Origin("relation", entry, "relations", item))
    return found + _groups(document, media_id, found)


def _groups(document: Document, media_id: str, found: list[_Origin]) -> list[_Origin]:
    """Return the groups that version 2 writes as such, and give key points the group that they belong to."""
    points = {origin.entry["id"]: origin.entry for origin in found if origin.tool == "keypoint"}
    groups = []
    for item in _items(document, "annotationGroups", media_id):
        members = list(_members(item))
        entry = {**head_of(item), "data": members}
        is_told_by_points = bool(members) and not entry["classification"] and not entry["attrs"]
        for member in members:
            point = points.get(member) if isinstance(member, str) else None
            if point is not None and entry["id"]:
                point.setdefault("group_id", entry["id"])
            is_told_by_points = (
                is_told_by_points and point is not None and point.get("group_id") == entry["id"]
            )
        if not is_told_by_points:
            groups.append(_Origin("group", entry, "annotationGroups", item))
    return groups


def _members(group: dict[str, Any]) -> Iterator[Any]:
    """Yield the ids of a group's members: of `annotationIds`, or of `annotationList` with children."""
    if isinstance(group.get("annotationIds"), list):
        yield from group["annotationIds"]
    waiting = [group.get("annotationList")]
    while waiting:
        members = waiting.pop()
        for member in members if isinstance(members, list) else []:
            if isinstance(member, dict):
                yield member.get("annotationId")
                waiting.append(member.get("children"))


# To version 1


def _add_media(
    result: Document, media_id: str, media: Media, origins: Mapping[tuple[str, str], _Origin]
) -> None:
    """Add one medium to a version 1 document. origins: (tool, id) -> how that was in version 1 before."""
    lists: dict[str, list[Any]] = {name: [] for name in _MAPS if name != "extra"}
    groups: dict[str, list[Any]] = {}
    for tool, entries in media.items():
        for entry in entries:
            origin = origins.get((tool, str(entry.get("id"))))
            if tool == "group":
                lists["annotationGroups"].append(_group_item(entry, origin))
                continue
            if entry.get("group_id") is not None:
                groups.setdefault(str(entry["group_id"]), []).append(entry.get("id"))
            if origin is not None and origin.map == "relations":
                lists["relations"].append(_relation_item(entry, origin))
                continue
            item, rows = _annotation_item(tool, entry, origin)
            lists["annotations"].append(item)
            lists["annotationsData"] += rows
    known = {group.get("id") for group in lists["annotationGroups"]}
    lists["annotationGroups"] += [
        {"id": group, "annotationIds": members} for group, members in groups.items() if group not in known
    ]
    for name, found in lists.items():
        if found or name in ("annotations", "annotationsData"):
            result.setdefault(name, {})[media_id] = found


def _annotation_item(
    tool: str, entry: dict[str, Any], origin: _Origin | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an annotation's item and its rows."""
    if origin is not None and origin.entry == entry:
        return copy.deepcopy(origin.item), copy.deepcopy(origin.rows)
    item = {
        "id": entry.get("id", ""),
        "tool": tool,
        **_EDITOR,
        "label": [],
        "classification": classification_of(entry),
    }
    row = row_of(tool, entry)
    if origin is not None:
        item = {**origin.item, "classification": item["classification"]}
        if row is not None and len(origin.rows) == 1:
            row = {**origin.rows[0], **row}
    return copy.deepcopy(item), [] if row is None else [copy.deepcopy(row)]


def _group_item(entry: dict[str, Any], origin: _Origin | None) -> dict[str, Any]:
    if origin is not None and origin.entry == entry:
        return copy.deepcopy(origin.item)
    item = {"id": entry.get("id", ""), "annotationIds": entry.get("data") or []}
    if entry.get("classification") or entry.get("attrs"):
        item["classification"] = classification_of(entry)
    return copy.deepcopy(item)


def _relation_item(entry: dict[str, Any], origin: _Origin) -> dict[str, Any]:
    if origin.entry == entry:
        return copy.deepcopy(origin.item)
    row = row_of("relation", entry) or {}
    return copy.deepcopy({**origin.item, **row, "classification": classification_of(entry)})


# The parts of a document


def _map(document: Document, name: str) -> dict[str, Any]:
    found = document.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidDataset(f"{name} is no mapping of media to lists: {_short(found)}")
    return found


def _items(document: Document, name: str, media_id: str) -> list[dict[str, Any]]:
    found = _map(document, name).get(media_id)
    items = [] if found is None else _list(found, f"{name}.{media_id}")
    if any(not isinstance(item, dict) for item in items):
        raise InvalidDataset(f"{name}.{media_id} holds something that is no mapping: {_short(items)}")
    return items


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidDataset(f"{name} is no list: {_short(value)}")
    return value


def _short(value: object) -> str:
    return repr(value)[:80]


def _key(item: dict[str, Any]) -> str:
    return item["id"] if isinstance(item.get("id"), str) else repr(item.get("id"))


def _number(media_id: str) -> int:
    found = re.search(r"(\d{1,9})$", media_id)
    return int(found[1]) if found else 0


class Opened(msgspec.Struct):
    """A document of any content. media: (kind, annotations, stated size) of each of its media.

    version: 1 or 2. document: as it was read; kept: the one of the other version beside it.
    """

    version: int
    document: dict[str, Any]
    kept: dict[str, Any] | None
    media: list[tuple[str, Media, tuple[int, int] | None]]


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
