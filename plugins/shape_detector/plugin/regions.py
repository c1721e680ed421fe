"""Where something stands out from the paper, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from plugin.drawing import Box

# A region is looked at as a square of so many pixels each way.
SIDE = 14
FEATURES = SIDE * SIDE + 4
# How far a pixel is from the paper's colour, of 255.
_STANDS_OUT = 32.0
_BLUR_PIXELS = 0.6
_SMALLEST_PIXELS = 24


@dataclass(frozen=True)
class Region:
    """A piece of a picture. shape: its pixels, True where it is or where it has a hole."""

    box: Box
    shape: np.ndarray
    filled_share: float


def pixels_of(picture: Image.Image) -> np.ndarray:
    """Return a picture as height x width x 3 values in [0, 255]."""
    return np.asarray(picture.convert("RGB"), dtype=np.float32)


def find_regions(pixels: np.ndarray) -> list[Region]:
    """Return what stands out from the most frequent colour, each connected piece by itself."""
    smooth = ndimage.gaussian_filter(pixels, (_BLUR_PIXELS, _BLUR_PIXELS, 0))
    paper = np.median(smooth.reshape(-1, 3), axis=0)
    stands_out = np.abs(smooth - paper).max(axis=2) > _STANDS_OUT
    labels, _ = ndimage.label(stands_out, np.ones((3, 3), dtype=bool))
    found = []
    for number, (down, across) in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[down, across] == number
        shape = ndimage.binary_fill_holes(own)
        if own.sum() >= _SMALLEST_PIXELS:
            height, width = own.shape
            box = (float(across.start), float(down.start), float(width), float(height))
            found.append(Region(box, shape, float(own.sum() / shape.sum())))
    return found


def features(region: Region) -> np.ndarray:
    """Return FEATURES numbers in [0, 1] or near it: the region's shape in a square, and its proportions."""
    shape = region.shape
    small = Image.fromarray(shape.astype(np.uint8) * 255).resize((SIDE, SIDE), Image.Resampling.BOX)
    edge = float((shape & ~ndimage.binary_erosion(shape)).sum())
    proportions = (
        float(shape.mean()),
        min(shape.shape) / max(shape.shape),
        2 * np.pi * float(shape.sum()) / max(edge, 1.0) ** 2,
        region.filled_share,
    )
    return np.concatenate([np.asarray(small, np.float32).ravel() / 255, np.array(proportions, np.float32)])


def turned(row: np.ndarray) -> list[np.ndarray]:
    """Return the features of the same region turned by right angles and mirrored, eight in all."""
    square, proportions = row[: SIDE * SIDE].reshape(SIDE, SIDE), row[SIDE * SIDE :]
    squares = [np.rot90(each, quarter) for each in (square, square.T) for quarter in range(4)]
    return [np.concatenate([each.ravel(), proportions]) for each in squares]


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes by their union, in [0, 1]."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared) if shared else 0.0
