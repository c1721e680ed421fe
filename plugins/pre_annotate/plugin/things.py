"""Where things are in a picture: dark ink on lighter paper, each piece that stands by itself."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from PIL import Image
from scipy import ndimage

# left, top, width, height in pixels, origin top left.
Box: TypeAlias = tuple[int, int, int, int]
# A thing is looked at as a square of so many pixels each way.
SIDE = 8
# From this share of the blackest ink on, a pixel belongs to a thing.
_SHOWS = 0.25


def grey_values(path: str) -> np.ndarray:
    """Return a picture as rows of grey values in [0, 255]. Raises OSError where it is none."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.int16)


def find_things(grey: np.ndarray, gap_pixels: int, smallest_pixels: int) -> list[Box]:
    """Return the boxes of things, from top to bottom.

    gap_pixels: pieces of ink that are nearer to each other belong together. smallest_pixels: what has less
    ink is dirt.
    """
    ink = np.median(grey) - grey
    if ink.max() <= 0:
        return []
    is_ink = ink > _SHOWS * ink.max()
    square = np.ones((3, 3), dtype=bool)
    grown = ndimage.binary_dilation(is_ink, square, iterations=gap_pixels // 2) if gap_pixels > 1 else is_ink
    labels, count = ndimage.label(grown, square)
    own = np.where(is_ink, labels, 0)
    sizes = ndimage.sum_labels(is_ink, own, range(1, count + 1))
    return [
        (across.start, down.start, across.stop - across.start, down.stop - down.start)
        for (down, across), size in zip(ndimage.find_objects(own, count), sizes, strict=True)
        if size >= smallest_pixels
    ]


def features(grey: np.ndarray, box: Box) -> np.ndarray:
    """Return what a thing looks like: its ink in a square of SIDE x SIDE, each value in [0, 1]."""
    left, top, width, height = box
    ink = np.clip(np.median(grey) - grey[top : top + height, left : left + width], 0, None)
    side = max(ink.shape)
    square = np.zeros((side, side), dtype=np.float32)
    down, across = (side - ink.shape[0]) // 2, (side - ink.shape[1]) // 2
    square[down : down + ink.shape[0], across : across + ink.shape[1]] = ink
    small = Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    return values / max(float(values.max()), 1.0)
