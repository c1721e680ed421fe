"""Key points of one object, which DM keeps as single ones in a group, and everybody else as one list.

A group is an object's where each point in it has a name of its own, and nothing is with them but a box and a
polygon or mask at most. Its points are joined by `group_id`; a `group` names the members, perhaps the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from synapse_core.datasets.formats.dm_documents import Media
from synapse_core.datasets.formats.dm_rows import is_number

# The names and order of COCO's person, and so of most models.
PERSON_POINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


class Pose(msgspec.Struct):
    """One object's points. points: name -> entry. shape: (tool, entry) of its polygon or mask."""

    id: str
    name: str
    points: dict[str, dict[str, Any]]
    group: dict[str, Any] | None = None
    box: dict[str, Any] | None = None
    shape: tuple[str, dict[str, Any]] | None = None

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (tool, entry) of all that the pose stands for."""
        if self.box is not None:
            yield "bounding_box", self.box
        if self.shape is not None:
            yield self.shape
        for point in self.points.values():
            yield "keypoint", point
        if self.group is not None:
            yield "group", self.group


class _Members(msgspec.Struct):
    group: dict[str, Any] | None = None
    entries: list[tuple[str, dict[str, Any]]] = []


def find_poses(media: Media) -> list[Pose]:
    """Return the objects with points of one image, in the order of their first point."""
    if not media.get("keypoint"):
        return []
    by_id: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    groups: dict[str, _Members] = {}
    for tool, entries in media.items():
        for entry in entries:
            if tool == "group":
                continue
            by_id.setdefault(str(entry.get("id")), []).append((tool, entry))
            if isinstance(group := entry.get("group_id"), str) and group:
                groups.setdefault(group, _Members()).entries.append((tool, entry))
    for group in media.get("group", ()):
        members = groups.setdefault(str(group.get("id")), _Members())
        known = {id(entry) for _, entry in members.entries}
        named = group.get("data") if isinstance(group.get("data"), list) else []
        found = [by_id.get(str(member), []) for member in named or []]
        if members.group is not None or any(len(each) != 1 for each in found):
            members.entries.append(("", {}))  # a group that cannot be told apart is nobody's
        members.group = group
        members.entries += [pair for each in found for pair in each if id(pair[1]) not in known]
    taken: dict[int, int] = {}
    for members in groups.values():
        for _, entry in members.entries:
            taken[id(entry)] = taken.get(id(entry), 0) + 1
    poses = []
    for group_id, members in groups.items():
        if all(taken[id(entry)] == 1 for _, entry in members.entries):
            pose = _pose(group_id, members)
            if pose is not None:
                poses.append(pose)
    return poses


def _pose(group_id: str, members: _Members) -> Pose | None:
    """Return what the members of a group are together, None where they are no object with points."""
    pose = Pose(group_id, "", {}, members.group)
    for tool, entry in members.entries:
        name = entry.get("classification")
        if (
            tool == "keypoint"
            and isinstance(name, str)
            and name
            and name not in pose.points
            and _is_point(entry)
        ):
            pose.points[name] = entry
        elif tool == "bounding_box" and pose.box is None:
            pose.box = entry
        elif tool in ("polygon", "segmentation") and pose.shape is None:
            pose.shape = tool, entry
        else:
            return None
    if not pose.points:
        return None
    stated = [
        one.get("classification") for one in (members.group, pose.box, pose.shape and pose.shape[1]) if one
    ]
    names = {name for name in stated if isinstance(name, str) and name}
    if len(names) > 1:
        return None
    pose.name = names.pop() if names else "person" if set(pose.points) <= set(PERSON_POINTS) else "object"
    return pose


def _is_point(entry: dict[str, Any]) -> bool:
    data = entry.get("data")
    seen = entry.get("visibility", 2)
    return (
        isinstance(data, list)
        and len(data) == 2
        and all(map(is_number, data))
        and is_number(seen)
        and seen in (0, 1, 2)
    )
