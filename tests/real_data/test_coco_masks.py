"""Masks and polygons of the real COCO set, where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from synapse_core.datasets.masks import join_rings, mask_iou, mask_to_rings, rings_to_mask
from synapse_core.datasets.rle import (
    area_of_counts,
    box_of_counts,
    counts_to_mask,
    counts_to_row_indices,
    counts_to_row_runs,
    counts_to_text,
    mask_to_counts,
    row_indices_to_counts,
    row_runs_to_counts,
    text_to_counts,
)

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("SYNAPSE_TEST_DATA", _BESIDE))
RESULTS = DATA / "cocoapi_results" / "instances_val2014_fakesegm100_results.json"
INSTANCES = DATA / "coco_real_mini" / "cocomini" / "annotations" / "instances_val2017.json"

pytestmark = pytest.mark.skipif(
    not (RESULTS.is_file() and INSTANCES.is_file()),
    reason="the real data sets are not here; SYNAPSE_TEST_DATA says where they are",
)


def content_of(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


def test_every_compressed_mask_survives_every_form():
    masks = [result["segmentation"] for result in content_of(RESULTS)]

    assert len(masks) > 700
    for mask in masks:
        height, width = mask["size"]
        counts = text_to_counts(mask["counts"], height, width)
        assert counts_to_text(counts) == mask["counts"]
        assert row_runs_to_counts(counts_to_row_runs(counts, height, width), height, width) == counts
        assert row_indices_to_counts(counts_to_row_indices(counts, height, width), height, width) == counts
        pixels = counts_to_mask(counts, height, width)
        assert mask_to_counts(pixels) == counts
        outer, holes = mask_to_rings(pixels)
        assert np.array_equal(rings_to_mask(outer, height, width, holes), pixels)
        assert np.array_equal(rings_to_mask([join_rings(outer, holes)], height, width), pixels)


def test_a_crowds_stated_box_is_one_pixel_smaller_than_its_mask():
    """COCO's own files count the distance between its outermost pixels, and its area from elsewhere."""
    content = content_of(INSTANCES)
    crowds = [one for one in content["annotations"] if isinstance(one["segmentation"], dict)]

    assert crowds
    for crowd in crowds:
        counts, (height, _) = crowd["segmentation"]["counts"], crowd["segmentation"]["size"]
        box = box_of_counts(counts, height)
        x, y, width, height = crowd["bbox"]
        assert box == (x, y, width + 1, height + 1)
        assert area_of_counts(counts) <= crowd["area"]


def test_every_object_of_several_polygons_becomes_one_ring():
    content = content_of(INSTANCES)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    objects = [
        one
        for one in content["annotations"]
        if isinstance(one["segmentation"], list) and len(one["segmentation"]) > 1
    ]

    assert objects
    for one in objects:
        height, width = sizes[one["image_id"]]
        wanted = rings_to_mask(one["segmentation"], height, width)
        joined = rings_to_mask([join_rings(one["segmentation"])], height, width)
        assert mask_iou(joined, wanted) >= 0.99
