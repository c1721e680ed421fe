"""Masks as the window of the image in which they lie, as CVAT and LabelMe have them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from synapse_core.datasets.model import Mask

_OBJECT = re.compile(rb"[^\0]+")


def row_runs_of_bytes(pixels: bytes) -> list[list[int]]:
    """Return [start, length] of what is not 0, along the rows of one byte a pixel."""
    return [[found.start(), found.end() - found.start()] for found in _OBJECT.finditer(pixels)]


def placed_runs(
    runs: Sequence[Sequence[int]], left: int, top: int, across: int, width: int
) -> list[list[int]]:
    """Return runs of a window, `across` pixels wide, as runs of the image, `width` wide, in which it lies."""
    return [[(top + row) * width + left + column, length] for row, column, length in _in_rows(runs, across)]


def window_of(mask: Mask) -> tuple[int, int, int, int, list[list[int]]] | None:
    """Return left, top, width and height of the window around a mask, and the runs along its rows.

    A run goes on into the next row where there is nothing between. None for a mask without a pixel.
    """
    from synapse_core.datasets.mask_shapes import counts_of  # numpy: 80 ms
    from synapse_core.datasets.rle import box_of_counts, counts_to_row_runs

    counts = counts_of(mask)
    box = box_of_counts(counts, mask.height)
    if box is None:
        return None
    left, top, width, height = box
    runs: list[list[int]] = []
    for row, column, length in _in_rows(counts_to_row_runs(counts, mask.height, mask.width), mask.width):
        start = (row - top) * width + column - left
        if runs and runs[-1][0] + runs[-1][1] == start:
            runs[-1][1] += length
        else:
            runs.append([start, length])
    return left, top, width, height, runs


def _in_rows(runs: Sequence[Sequence[int]], width: int) -> list[tuple[int, int, int]]:
    """Return row, column and length of each run, those that go on into another row cut there."""
    parts: list[tuple[int, int, int]] = []
    for start, length in runs:
        stop = start + length
        while start < stop:
            row, column = divmod(start, width)
            part = min(stop - start, width - column)
            parts.append((row, column, part))
            start += part
    return parts
