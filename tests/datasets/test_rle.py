"""Run-length masks, against the definition: pixel for pixel, column after column or row after row."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from synapse_core.datasets.rle import (
    InvalidMask,
    area_of_counts,
    box_of_counts,
    check_counts,
    counts_to_mask,
    counts_to_row_indices,
    counts_to_row_runs,
    counts_to_text,
    mask_to_counts,
    row_indices_to_counts,
    row_runs_to_counts,
    text_to_counts,
)

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Masks of 1 x 1 to 64 x 64: noise of any density, rectangles, nothing and everything."""
    height, width = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    kind = draw(st.sampled_from(["noise", "rectangle", "empty", "full"]))
    if kind == "noise":
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        return random.random((height, width)) < draw(st.floats(0, 1))
    mask = np.full((height, width), kind == "full")
    if kind == "rectangle":
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
        mask[top:bottom, left:right] = True
    return mask


def counts_by_definition(mask: Mask) -> list[int]:
    height, width = mask.shape
    pixels = [bool(mask[y, x]) for x in range(width) for y in range(height)]
    counts = [len(list(run)) for _, run in groupby(pixels)]
    return [0, *counts] if pixels[0] else counts


def indices_by_definition(mask: Mask) -> list[int]:
    height, width = mask.shape
    return [y * width + x for y in range(height) for x in range(width) if mask[y, x]]


def runs_by_definition(mask: Mask) -> list[list[int]]:
    runs: list[list[int]] = []
    for at in indices_by_definition(mask):
        if runs and sum(runs[-1]) == at:
            runs[-1][1] += 1
        else:
            runs.append([at, 1])
    return runs


@given(masks())
def test_pixels_become_counts_and_back(mask: Mask):
    counts = mask_to_counts(mask)

    assert counts == counts_by_definition(mask)
    assert np.array_equal(counts_to_mask(counts, *mask.shape), mask)


@given(masks())
def test_rows_become_columns_and_back(mask: Mask):
    counts = counts_by_definition(mask)

    assert counts_to_row_runs(counts, *mask.shape) == runs_by_definition(mask)
    assert row_runs_to_counts(runs_by_definition(mask), *mask.shape) == counts
    assert counts_to_row_indices(counts, *mask.shape) == indices_by_definition(mask)
    assert row_indices_to_counts(indices_by_definition(mask), *mask.shape) == counts


@given(masks())
def test_area_and_box_are_those_of_the_pixels(mask: Mask):
    counts = counts_by_definition(mask)

    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if len(xs) else None
    assert area_of_counts(counts) == mask.sum()
    assert box_of_counts(counts, mask.shape[0]) == box


@given(masks())
def test_text_comes_back_as_the_same_counts(mask: Mask):
    counts = counts_by_definition(mask)

    text = counts_to_text(counts)
    assert text_to_counts(text, *mask.shape) == counts
    assert text_to_counts(text.encode(), *mask.shape) == counts


@given(st.lists(st.integers(0, 2**24), min_size=1, max_size=40))
def test_text_holds_long_runs_and_runs_of_nothing(counts: list[int]):
    side = sum(counts)

    if side >= 1:
        assert text_to_counts(counts_to_text(counts), side, 1) == counts


@pytest.mark.parametrize(
    ("counts", "text"),
    # Worked out by hand: 6 -> '6'; 40 = 8 + 32 * 1 -> 'X1'; the fourth number is 1 - 40 = -39 -> 'iN'.
    [([6], "6"), ([0, 4], "04"), ([1, 40, 2, 1], "1X12iN"), ([5, 5, 5, 5, 5], "55500")],
)
def test_text_is_what_the_definition_says(counts: list[int], text: str):
    assert counts_to_text(counts) == text
    assert text_to_counts(text, sum(counts), 1) == counts


def test_runs_of_nothing_between_others_are_passed_over():
    assert counts_to_row_runs([1, 2, 0, 1, 0, 0, 2], 2, 3) == [[1, 1], [3, 2]]
    assert box_of_counts([1, 2, 0, 1, 0, 0, 2], 2) == (0, 0, 2, 2)


