"""The annotations of one item as version 2 of DM has them, and what is lost by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synapse_core.datasets.formats.dm_documents import Media
from synapse_core.datasets.formats.dm_rows import short_id
from synapse_core.datasets.formats.dm_tools import CAPTION, CROWD, PART_OF, SCORE, Entry
from synapse_core.datasets.formats.upright import wrote
from synapse_core.datasets.model import (
    Annotation,
    ClassDef,
    Group,
    Item,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    Relation,
    Text,
    kind_of,
)
from synapse_core.datasets.report import Losses
from synapse_core.datasets.rle import InvalidMask, check_counts


class EntryWriter:
    """Makes entries of annotations. is_dm: the source is DM too, so that what only DM knows has its place."""

    def __init__(self, classes: list[ClassDef], *, is_dm: bool) -> None:
        self._classes = classes
        self._is_dm = is_dm

    def write(self, item: Item, losses: Losses, unchanged: Mapping[int, list[Entry]]) -> Media:
        """Return tool -> entries, and tell what became of each annotation.

        unchanged: place in the item -> the entries that an annotation was read from, where it is as it was.
        """
        media: Media = {}
        ids = _Ids(item, losses)
        for place, one in enumerate(item.annotations):
            if place not in unchanged:
                self._add(one, ids.of(one), item, media, losses)
                continue
            for tool, entry in unchanged[place]:
                media.setdefault(tool, []).append(entry)
            wrote(losses, one)
        _add_groups(item, media, ids)
        return media

    def _add(self, one: Annotation, own_id: str, item: Item, media: Media, losses: Losses) -> None:
        """Add what stands for one annotation."""
        shape = one.shape
        if one.points is not None and (any(one.points) or (one.box is None and shape is None)):
            self._add_points(one, own_id, item, media, losses)
            return
        if one.points is not None:
            losses.change(one, item, "KEYPOINT_PROFILE", "none of its points is labelled, so it has none")
        entry = self._entry(one, own_id)
        if shape is None and one.box is not None:
            media.setdefault("bounding_box", []).append(_with_box(entry, one))
        elif shape is None:
            media.setdefault("classification", []).append({**entry, "data": {}})
        elif isinstance(shape, Opaque):
            if not self._is_dm or not isinstance(shape.data, dict):
                losses.leave(one, item, "NOT_SUPPORTED", shape.tool)
                return
            media.setdefault(shape.tool, []).append({**entry, **shape.data})
        elif isinstance(shape, Polygon):
            if self._add_polygon(entry, shape, one, item, media, losses):
                return
        elif isinstance(shape, Mask) and (wrong := _broken(shape)) is not None:
            losses.lose(
                "BAD_ROW", item.key, "mask", "failed", annotation=one.id, where=item.where, message=wrong
            )
            return
        elif (placed := _placed(entry, shape)) is not None:
            media.setdefault(placed[0], []).append(placed[1])
        else:
            losses.leave(one, item, "NOT_SUPPORTED", "a mask in a file of its own")
            return
        wrote(losses, one)

    def _entry(self, one: Annotation, own_id: str) -> dict[str, Any]:
        """Return id, class and attributes."""
        attributes = [{"name": name, "value": value} for name, value in (one.attributes or {}).items()]
        if one.is_crowd:
            attributes.append({"name": CROWD, "value": True})
        if one.score is not None:
            attributes.append({"name": SCORE, "value": float(one.score)})
        name = self._classes[one.label].name if one.label >= 0 else ""
        return {"id": own_id, "classification": name, "attrs": attributes}

    def _add_polygon(
        self,
        entry: dict[str, Any],
        shape: Polygon,
        one: Annotation,
        item: Item,
        media: Media,
        losses: Losses,
    ) -> bool:
        """Add a polygon, one entry a ring. Returns True where it became several, which is counted here."""
        rings = shape.rings
        if shape.holes:
            from synapse_core.datasets.masks import join_rings  # numpy: 80 ms

            cut = len(rings) - shape.holes
            rings = [join_rings(rings[:cut], rings[cut:])]
            losses.change(one, item, "HOLE_BRIDGED", f"{shape.holes} holes")
        entries = media.setdefault("polygon", [])
        for number, ring in enumerate(rings):
            part = entry
            if number:
                marked = [*entry["attrs"], {"name": PART_OF, "value": entry["id"]}]
                part = {**entry, "id": short_id(item.key, entry["id"], number), "attrs": marked}
            entries.append({**part, "data": _pairs(ring)})
        if len(rings) == 1:
            return False
        losses.lose(
            *("PARTS_SPLIT", item.key, kind_of(one), "split_extra"),
            annotation=one.id,
            where=item.where,
            message=f"{len(rings)} parts",
        )
        if one.label >= 0:
            losses.after[one.label] += 1
        return True

    def _add_points(self, one: Annotation, own_id: str, item: Item, media: Media, losses: Losses) -> None:
        """Add an object's points one by one, its box and outline, and a group that holds them together."""
        points = one.points or []
        names = self._classes[one.label].keypoints if one.label >= 0 else ()
        entry = self._entry(one, own_id)
        if len(points) == 3 and not names and one.box is None and one.shape is None:
            point = {**entry, "data": points[:2], "visibility": int(points[2])}
            if one.group is not None:
                point["group_id"] = one.group
            media.setdefault("keypoint", []).append(point)
            wrote(losses, one)
            return
        count = len(points) // 3
        if len(names) != count:
            names = (*names, *(f"point_{number}" for number in range(len(names), count)))
        # Without a box or an outline, the group is what the object's id belongs to.
        is_bare = one.box is None and one.shape is None
        group = own_id if is_bare else short_id(item.key, own_id, "group")
        members = []
        if one.box is not None:
            box = {"id": own_id, "classification": entry["classification"], "attrs": [], "group_id": group}
            media.setdefault("bounding_box", []).append(_with_box(box, one))
            members.append(own_id)
        members += self._add_outline(one, own_id, entry, group, item, media, losses)
        for number in range(count):
            x, y, seen = points[3 * number : 3 * number + 3]
            if seen <= 0 and x == 0 and y == 0:
                continue  # nobody has labelled it
            point_id = short_id(item.key, own_id, names[number])
            media.setdefault("keypoint", []).append(
                {
                    "id": point_id,
                    "classification": names[number],
                    "attrs": [],
                    "data": [x, y],
                    "visibility": int(seen),
                    "group_id": group,
                }
            )
            members.append(point_id)
        media.setdefault("group", []).append({**entry, "id": group, "data": members})
        wrote(losses, one)

    def _add_outline(
        self,
        one: Annotation,
        own_id: str,
        entry: dict[str, Any],
        group: str,
        item: Item,
        media: Media,
        losses: Losses,
    ) -> list[str]:
        """Add the polygon or mask of an object with points; its id is returned."""
        shape = one.shape
        if shape is None:
            return []
        outline_id = own_id if one.box is None else short_id(item.key, own_id, "outline")
        head = {"id": outline_id, "classification": entry["classification"], "attrs": [], "group_id": group}
        if isinstance(shape, Polygon) and len(shape.rings) > 1:
            from synapse_core.datasets.masks import join_rings  # numpy: 80 ms

            cut = len(shape.rings) - shape.holes
            losses.change(one, item, "HOLE_BRIDGED" if shape.holes else "PARTS_JOINED")
            shape = Polygon([join_rings(shape.rings[:cut], shape.rings[cut:])])
        if isinstance(shape, Polygon):
            placed = "polygon", {**head, "data": _pairs(shape.rings[0])}
        elif isinstance(shape, Mask) and (found := _placed(head, shape)) is not None:
            placed = found
        else:
            losses.change(one, item, "NOT_SUPPORTED", "what is drawn beside the points")
            return []
        media.setdefault(placed[0], []).append(placed[1])
        return [outline_id]


