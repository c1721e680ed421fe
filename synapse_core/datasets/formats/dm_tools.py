"""The annotations of one medium of a DM document, version 2, in the terms of the model.

What is no image's, and what only DM knows, is carried along untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from synapse_core.datasets.formats.dm_documents import Media
from synapse_core.datasets.formats.dm_poses import Pose, find_poses
from synapse_core.datasets.formats.dm_rows import attributes_of, is_number
from synapse_core.datasets.model import (
    NO_CLASS,
    Annotation,
    Group,
    Item,
    Kind,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    Relation,
    Shape,
    Text,
)
from synapse_core.datasets.report import Losses

# Attributes under which things that DM has no field for are written, and found again. What begins with _ is
# left alone by DM's own tools.
CROWD, SCORE, CAPTION, PART_OF = "iscrowd", "score", "caption", "_part_of"
# tool -> what its annotations are counted as.
KINDS: dict[str, Kind] = {
    "bounding_box": "box",
    "polygon": "polygon",
    "polyline": "polyline",
    "keypoint": "keypoints",
    "segmentation": "mask",
    "classification": "tag",
    "relation": "relation",
    "group": "group",
}
_HEAD = ("id", "classification", "attrs")


# A tool, and one annotation of it.
Entry: TypeAlias = tuple[str, dict[str, Any]]


class Reading(msgspec.Struct):
    """What an item is read with. labels: class -> its index; points: class -> the names of its points."""

    item: Item
    labels: Mapping[str, int]
    points: Mapping[str, tuple[str, ...]]
    losses: Losses


def read_media(media: Media, reading: Reading) -> list[Annotation]:
    """Return the annotations of one medium. Those that are broken are told as failed."""
    return [one for one, _ in read_with_entries(media, reading)]


def read_with_entries(media: Media, reading: Reading) -> list[tuple[Annotation, list[Entry]]]:
    """Return the annotations of one medium, each with the entries that it was read from."""
    found: list[tuple[Annotation, list[Entry]]] = []
    poses = find_poses(media) if reading.item.media == "image" else []
    taken = {id(entry) for pose in poses for _, entry in pose.entries()}
    wholes: dict[str, tuple[Polygon, list[Entry]]] = {}
    for tool, entries in media.items():
        for entry in entries:
            if id(entry) in taken or (one := _read(tool, entry, reading)) is None:
                continue
            mine = [(tool, entry)]
            if isinstance(one.shape, Polygon):
                whole = wholes.get(str((one.attributes or {}).get(PART_OF, "")))
                if whole is not None:
                    whole[0].rings += one.shape.rings
                    whole[1].append(mine[0])
                    continue
                if one.id is not None:
                    wholes[str(one.id)] = one.shape, mine
            found.append((one, mine))
    return found + [(_read_pose(pose, reading), list(pose.entries())) for pose in poses]


def label_of(entry: dict[str, Any], reading: Reading) -> int | None:
    """Return the class of an annotation, NO_CLASS where it has none, None where it is not in the list."""
    name = entry.get("classification")
    return reading.labels.get(name) if isinstance(name, str) and name else NO_CLASS


def _read(tool: str, entry: dict[str, Any], reading: Reading) -> Annotation | None:
    """Return one annotation; None where it is broken, and told."""
    label = label_of(entry, reading)
    if label is None:
        _fail(tool, entry, reading, "UNKNOWN_CLASS", "the class is not in the dataset's list")
        return None
    one = Annotation(label, id=str(entry["id"]) if entry.get("id") not in (None, "") else None)
    data = entry.get("data")
    if data is None and tool in KINDS and tool != "classification":
        _fail(tool, entry, reading, "BAD_ROW", "there is no data, so nobody knows where it is")
        return None
    attributes = attributes_of(entry)
    if (
        reading.item.media != "image"
        or isinstance(data, dict) != (tool == "classification")
        or tool not in KINDS
    ):
        one.shape = Opaque(tool, {key: value for key, value in entry.items() if key not in _HEAD})
    elif tool == "bounding_box":
        if not (isinstance(data, list) and len(data) == 4 and all(map(is_number, data))):
            _fail(tool, entry, reading, "BAD_ROW", "data is not [x, y, width, height]")
            return None
        one.box = data[0], data[1], data[2], data[3]
        for at, (name, value) in enumerate(attributes):
            if name == "rotation" and is_number(value):
                one.angle = value
                del attributes[at]
                break
    elif tool == "keypoint":
        seen = entry.get("visibility", 2)
        if not (isinstance(data, list) and len(data) == 2 and all(map(is_number, data)) and is_number(seen)):
            _fail(tool, entry, reading, "BAD_ROW", "data is not [x, y], or visibility not 0, 1 or 2")
            return None
        one.points = [*data, seen]
        if entry.get("group_id") is not None:
            one.group = str(entry["group_id"])
    else:
        shape = _shape(tool, entry, data, reading)
        if isinstance(shape, str):
            _fail(tool, entry, reading, "BAD_ROW", shape)
            return None
        one.shape = shape
    _set_attributes(one, attributes)
    return one


def _shape(tool: str, entry: dict[str, Any], data: Any, reading: Reading) -> Shape | str | None:
    """Return what an annotation shows, None for a tag, a text saying what is wrong for what is broken."""
    if tool in ("polygon", "polyline"):
        flat: list[float] = []
        for point in data if isinstance(data, list) else [None]:
            if not (isinstance(point, list) and len(point) == 2 and all(map(is_number, point))):
                return "data is no list of [x, y]"
            flat += point
        return Polygon([flat]) if tool == "polygon" else Polyline(flat)
    if tool == "segmentation":
        return _mask(entry, data, reading.item)
    if tool in ("relation", "group"):
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            return "data is no list of ids"
        if tool == "group":
            return Group(data)
        return Relation(data[0], data[1]) if len(data) == 2 else "data is not [from, to]"
    return None


def _mask(entry: dict[str, Any], data: Any, item: Item) -> Shape | str:
    if not item.width or not item.height:
        return Opaque("segmentation", {key: value for key, value in entry.items() if key not in _HEAD})
    if not isinstance(data, list):
        return "data is no list"
    pixels = item.width * item.height
    is_runs = (
        entry.get("encoding", "dm_rle" if data and isinstance(data[0], list) else "raw_indices") == "dm_rle"
    )
    if is_runs:
        if not all(isinstance(one, list) and len(one) == 2 and _are_counts(one) for one in data):
            return "data is no list of [start, length]"
        last = max((start + length for start, length in data), default=0)
    else:
        if not _are_counts(data):
            return "data is no list of whole numbers"
        last = max(data, default=-1) + 1
    if last > pixels:
        return f"pixel {last - 1} lies outside the image of {item.width} x {item.height}"
    return Mask(item.height, item.width, "row_runs" if is_runs else "row_indices", data)


def _are_counts(values: list[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _set_attributes(one: Annotation, attributes: list[tuple[str, Any]]) -> None:
    kept: dict[str, Any] = {}
    for name, value in attributes:
        if name == CROWD and value is True and not one.is_crowd:
            one.is_crowd = True
        elif name == SCORE and isinstance(value, float) and 0 <= value <= 1 and one.score is None:
            one.score = value
        elif name == CAPTION and one.shape is None and _is_bare(one) and isinstance(value, str):
            one.shape = Text(value)
        elif name in kept:
            kept[name] = [*kept[name], value] if isinstance(kept[name], list) else [kept[name], value]
        else:
            kept[name] = value
    one.attributes = kept or None


def _is_bare(one: Annotation) -> bool:
    return one.box is None and one.points is None and one.label == NO_CLASS


def _read_pose(pose: Pose, reading: Reading) -> Annotation:
    """Return an object with points as one annotation."""
    points: list[float] = []
    for name in reading.points.get(pose.name, tuple(pose.points)):
        point = pose.points.get(name)
        points += [0.0, 0.0, 0] if point is None else [*point["data"], point.get("visibility", 2)]
    head = pose.box or (pose.shape and pose.shape[1]) or pose.group or {}
    one = Annotation(
        reading.labels.get(pose.name, NO_CLASS),
        points=points,
        id=str(head.get("id") or pose.id),
        group=pose.id,
    )
    attributes: list[tuple[str, Any]] = []
    for tool, entry in (("bounding_box", pose.box), pose.shape or ("", None)):
        if entry is not None and (part := _read(tool, entry, reading)) is not None:
            one.box = part.box or one.box
            one.angle = part.angle or one.angle
            one.shape = part.shape or one.shape
            one.is_crowd = part.is_crowd or one.is_crowd
            one.score = part.score if one.score is None else one.score
            attributes += (part.attributes or {}).items()
    attributes += attributes_of(pose.group) if pose.group is not None else []
    for name, point in pose.points.items():
        attributes += [(f"{name}.{attribute}", value) for attribute, value in attributes_of(point)]
    _set_attributes(one, attributes)
    return one


def _fail(tool: str, entry: dict[str, Any], reading: Reading, code: str, message: str) -> None:
    item = reading.item
    kind = KINDS.get(tool, "other")
    reading.losses.unreadable(code, item.key, kind, item.where, message, annotation=entry.get("id"))
