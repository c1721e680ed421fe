"""Masks of annotations in whatever encoding a writer needs."""

from __future__ import annotations

from functools import partial

from synapse_core.datasets.masks import mask_to_rings, rings_to_mask, simplify_ring
from synapse_core.datasets.model import Box, Mask, Polygon
from synapse_core.datasets.rle import (
    box_of_counts,
    check_counts,
    counts_to_mask,
    mask_to_counts,
    row_indices_to_counts,
    row_runs_to_counts,
    text_to_counts,
)


def counts_of(mask: Mask) -> list[int]:
    """Return the runs of a mask down its columns, background first. Raises InvalidMask where it is broken."""
    if mask.encoding == "counts":
        check_counts(mask.data, mask.height, mask.width)
        return list(mask.data)
    if mask.encoding == "compressed":
        return text_to_counts(mask.data, mask.height, mask.width)
    if mask.encoding == "row_runs":
        return row_runs_to_counts(mask.data, mask.height, mask.width)
    return row_indices_to_counts(mask.data, mask.height, mask.width)


def mask_box(mask: Mask) -> Box | None:
    """Return the tight box around a mask's pixels, None where it has none."""
    found = box_of_counts(counts_of(mask), mask.height)
    return None if found is None else (float(found[0]), float(found[1]), float(found[2]), float(found[3]))


def mask_polygon(mask: Mask, tolerance_pixels: float = 0.0) -> Polygon:
    """Return the outline of a mask, which rasterises to the same pixels where the tolerance is 0."""
    outer, holes = mask_to_rings(counts_to_mask(counts_of(mask), mask.height, mask.width))
    if tolerance_pixels > 0:
        simplify = partial(simplify_ring, tolerance=tolerance_pixels)
        outer, holes = list(map(simplify, outer)), list(map(simplify, holes))
    return Polygon(outer + holes, len(holes))


def polygon_counts(polygon: Polygon, height: int, width: int) -> list[int]:
    """Return the pixels of a polygon as runs down the columns."""
    cut = len(polygon.rings) - polygon.holes
    return mask_to_counts(rings_to_mask(polygon.rings[:cut], height, width, polygon.rings[cut:]))