class _Ids:
    """The ids that an item's annotations have in the target: their own, unless missing or taken."""

    def __init__(self, item: Item, losses: Losses) -> None:
        self._item = item
        self._losses = losses
        self._ids: dict[int, str] = {}
        self.taken: set[str] = set()
        self._number = 0
        for one in item.annotations:
            if one.id is not None and str(one.id) not in self.taken:
                self._ids[id(one)] = str(one.id)
                self.taken.add(str(one.id))

    def of(self, one: Annotation) -> str:
        """Return the id of an annotation."""
        if id(one) not in self._ids:
            self._number += 1
            new = short_id(self._item.key, self._number)
            if one.id is not None:
                self._losses.change(one, self._item, "DUPLICATE_ID", before=one.id, after=new)
            self._ids[id(one)] = new
        return self._ids[id(one)]


def _with_box(entry: dict[str, Any], one: Annotation) -> dict[str, Any]:
    attributes = one.attributes or {}
    if one.angle or "rotation" in attributes:  # the first is read as the angle, whatever follows
        entry["attrs"] = [{"name": "rotation", "value": one.angle}, *entry["attrs"]]
    return {**entry, "data": list(one.box or ())}


def _placed(entry: dict[str, Any], shape: object) -> tuple[str, dict[str, Any]] | None:
    """Return (tool, entry) of a shape, None where it has no place."""
    if isinstance(shape, Mask):
        if shape.encoding == "row_indices":
            return "segmentation", {**entry, "data": shape.data, **_encoded("raw_indices")}
        if shape.encoding == "row_runs":
            return "segmentation", {**entry, "data": shape.data, **_encoded("dm_rle")}
        from synapse_core.datasets.mask_shapes import counts_of  # numpy: 80 ms
        from synapse_core.datasets.rle import counts_to_row_runs

        runs = counts_to_row_runs(counts_of(shape), shape.height, shape.width)
        return "segmentation", {**entry, "data": runs, **_encoded("dm_rle")}
    if isinstance(shape, Polyline):
        return "polyline", {**entry, "data": _pairs(shape.points)}
    if isinstance(shape, Relation):
        return "relation", {**entry, "data": [shape.start, shape.end]}
    if isinstance(shape, Group):
        return "group", {**entry, "data": shape.members}
    if isinstance(shape, Text):
        attributes = [{"name": CAPTION, "value": shape.text}, *entry["attrs"]]
        return "classification", {**entry, "attrs": attributes, "data": {}}
    return None


