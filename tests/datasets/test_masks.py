"""Pixels and polygons: each mask comes back from its rings, each object from its one ring."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from synapse_core.datasets.masks import (
    InvalidRing,
    join_rings,
    mask_iou,
    mask_to_rings,
    rings_to_mask,
    simplify_ring,
)
from synapse_core.datasets.shapes import ring_area

Mask = NDArray[np.bool_]
SQUARE = [2.0, 2.0, 18.0, 2.0, 18.0, 18.0, 2.0, 18.0]
HOLE = [6.0, 6.0, 10.0, 6.0, 10.0, 12.0, 6.0, 12.0]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Masks of 1 x 1 to 48 x 48: noise of any density, blobs with holes, nothing and everything."""
    height, width = draw(st.integers(1, 48)), draw(st.integers(1, 48))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "blobs", "empty", "full"]))
    if kind == "noise":
        return random.random((height, width)) < draw(st.floats(0, 1))
    mask = np.full((height, width), kind == "full")
    if kind == "blobs":
        for value in (True, True, False):
            mask[disc(height, width, random.uniform(0, 48, 2), random.uniform(1, 20))] = value
    return mask


def disc(height: int, width: int, centre: tuple[float, float] | NDArray[np.float64], radius: float) -> Mask:
    ys, xs = np.mgrid[:height, :width] + 0.5
    return (xs - centre[0]) ** 2 + (ys - centre[1]) ** 2 <= radius**2


def circle(x: float, y: float, radius: float, points: int = 40) -> list[float]:
    turns = [2 * math.pi * index / points for index in range(points)]
    return [number for turn in turns for number in (x + radius * math.cos(turn), y + radius * math.sin(turn))]


def is_inside(x: float, y: float, ring: list[float]) -> bool:
    """A ray to the left crosses the ring an odd number of times."""
    crossings = 0
    for at in range(0, len(ring), 2):
        x1, y1, x2, y2 = ring[at - 2], ring[at - 1], ring[at], ring[at + 1]
        crossings += (y1 <= y) != (y2 <= y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x
    return crossings % 2 == 1


# Filling


@given(
    st.lists(st.floats(-5, 25), min_size=3, max_size=9), st.lists(st.floats(-5, 25), min_size=9, max_size=9)
)
def test_a_ring_fills_the_pixels_whose_centres_lie_inside(xs: list[float], ys: list[float]):
    ring = [number for point in zip(xs, ys, strict=False) for number in point]

    mask = rings_to_mask([ring], 20, 16)

    differing = [
        (x, y) for y in range(20) for x in range(16) if mask[y, x] != is_inside(x + 0.5, y + 0.5, ring)
    ]
    assert all(_distance(x + 0.5, y + 0.5, ring) < 1e-6 for x, y in differing)


def _distance(x: float, y: float, ring: list[float]) -> float:
    points = [complex(ring[at], ring[at + 1]) for at in range(0, len(ring), 2)]
    nearest = math.inf
    for start, end in zip(points, points[1:] + points[:1], strict=True):
        along, offset = end - start, complex(x, y) - start
        length = abs(along) ** 2
        share = min(max((offset * along.conjugate()).real / length, 0), 1) if length else 0
        nearest = min(nearest, abs(offset - share * along))
    return nearest


def test_rings_are_united_and_holes_are_left_out():
    mask = rings_to_mask([SQUARE, [15, 15, 25, 15, 25, 25, 15, 25]], 30, 30, [HOLE])

    expected = np.zeros((30, 30), dtype=bool)
    expected[2:18, 2:18] = expected[15:25, 15:25] = True
    expected[6:12, 6:10] = False
    assert np.array_equal(mask, expected)


def test_what_lies_outside_the_image_is_cut_off():
    assert rings_to_mask([[-1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6]], 3, 4).all()
    assert not rings_to_mask([[10, 0, 20, 0, 20, 3, 10, 3], [0, 10, 4, 10, 4, 20]], 3, 4).any()


@pytest.mark.parametrize("ring", [[], [1, 1], [1, 1, 3, 3], [1, 1, 3, 1, 2, 1]])
def test_a_ring_without_an_area_covers_nothing(ring: list[float]):
    assert not rings_to_mask([ring], 5, 5).any()


@pytest.mark.parametrize(
    ("ring", "said"),
    [
        ([1, 2, 3], r"the shape \(3,\)"),
        ([1, 2, math.nan, 4, 5, 6], "Coordinate 2 of a ring is nan"),
        ([1, 2, 3, 4, 5, 1e308], r"Coordinate 5 of a ring is 1e\+308"),
    ],
)
def test_numbers_that_are_no_ring_are_refused(ring: list[float], said: str):
    with pytest.raises(InvalidRing, match=said):
        rings_to_mask([ring], 5, 5)
    with pytest.raises(InvalidRing, match=said):
        join_rings([SQUARE, ring])


# Tracing


@given(masks())
@settings(max_examples=200)
def test_a_mask_comes_back_from_its_rings(mask: Mask):
    outer, holes = mask_to_rings(mask)

    assert np.array_equal(rings_to_mask(outer, *mask.shape, holes), mask)
    assert sum(map(ring_area, outer)) + sum(map(ring_area, holes)) == mask.sum()
    assert all(ring_area(ring) > 0 for ring in outer)
    assert all(ring_area(ring) < 0 for ring in holes)


def test_rings_follow_the_edges_of_the_pixels():
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:4, 2:5] = True
    mask[2, 3] = False

    assert mask_to_rings(mask) == (
        [[2.0, 1.0, 5.0, 1.0, 5.0, 4.0, 2.0, 4.0]],
        [[3.0, 2.0, 3.0, 3.0, 4.0, 3.0, 4.0, 2.0]],
    )


