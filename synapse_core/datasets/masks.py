"""Between pixels and polygons: filling rings, tracing masks, joining the rings of an object into one.

A ring is [x1, y1, x2, y2, …] in pixels, 0-based and continuous: the first pixel covers 0 to 1 and its centre
is at 0.5. It closes itself. A mask is an array of truth values of shape (height, width). Run lengths are in
rle.py, what takes no pixels (areas, clipping, turned boxes) in shapes.py.

Importing this module takes 80 ms, for numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from synapse_core.datasets.shapes import ring_area

Mask: TypeAlias = NDArray[np.bool_]
Ring: TypeAlias = Sequence[float]
_Points: TypeAlias = NDArray[np.float64]
_Places: TypeAlias = NDArray[np.int64]

# What joining rings may change, as intersection over union.
_LEAST_IOU = 0.99
# Beyond these an image is no image: of a coordinate, and of the pixels around an object.
_FARTHEST = 1e7
_MOST_PIXELS = 1 << 30
# Distances that are computed at once: 16 MB.
_BLOCK = 1 << 20


class InvalidRing(ValueError):
    """Numbers that are no ring of an image; the message says which."""


class _Corners(NamedTuple):
    """Where the edge of a mask turns, in the order of the rows.

    across, down: the corner at the other end of its horizontal edge and of its vertical one. is_outer: if
    the pixel at its lower right is the object's; where a ring begins, that tells outer rings from holes.
    """

    xs: _Places
    ys: _Places
    across: _Places
    down: _Places
    is_outer: Mask


def rings_to_mask(outer: Sequence[Ring], height: int, width: int, holes: Sequence[Ring] = ()) -> Mask:
    """Return the pixels whose centres lie in one of the outer rings and in none of the holes.

    A ring that crosses itself leaves out what it goes around an even number of times. What lies outside the
    image is cut off.
    Raises InvalidRing where a ring has an odd number of coordinates or one that no image has.
    """
    mask = np.zeros((height, width), dtype=bool)
    for ring in outer:
        _fill(mask, _points(ring), True)
    for ring in holes:
        _fill(mask, _points(ring), False)
    return mask


def mask_to_rings(mask: Mask) -> tuple[list[list[float]], list[list[float]]]:
    """Return the outer rings and the holes of a mask, along the edges of its pixels.

    Filling them gives the same mask again. Pixels that touch at a corner belong together. Outer rings go
    clockwise, holes counter-clockwise, as one sees them; each begins at its topmost, there leftmost corner,
    and they are in the order of these corners. What lies inside a hole has no outer ring: the ring of the
    hole goes around it, there and back by a bridge without a width.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [], []
    top, left = int(rows[0]), int(columns[0])
    corners = _corners(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    xs, ys = (corners.xs + left).astype(float).tolist(), (corners.ys + top).astype(float).tolist()
    across, down = corners.across.tolist(), corners.down.tolist()
    rings: list[list[float]] = []
    begins: list[int] = []
    ring_of = [-1] * len(xs)
    for begin in range(len(xs)):
        if ring_of[begin] >= 0:
            continue
        ring: list[float] = []
        at = begin
        while ring_of[at] < 0:
            turn = across[at]
            ring_of[at] = ring_of[turn] = len(rings)
            ring += (xs[at], ys[at], xs[turn], ys[turn])
            at = down[turn]
        rings.append(ring if corners.is_outer[begin] else _reversed(ring))
        begins.append(begin)
    islands = _islands(corners, begins, np.array(ring_of))
    inner = {ring for found in islands.values() for ring in found}
    outer = [ring for at, ring in enumerate(rings) if corners.is_outer[begins[at]] and at not in inner]
    holes = [
        _bridged([_points(rings[one]) for one in (at, *islands[at])]) if at in islands else ring
        for at, ring in enumerate(rings)
        if not corners.is_outer[begins[at]]
    ]
    return outer, holes


def simplify_ring(ring: Ring, tolerance: float) -> list[float]:
    """Return a ring of fewer of its points; none of the others is farther from it than `tolerance` pixels.

    A ring of which fewer than three points would be left comes back as it is.
    Source: Douglas and Peucker, 1973.
    """
    points = _points(ring)
    count = len(points)
    if tolerance <= 0 or count <= 3:
        return list(ring)
    closed = np.concatenate((points, points[:1]))
    farthest = int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))
    is_kept = np.zeros(count + 1, dtype=bool)
    is_kept[[0, farthest]] = True
    parts = [(0, farthest), (farthest, count)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        distances = _distances(closed[first + 1 : last], closed[first], closed[last])
        most = int(np.argmax(distances))
        if distances[most] > tolerance:
            middle = first + 1 + most
            is_kept[middle] = True
            parts += [(first, middle), (middle, last)]
    kept: list[float] = points[is_kept[:count]].ravel().tolist()
    return kept if len(kept) >= 6 else list(ring)


def mask_iou(one: Mask, other: Mask) -> float:
    """Return intersection over union of two masks of one shape, in [0, 1]; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def join_rings(outer: Sequence[Ring], holes: Sequence[Ring] = ()) -> list[float]:
    """Return one ring that covers what the outer rings cover without the holes.

    The rings are joined at their nearest points by bridges without a width, there and back, so that it fills
    the same pixels by either rule, even-odd or non-zero. Rings that overlap have no such ring of their own
    points: where that would change more than a hundredth, it is made of the pixels' edges instead.
    Raises InvalidRing where a ring has an odd number of coordinates or one that no image has.
    """
    if len(outer) == 1 and not holes:
        return list(outer[0])
    joined = _bridged(_wound(outer, holes))
    left, top, width, height = _window(outer)
    moved = [_moved(rings, -left, -top) for rings in (outer, holes, [joined])]
    wanted = rings_to_mask(moved[0], height, width, moved[1])
    if mask_iou(wanted, rings_to_mask(moved[2], height, width)) >= _LEAST_IOU:
        return joined
    outer, holes = mask_to_rings(wanted)
    return _moved([_bridged(_wound(outer, holes))], left, top)[0]


def _points(ring: Ring) -> _Points:
    numbers = np.asarray(ring, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) % 2:
        raise InvalidRing(f"A ring is [x1, y1, x2, y2, …]; this one has the shape {numbers.shape}.")
    # NaN is not less than anything either.
    if not (is_near := np.abs(numbers) < _FARTHEST).all():
        at = int(np.argmin(is_near))
        raise InvalidRing(f"Coordinate {at} of a ring is {numbers[at]:g}, which no image has.")
    return numbers.reshape(-1, 2)


def _fill(mask: Mask, points: _Points, value: bool) -> None:
    """Set the pixels whose centres a ring goes around an odd number of times."""
    height, width = mask.shape
    following = np.roll(points, -1, axis=0)
    # From the upper end to the lower one: there and back, a bridge crosses a row at the very same place.
    is_upward = (points[:, 1] > following[:, 1])[:, np.newaxis]
    upper, lower = np.where(is_upward, following, points), np.where(is_upward, points, following)
    # An edge crosses the rows whose centres lie at or below its upper end and above its lower one.
    begin = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
    is_crossing = end > begin
    if not is_crossing.any():
        return
    begin, end, upper, lower = begin[is_crossing], end[is_crossing], upper[is_crossing], lower[is_crossing]
    spans = end - begin
    edge = np.repeat(np.arange(len(spans)), spans)
    row = np.arange(len(edge)) + np.repeat(begin - np.cumsum(spans) + spans, spans)
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    top, bottom, left, right = int(row.min()), int(row.max()) + 1, int(column.min()), int(column.max())
    if right == left:
        return
    # Every row is crossed an even number of times, so that the runs of all rows can be cut in one go.
    cuts = np.sort((row - top) * (right - left) + column - left)
    lengths = np.diff(cuts, prepend=0, append=(bottom - top) * (right - left))
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(bottom - top, right - left)
    mask[top:bottom, left:right][inside] = value


def _corners(mask: Mask) -> _Corners:
    """Return the corners of a mask. Where two pixels touch at a corner there are two, one for each turn."""
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), dtype=bool)
    padded[1:-1, 1:-1] = mask
    above = padded[:-1, :-1] != padded[:-1, 1:]
    below = padded[1:, :-1] != padded[1:, 1:]
    is_crossed = above & below & (padded[:-1, :-1] != padded[1:, :-1])
    places = np.flatnonzero((above != below) | is_crossed)
    is_crossed = is_crossed.ravel()[places]
    is_inside = padded[1:, 1:].ravel()[places]
    counts = is_crossed + 1
    places = np.repeat(places, counts)
    ys, xs = np.divmod(places, width + 1)
    # On a row the edges lie between its first corner and its second, its third and its fourth, and so on.
    across = np.arange(len(places)) ^ 1
    # The same holds down a column. Of two corners in one place the first here is the one with the edge to the
    # left; where the pixel at the lower right is the object's, that edge turns down, and else up.
    is_second = np.zeros(len(places), dtype=np.int64)
    last = np.cumsum(counts) - 1
    is_second[last[is_crossed]] = ~is_inside[is_crossed]
    is_second[last[is_crossed] - 1] = is_inside[is_crossed]
    order = np.argsort((xs * (height + 1) + ys) * 2 + is_second)
    down = np.empty_like(order)
    down[order] = order[np.arange(len(order)) ^ 1]
    return _Corners(xs, ys, across, down, np.repeat(is_inside, counts))


def _islands(corners: _Corners, begins: list[int], ring_of: _Places) -> dict[int, list[int]]:
    """Return for each hole with something in it the outer rings of what that is.

    begins: the corner at which each ring begins. ring_of: the ring of each corner.
    """
    found: dict[int, list[int]] = {}
    is_outer = corners.is_outer[begins].tolist()
    if all(is_outer) or sum(is_outer) == 1:
        return found
    ends = corners.ys[corners.down]
    upper = np.flatnonzero(ends > corners.ys)
    edge_x, edge_top, edge_bottom = corners.xs[upper], corners.ys[upper], ends[upper]
    hole_of: dict[int, int] = {}
    for ring, begin in enumerate(begins):
        if not is_outer[ring]:
            continue
        # To the left is either the hole that it lies in or something else that lies in the same one; that
        # begins above or further left, so its hole is known.
        x, y = corners.xs[begin], corners.ys[begin]
        to_the_left = np.flatnonzero((edge_x < x) & (edge_top <= y) & (y < edge_bottom))
        if not len(to_the_left):
            continue
        neighbour = int(ring_of[upper[to_the_left[np.argmax(edge_x[to_the_left])]]])
        hole = hole_of.get(neighbour) if is_outer[neighbour] else neighbour
        if hole is not None:
            hole_of[ring] = hole
            found.setdefault(hole, []).append(ring)
    return found


def _reversed(ring: Ring) -> list[float]:
    """Return a ring the other way round, from the same point on."""
    points = [(ring[0], ring[1]), *zip(ring[-2:1:-2], ring[-1:1:-2], strict=True)]
    return [number for point in points for number in point]


def _distances(points: _Points, start: _Points, end: _Points) -> NDArray[np.float64]:
    """Return how far points lie from the stretch between two others."""
    along, offsets = end - start, points - start
    length = float(along @ along)
    shares = np.clip(offsets @ along / length, 0, 1) if length else np.zeros(len(points))
    away = offsets - shares[:, np.newaxis] * along
    return np.hypot(away[:, 0], away[:, 1])


def _wound(outer: Sequence[Ring], holes: Sequence[Ring]) -> list[_Points]:
    """Return the rings that have an area: the outer ones clockwise, the holes counter-clockwise."""
    found = [(_points(ring), ring_area(ring), 1) for ring in outer]
    found += [(_points(ring), ring_area(ring), -1) for ring in holes]
    return [points if area * sign > 0 else points[::-1] for points, area, sign in found if area]


def _window(rings: Sequence[Ring]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the pixels around the rings."""
    points = np.concatenate([_points(ring) for ring in rings])
    left, top = np.floor(points.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(points.max(axis=0)).astype(int).tolist()
    width, height = right - left, bottom - top
    if width * height > _MOST_PIXELS:
        raise InvalidRing(f"The rings of one object lie {width} x {height} pixels apart, which no image has.")
    return left, top, width, height


def _moved(rings: Sequence[Ring], right: float, down: float) -> list[list[float]]:
    return [[number + (down if at % 2 else right) for at, number in enumerate(ring)] for ring in rings]


def _bridged(rings: list[_Points]) -> list[float]:
    """Return one ring through all of them: what is nearest to those that are joined is joined next."""
    if not rings:
        return []
    points = np.concatenate(rings)
    bounds = np.cumsum([0, *map(len, rings)])
    ring_of = np.repeat(np.arange(len(rings)), np.diff(bounds))
    following = np.arange(1, len(points) + 1)
    following[bounds[1:] - 1] = bounds[:-1]
    after: list[int] = following.tolist()
    place = list(range(len(points)))  # of every point of the new ring, its index in `points`
    open_points = np.arange(bounds[1], len(points))
    nearest = np.zeros(len(points), dtype=np.int64)
    distance = np.full(len(points), np.inf)
    joined = 0
    while len(open_points):
        _approach(points, open_points, int(bounds[joined]), int(bounds[joined + 1]), nearest, distance)
        there = int(open_points[np.argmin(distance[open_points])])
        joined = int(ring_of[there])
        here = int(nearest[there])
        # here -> there, once around, there -> here, and on as before.
        before = there - 1 if there > bounds[joined] else int(bounds[joined + 1]) - 1
        back_there, back_here = len(place), len(place) + 1
        place += [there, here]
        after += [back_here, after[here]]
        after[here], after[before] = there, back_there
        open_points = open_points[ring_of[open_points] != joined]
    path = [0]
    while (at := after[path[-1]]) != 0:
        path.append(at)
    whole = points[np.array(place)[path]]
    is_step = (whole != np.roll(whole, 1, axis=0)).any(axis=1)
    numbers: list[float] = whole[is_step].ravel().tolist()
    return numbers


def _approach(
    points: _Points,
    open_points: _Places,
    first: int,
    stop: int,
    nearest: _Places,
    distance: NDArray[np.float64],
) -> None:
    """Note for every open point whether one of the points first to stop is nearer than the nearest so far."""
    block = max(1, _BLOCK // (stop - first))
    for begin in range(0, len(open_points), block):
        some = open_points[begin : begin + block]
        offsets = points[some, np.newaxis] - points[np.newaxis, first:stop]
        squares = (offsets**2).sum(axis=2)
        best = squares.argmin(axis=1)
        found = squares[np.arange(len(some)), best]
        is_nearer = found < distance[some]
        distance[some[is_nearer]] = found[is_nearer]
        nearest[some[is_nearer]] = first + best[is_nearer]
