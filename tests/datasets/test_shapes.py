"""Turned boxes, clipped rings and areas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_core.datasets.shapes import around, box_corners, box_of_corners, box_ring, clip_ring, ring_area

SIDES = st.floats(1, 500)
PLACES = st.floats(-1000, 1000)


@pytest.mark.parametrize("degrees", [0, 1e-6, 30, 45, 89.9, 90, -45, -89.9])
def test_a_turned_box_comes_back_from_its_corners(degrees: float):
    box = (10.0, 20.0, 40.0, 15.0)

    found = box_of_corners(box_corners(box, math.radians(degrees)), 0.01)

    assert found is not None
    assert found[0] == pytest.approx(box, abs=1e-9)
    assert math.degrees(found[1]) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(("degrees", "same"), [(180, 0), (135, -45), (-90, 90), (270, 90), (360, 0)])
def test_half_a_turn_leaves_the_box_where_it_was(degrees: float, same: float):
    box = (10.0, 20.0, 40.0, 15.0)

    found = box_of_corners(box_corners(box, math.radians(degrees)), 0.01)

    assert found is not None
    assert found[0] == pytest.approx(box, abs=1e-9)
    assert math.degrees(found[1]) == pytest.approx(same, abs=1e-9)


@given(PLACES, PLACES, SIDES, SIDES, st.floats(-10, 10), st.integers(0, 3), st.booleans())
def test_any_order_of_the_corners_gives_the_same_rectangle(
    x: float, y: float, width: float, height: float, angle: float, first: int, is_backwards: bool
):
    corners = box_corners((x, y, width, height), angle)
    points = [(corners[at], corners[at + 1]) for at in (0, 2, 4, 6)]
    points = points[first:] + points[:first]
    points = points[::-1] if is_backwards else points

    found = box_of_corners([number for point in points for number in point], 0.01)

    assert found is not None
    again = box_corners(*found)
    there = sorted((again[at], again[at + 1]) for at in (0, 2, 4, 6))
    for point in points:
        assert min(math.dist(point, other) for other in there) < 1e-6


@pytest.mark.parametrize(
    "corners",
    [
        [0, 0, 10, 0, 12, 5, 2, 5],  # leaning
        [0, 0, 10, 0, 10, 5, 1, 5],
        [0, 0, 10, 5, 10, 0, 0, 5],  # crossing itself
        [0, 0, 10, 0, 10, 0, 0, 0],  # flat
        [3, 3, 3, 3, 3, 3, 3, 3],
        [0, 0, 10, 0, 10, 5],
    ],
)
def test_other_corners_are_no_rectangle(corners: list[float]):
    assert box_of_corners(corners, 0.01) is None


@pytest.mark.parametrize(
    ("ring", "expected", "area"),
    [
        ([1, 1, 5, 1, 5, 4, 1, 4], (1, 1, 5, 4), 12),  # inside: as it is
        ([-5, -5, 20, -5, 20, 20, -5, 20], (0, 0, 10, 8), 80),  # around the image
        ([5, 2, 30, 2, 30, 6, 5, 6], (5, 2, 10, 6), 20),
        ([-4, 0, 4, 8, -4, 16], (0, 4, 4, 8), 8),  # two borders cut a corner off
    ],
)
def test_a_ring_is_cut_to_the_image(ring: list[float], expected: tuple[float, ...], area: float):
    clipped = clip_ring(ring, 10, 8)

    assert around(clipped) == pytest.approx(expected)
    assert ring_area(clipped) == pytest.approx(area)


def test_nothing_is_left_of_a_ring_outside_the_image():
    assert clip_ring([11, 1, 15, 1, 15, 5], 10, 8) == []


@given(PLACES, PLACES, SIDES, SIDES, st.floats(-10, 10))
def test_an_area_is_positive_clockwise_and_does_not_turn(
    x: float, y: float, width: float, height: float, angle: float
):
    assert ring_area(box_ring((x, y, width, height))) == pytest.approx(width * height, rel=1e-6)
    assert ring_area(box_corners((x, y, width, height), angle)) == pytest.approx(width * height, rel=1e-6)