def test_pixels_that_touch_at_a_corner_have_one_ring():
    falling, rising = np.eye(3, dtype=bool), np.eye(3, dtype=bool)[::-1]

    for mask in (falling, rising):
        outer, holes = mask_to_rings(mask)
        assert (len(outer), holes) == (1, [])
    around_one = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    assert [len(rings) for rings in mask_to_rings(around_one)] == [1, 1]


def test_what_lies_inside_a_hole_belongs_to_the_ring_of_the_hole():
    nested = np.zeros((11, 11), dtype=bool)
    for side in range(5):
        nested[side : 11 - side, side : 11 - side] = side % 2 == 0
    nested[3, 3] = True

    outer, holes = mask_to_rings(nested)

    assert (len(outer), len(holes)) == (1, 2)
    assert np.array_equal(rings_to_mask(outer, 11, 11, holes), nested)


def test_an_empty_mask_has_no_rings():
    assert mask_to_rings(np.zeros((4, 4), dtype=bool)) == ([], [])


# Simplifying


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_no_point_is_farther_from_a_simpler_ring_than_the_tolerance(tolerance: float):
    (ring,), _ = mask_to_rings(disc(200, 200, (100, 90), 70))

    simpler = simplify_ring(ring, tolerance)

    assert len(simpler) < len(ring)
    assert (
        max(_distance(x, y, simpler) for x, y in zip(ring[::2], ring[1::2], strict=True)) <= tolerance + 1e-9
    )
    assert mask_iou(rings_to_mask([simpler], 200, 200), rings_to_mask([ring], 200, 200)) > 0.94


def test_points_on_a_straight_edge_are_left_out():
    assert simplify_ring([0, 0, 2, 0, 4, 0, 4, 4, 0, 4, 0, 1], 0.01) == [0, 0, 4, 0, 4, 4, 0, 4]


@pytest.mark.parametrize("ring", [SQUARE, [0, 0, 1, 0, 1, 1, 0, 1]])
def test_a_ring_is_not_simplified_away(ring: list[float]):
    assert simplify_ring(ring, 100) == ring
    assert simplify_ring(ring, 0) == ring


# Comparing


def test_intersection_over_union():
    left, right = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    assert mask_iou(left, right) == 1
    left[:, :3] = True
    assert mask_iou(left, right) == 0
    right[:, 1:] = True
    assert mask_iou(left, right) == 0.5


# Joining


@pytest.mark.parametrize(
    ("outer", "holes"),
    [
        ([SQUARE], [HOLE]),
        ([SQUARE[4:] + SQUARE[:4]], [HOLE[6:] + HOLE[:6]]),
        ([SQUARE, circle(40.3, 30.7, 9)], [HOLE]),
        ([circle(20 * x + 10.1, 20 * y + 9.7, 7.3) for x in range(3) for y in range(2)], []),
        ([circle(30, 20, 18)], [circle(22, 20, 5), circle(38, 21, 4), circle(30, 30, 3)]),
        ([SQUARE, [18.0, 18.0, 30.0, 18.0, 30.0, 30.0]], []),
        ([SQUARE, [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]], []),
        ([circle(20, 20, 15), circle(30, 22, 15)], [circle(25, 20, 5)]),
        ([SQUARE, HOLE], []),
    ],
    ids=["hole", "turned", "apart", "six", "three-holes", "touching", "overlap", "overlap-hole", "within"],
)
@pytest.mark.parametrize("is_backwards", [False, True])
def test_one_ring_stands_for_an_object_of_several(
    outer: list[list[float]], holes: list[list[float]], is_backwards: bool
):
    if is_backwards:
        outer, holes = [_backwards(ring) for ring in outer], [_backwards(ring) for ring in holes]

    joined = join_rings(outer, holes)

    wanted = rings_to_mask(outer, 44, 64, holes)
    assert wanted.any()
    assert mask_iou(rings_to_mask([joined], 44, 64), wanted) >= 0.99


def _backwards(ring: list[float]) -> list[float]:
    return [number for at in range(len(ring) - 2, -1, -2) for number in ring[at : at + 2]]


@given(masks())
def test_the_one_ring_of_a_mask_fills_the_same_pixels(mask: Mask):
    joined = join_rings(*mask_to_rings(mask)) if mask.any() else []

    assert np.array_equal(rings_to_mask([joined], *mask.shape), mask)


def test_rings_are_joined_where_they_are_nearest():
    left, right = [0.0, 0, 4, 0, 4, 4, 0, 4], [6.0, 4, 10, 4, 10, 8, 6, 8]

    assert join_rings([left, right]) == [0, 0, 4, 0, 4, 4, 6, 4, 10, 4, 10, 8, 6, 8, 6, 4, 4, 4, 0, 4]


def test_a_single_ring_stays_as_it_is():
    assert join_rings([SQUARE]) == SQUARE


def test_parts_that_no_image_holds_are_refused():
    far = [number + 1e6 for number in SQUARE]

    with pytest.raises(InvalidRing, match="pixels apart"):
        join_rings([SQUARE, far])