def test_row_runs_may_overlap_touch_and_have_any_order():
    assert row_runs_to_counts([[4, 2], [0, 0], [0, 3], [1, 1], [3, 1]], 2, 3) == [0, 6]


def test_a_pixel_that_is_named_twice_counts_once():
    assert row_indices_to_counts([5, 0, 5], 2, 3) == [0, 1, 4, 1]


def test_a_small_object_in_a_very_large_image_takes_no_more_than_itself():
    side = 40_000
    counts = row_runs_to_counts([[7 * side + 9, 2], [8 * side + 9, 2]], side, side)

    assert counts == [9 * side + 7, 2, side - 2, 2, side * side - 10 * side - 9]
    assert counts_to_row_indices(counts, side, side) == [7 * side + at for at in (9, 10)] + [
        8 * side + at for at in (9, 10)
    ]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([5], "add up to 5 pixels, its size of 2 x 3 (height x width) has 6"),
        ([], "add up to 0 pixels"),
        ([7, -1], "hold -1; the length of a run is not negative"),
        ([1.5, 4.5], "are whole numbers; they add up to 6.0"),
        (["6"], "are whole numbers"),
        ([None, 6], "are whole numbers"),
    ],
)
def test_counts_that_contradict_their_size_are_refused(counts: list[int], said: str):
    for use in (check_counts, counts_to_mask, counts_to_row_runs, counts_to_row_indices):
        with pytest.raises(InvalidMask) as refused:
            use(counts, 2, 3)
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("6é", "character 1 is 'é'"),
        ("3 3", "hold ' '; their characters go from '0' to 'o'"),
        (b"\xff", "their characters"),
        ("X", "end within number 0: the text was cut off"),
        ("o" * 50, "Number 0 in the counts of a mask is longer than any image"),
        ("5", "add up to 5 pixels"),
        ("7O", "hold -1"),
    ],
)
def test_text_that_is_broken_is_refused(text: str | bytes, said: str):
    with pytest.raises(InvalidMask) as refused:
        text_to_counts(text, 2, 3)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (
            [[0, 1], [4, 3]],
            "The run [4, 3] of a mask leaves its image: 2 x 3 (height x width) has pixels 0 to 5",
        ),
        ([[-1, 2]], "The run [-1, 2]"),
        ([[3, -1]], "The run [3, -1]"),
        ([[1, 2, 3]], "[start, length] pairs of whole numbers; these have the shape (1, 3)"),
        ([1, 2], "have the shape (2,)"),
        ([[1, 2], [3]], "[start, length] pairs"),
        ([[1.0, 2.0]], "the type float64"),
        ([["1", "2"]], "[start, length] pairs"),
        ([[2**70, 1]], "[start, length] pairs"),
        ([[2**63 - 1, 1]], "leaves its image"),
    ],
)
def test_row_runs_that_do_not_fit_are_refused(runs: list[list[int]], said: str):
    with pytest.raises(InvalidMask) as refused:
        row_runs_to_counts(runs, 2, 3)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([0, 6], "Pixel 6 of a mask lies outside its image: 2 x 3 (height x width) has pixels 0 to 5"),
        ([-1], "Pixel -1"),
        ([0.5], "are whole numbers"),
        ([[1]], "the shape (1, 1)"),
    ],
)
def test_pixels_outside_the_image_are_refused(indices: list[int], said: str):
    with pytest.raises(InvalidMask) as refused:
        row_indices_to_counts(indices, 2, 3)

    assert said in str(refused.value)


@pytest.mark.parametrize(("height", "width"), [(0, 3), (3, -1), (10**9, 10**9)])
def test_sizes_that_no_image_has_are_refused(height: int, width: int):
    with pytest.raises(InvalidMask, match=f"size {height} x {width}"):
        check_counts([height * width], height, width)


def test_pixels_of_another_shape_are_refused():
    with pytest.raises(InvalidMask, match=r"not \(2, 3, 3\)"):
        mask_to_counts(np.zeros((2, 3, 3), dtype=bool))
