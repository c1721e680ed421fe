"""What two annotations have in common, and which of one image are which of another.

An annotation is reduced to what it shows: numbers in pixels that may differ a little, and a text that may
not.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

import msgspec

from synapse_core.datasets.model import (
    Annotation,
    Group,
    Kind,
    Mask,
    Opaque,
    Polygon,
    Polyline,
    Text,
    kind_of,
)
from synapse_core.datasets.shapes import Extent, around, box_corners, labelled

# A ring may begin at any of its points; of longer ones only the first is tried, which is where copies begin.
_MOST_TURNS = 400


class Likeness(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What counts of an annotation.

    numbers: [x, y, width, height] of a box, the corners of a turned one, the points of all else. parts: how
    many of the numbers are of each ring. text: what has to be the same, character for character. box: that
    of key points, where it is stated.
    """

    kind: Kind
    class_name: str
    numbers: tuple[float, ...]
    parts: tuple[int, ...] = ()
    text: str = ""
    box: tuple[float, ...] = ()

    @property
    def group(self) -> tuple[str, str, tuple[int, ...], int, str]:
        """What two annotations have in common that can be the same: all but the values of the numbers."""
        return self.kind, self.class_name, self.parts, len(self.numbers), self.text


def likeness(one: Annotation, class_name: str) -> Likeness:
    """Return what counts of an annotation. class_name: '' where it has no class."""
    kind, shape = kind_of(one), one.shape
    numbers: list[float] = []
    parts: tuple[int, ...] = ()
    text = ""
    if kind == "box" or kind == "rotated_box":
        assert one.box is not None
        numbers = box_corners(one.box, one.angle) if one.angle else list(one.box)
    elif kind == "keypoints":
        points = one.points or []
        text = " ".join(f"{points[at + 2]:g}" for at in range(0, len(points), 3))
        numbers = labelled(points)
    elif isinstance(shape, Polygon):
        parts = tuple(map(len, shape.rings))
        text = f"{shape.holes} holes" if shape.holes else ""
        numbers = [number for ring in shape.rings for number in ring]
    elif isinstance(shape, Polyline):
        numbers = shape.points
    elif isinstance(shape, Mask):
        text = _pixels(shape)
    elif isinstance(shape, Text):
        text = shape.text
    elif isinstance(shape, Group):
        text = f"{len(shape.members)} members"
    elif isinstance(shape, Opaque):
        text = f"{shape.tool} {shape.data}"
    if not all(map(math.isfinite, numbers)):
        text, numbers = f"{text} {numbers}", []
    box = tuple(one.box) if kind == "keypoints" and one.box is not None else ()
    return Likeness(kind, class_name, tuple(numbers), parts, text, box)


def distance(one: Likeness, other: Likeness) -> float | None:
    """Return the largest difference of two annotations' numbers in pixels, None where they are no pair."""
    if one.group != other.group:
        return None
    largest = _difference(one.box, other.box) if one.box and other.box else 0.0
    if not one.parts:
        if one.kind == "rotated_box":
            return _ring_distance(one.numbers, other.numbers)
        return max(largest, _difference(one.numbers, other.numbers))
    at = 0
    for length in one.parts:
        end = at + length
        largest = max(largest, _ring_distance(one.numbers[at:end], other.numbers[at:end]))
        at = end
    return largest


@dataclass
class Matched:
    """Which annotations belong together. count: how many pairs; largest: difference in pixels among them."""

    count: int
    largest: float
    unmatched_a: list[int]
    unmatched_b: list[int]

    def left(self, a: list[Likeness], b: list[Likeness]) -> tuple[list[Likeness], list[Likeness]]:
        """Return those of each side that are alone."""
        return [a[index] for index in self.unmatched_a], [b[index] for index in self.unmatched_b]


def match(a: list[Likeness], b: list[Likeness], tolerance: float) -> Matched:
    """Return as many pairs within the tolerance as there can be, each annotation in one of them at most."""
    found = Matched(0, 0.0, [], [])
    groups: dict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    equal = Counter(a) & Counter(b)
    found.count = equal.total()
    for side, given in enumerate((a, b)):
        gone = Counter(equal)
        for index, one in enumerate(given):
            if gone[one] > 0:
                gone[one] -= 1
            else:
                groups[one.group][side].append(index)
    for ours, theirs in groups.values():
        pairs = _pairs([a[index] for index in ours], [b[index] for index in theirs], tolerance)
        found.count += len(pairs)
        found.largest = max([found.largest, *(gap for _, _, gap in pairs)])
        taken_a, taken_b = {left for left, _, _ in pairs}, {right for _, right, _ in pairs}
        found.unmatched_a += [index for at, index in enumerate(ours) if at not in taken_a]
        found.unmatched_b += [index for at, index in enumerate(theirs) if at not in taken_b]
    found.unmatched_a.sort()
    found.unmatched_b.sort()
    return found