def _broken(mask: Mask) -> str | None:
    """Return what is wrong with a mask that has to be read for DM, None where nothing is."""
    if mask.encoding not in ("counts", "compressed"):
        return None
    from synapse_core.datasets.mask_shapes import counts_of  # numpy: 80 ms

    try:
        check_counts(counts_of(mask), mask.height, mask.width)
    except InvalidMask as error:
        return str(error)
    return None


def _encoded(encoding: str) -> dict[str, Any]:
    is_compressed = encoding == "dm_rle"
    return {
        "encoding": encoding,
        "isCompressed": is_compressed,
        "compressionFormat": "rle" if is_compressed else None,
    }


def _pairs(flat: list[float]) -> list[list[float]]:
    return [[flat[at], flat[at + 1]] for at in range(0, len(flat) - 1, 2)]


def _add_groups(item: Item, media: Media, ids: _Ids) -> None:
    """Add what says only by a common name that annotations belong together."""
    members: dict[str, list[str]] = {}
    for one in item.annotations:
        if one.group is not None and one.points is None:
            members.setdefault(one.group, []).append(ids.of(one))
    for name, found in members.items():
        group = name if name not in ids.taken else short_id(item.key, name, "group")
        media.setdefault("group", []).append({"id": group, "classification": "", "attrs": [], "data": found})
