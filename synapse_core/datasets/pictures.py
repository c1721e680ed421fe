"""Images of a dataset as small pictures: upright where their annotations are, and never more than fits in
memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from PIL import Image, ImageOps

from synapse_core.datasets.model import Item
from synapse_core.datasets.shapes import extent_of
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset, NotFound

# More pixels than a camera has: what is larger is not decoded.
_MOST_PIXELS = 80_000_000
# Formats that are decoded in this process alone; Pillow starts other programs for some.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
_GREY = (176, 176, 176)
_DEFAULT_FRAME = (640, 480)
# What Pillow's decoders raise for broken files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """A picture of one item.

    frame: width and height of the image as the annotations count its pixels. note: what is wrong with the
    file, '' where nothing is.
    """

    image: Image.Image
    frame: Size
    note: str = ""

    def scaled(self, room: Size) -> Image.Image:
        """Return the picture as large as it can be in this room."""
        size = fitted(self.frame, room)
        if self.image.size == size:
            return self.image.copy()
        # Single pixels of a tiny image stay sharp.
        is_tiny = size[0] >= 3 * self.image.width
        return self.image.resize(size, Image.Resampling.NEAREST if is_tiny else Image.Resampling.LANCZOS)


def fitted(frame: Size, room: Size) -> Size:
    """Return the largest size of a frame's shape that fits into a room."""
    scale = min(room[0] / frame[0], room[1] / frame[1])
    return max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))


def load_picture(source: Source, item: Item, most: Size) -> Picture:
    """Return the picture of an item, not much larger than `most`: a grey one where its image cannot be
    shown."""
    if item.image is None:
        return _blank(_frame(item), "image missing")
    try:
        size = size_of(source, item.image)
    except InvalidDataset:
        return _blank(_frame(item), "image unreadable")
    if size is None:
        return _blank(_frame(item), "image missing")
    stored = size.width, size.height
    frame = _frame(item, size.upright)
    if size.width * size.height > _MOST_PIXELS:
        return _blank(frame, f"{size.width} x {size.height} pixels are not decoded")
    # Annotations count the pixels of the image as it is shown, unless their size says that they do not.
    is_upright = size.orientation == 1 or frame == size.upright or frame != stored
    try:
        with source.local(item.image) as path, Image.open(path, formats=_formats()) as image:
            if image.width * image.height > _MOST_PIXELS:
                return _blank(frame, "image too large")
            image.draft("RGB", most)
            picture = _small(ImageOps.exif_transpose(image) if is_upright else image, frame, most)
    except (NotFound, *_BROKEN):
        return _blank(frame, "image unreadable")
    shown = size.upright if is_upright else stored
    return Picture(picture, frame, "" if frame == shown else f"the file has {shown[0]} x {shown[1]}")


def _frame(item: Item, size: Size | None = None) -> Size:
    """Return the width and height that the annotations count by: stated, of the file, or what they take."""
    if item.width is not None and item.height is not None and item.width > 0 and item.height > 0:
        return item.width, item.height
    if size is not None:
        return size
    extents = [extent for one in item.annotations if (extent := extent_of(one)) is not None]
    right, bottom = max((at[2] for at in extents), default=0.0), max((at[3] for at in extents), default=0.0)
    if 0 < right < 1e6 and 0 < bottom < 1e6:
        return int(right) + 1, int(bottom) + 1
    return _DEFAULT_FRAME


def _small(image: Image.Image, frame: Size, most: Size) -> Image.Image:
    """Return a copy in colours that is at most as large as it will be shown."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = _stretched(image)
    wanted = fitted(frame, most)
    if wanted[0] < image.width or wanted[1] < image.height:
        if image.mode in ("P", "1", "PA"):
            image = image.convert("RGB")
        image = image.resize(
            (min(wanted[0], image.width), min(wanted[1], image.height)),
            Image.Resampling.LANCZOS,
            reducing_gap=3.0,
        )
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Return an image of more than 8 bits so that its darkest pixel is black and its brightest white."""
    plain = image.convert("F")
    low, high = plain.getextrema()
    assert isinstance(low, float) and isinstance(high, float)
    scale = 255.0 / (high - low) if high > low else 1.0
    return plain.point(lambda value: value * scale - low * scale).convert("L")


@cache
def _formats() -> list[str]:
    """Return those of the formats that this Pillow can decode."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _blank(frame: Size, note: str) -> Picture:
    return Picture(Image.new("RGB", (1, 1), _GREY), frame, note)