def _pairs(a: list[Likeness], b: list[Likeness], tolerance: float) -> list[tuple[int, int, float]]:
    """Return (index in a, index in b, difference) of a largest matching: augmenting paths, nearest first."""
    near = _candidates(a, b, tolerance)
    partner: dict[int, int] = {}  # index in b -> in a
    waiting: list[int] = []
    for left, candidates in enumerate(near):
        free = next((right for _, right in candidates if right not in partner), None)
        if free is not None:
            partner[free] = left
        elif candidates:
            waiting.append(left)
    for left in waiting:
        _augment(left, near, partner)
    gaps = [{right: gap for gap, right in candidates} for candidates in near]
    return [(left, right, gaps[left][right]) for right, left in partner.items()]


def _augment(start: int, near: list[list[tuple[float, int]]], partner: dict[int, int]) -> None:
    """Give `start` a partner where others can move to their next ones."""
    came_from: dict[int, int] = {}
    queue = deque([start])
    while queue:
        left = queue.popleft()
        for _, right in near[left]:
            if right in came_from:
                continue
            came_from[right] = left
            if right in partner:
                queue.append(partner[right])
                continue
            held = {left: right for right, left in partner.items()}
            end: int | None = right
            while end is not None:
                owner = came_from[end]
                partner[end] = owner
                end = held.get(owner)
            return


def _candidates(a: list[Likeness], b: list[Likeness], tolerance: float) -> list[list[tuple[float, int]]]:
    """Return for each of a those of b within the tolerance: (difference, index), nearest first."""
    if not a or not b:
        return [[] for _ in a]
    extents = [_extent(other) for other in b]
    order = sorted(range(len(b)), key=lambda index: extents[index][0])
    lefts = [extents[index][0] for index in order]
    near: list[list[tuple[float, int]]] = []
    slack = tolerance + 1e-9
    for one in a:
        left, top, right, bottom = _extent(one)
        begin, end = bisect_left(lefts, left - slack), bisect_right(lefts, left + slack)
        found: list[tuple[float, int]] = []
        for index in order[begin:end]:
            there = extents[index]
            if (
                abs(there[1] - top) <= slack
                and abs(there[2] - right) <= slack
                and abs(there[3] - bottom) <= slack
                and (gap := distance(one, b[index])) is not None
                and gap <= tolerance
            ):
                found.append((gap, index))
        near.append(sorted(found))
    return near


def _extent(one: Likeness) -> Extent:
    """Return what an annotation's numbers cover; of a box the numbers themselves, which do as well."""
    if one.kind == "box" and one.numbers:
        x, y, width, height = one.numbers
        return x, y, width, height
    return around(one.numbers) or (0.0, 0.0, 0.0, 0.0)


def _difference(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max((abs(x - y) for x, y in zip(one, other, strict=True)), default=0.0)


def _ring_distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the difference of two rings of as many points, wherever each begins and however it goes."""
    best = _difference(one, other)
    count = len(one)
    if best <= 1e-6 or count > _MOST_TURNS or count % 2:
        return best
    points = list(zip(other[::2], other[1::2], strict=True))
    for way in (points, points[::-1]):
        flat = tuple(number for point in way for number in point)
        for turn in range(0, count, 2):
            # Most turns are told by their first point.
            if abs(one[0] - flat[turn]) < best and abs(one[1] - flat[turn + 1]) < best:
                best = min(best, _difference(one, flat[turn:] + flat[:turn]))
    return best


def _pixels(mask: Mask) -> str:
    """Return the pixels of a mask as text, the same whatever its encoding."""
    from synapse_core.datasets.mask_shapes import counts_of  # numpy: 80 ms, for datasets with masks
    from synapse_core.datasets.rle import InvalidMask  # the same

    try:
        counts = counts_of(mask)
    except InvalidMask:
        return f"broken {mask.encoding} {mask.data}"
    runs: list[int] = []
    for at, count in enumerate(counts):
        if count == 0:
            continue  # a run of nothing joins those beside it
        if at % 2 == 1 and not runs:
            runs.append(0)
        if at % 2 == len(runs) % 2:
            runs.append(count)
        else:
            runs[-1] += count
    return f"{mask.height} {mask.width} {' '.join(map(str, runs))}"
