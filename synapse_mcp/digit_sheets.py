"""Pages with handwritten digits, drawn from the scans that come with scikit-learn, and where each digit is.

The scans are real (1,797 of them, 8x8 pixels); the pages are put together here, always in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from synapse_core.errors import Unavailable

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZE = (320, 240)
COLUMNS, ROWS = 4, 3
_CELL = 80
_PAPER, _INK = 240, 210
# From this share of the blackest ink on, a pixel belongs to its digit.
_SHOWS = 0.25


@dataclass(frozen=True)
class Digit:
    """One digit of a page. box: (left, top, width, height) of its ink in pixels, origin top left."""

    name: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Sheet:
    """A page of 320x240 grey pixels, with up to twelve digits."""

    image: Image.Image
    digits: tuple[Digit, ...]

    def document(self) -> dict[str, object]:
        """Return the boxes and classes as a DM document of version 2."""
        boxes = [
            {"id": f"digit{number}", "classification": digit.name, "attrs": [], "data": list(digit.box)}
            for number, digit in enumerate(self.digits, start=1)
        ]
        classes = sorted({digit.name for digit in self.digits})
        return {"classification": {"bounding_box": classes}, "images": [{"bounding_box": boxes}]}


def draw_sheets(count: int) -> list[Sheet]:
    """Return pages that share no scan; the first ones are the same whatever the count, at most 149.

    Raises Unavailable where scikit-learn, of which the scans are a part, is not installed.
    """
    scans, names = _load_scans()
    chance = random.Random(0)
    order = list(range(len(scans)))
    chance.shuffle(order)
    a_page = COLUMNS * ROWS
    return [
        _draw([(scans[one], CLASSES[names[one]]) for one in order[start : start + a_page]], chance)
        for start in range(0, count * a_page, a_page)
    ]


def _load_scans() -> tuple[list[list[float]], list[int]]:
    """Return the scans, 64 numbers from 0 (paper) to 16 (ink) each, and their digits."""
    try:
        from sklearn.datasets import load_digits  # an extra, and a second to import
    except ImportError as error:
        raise Unavailable(
            "The pages are drawn from scans that come with scikit-learn, which is not installed.",
            hint="pip install 'synapse-mcp[demo]'",
        ) from error
    scans, names = load_digits(return_X_y=True)
    return scans.tolist(), names.tolist()


def _draw(digits: Sequence[tuple[list[float], str]], chance: random.Random) -> Sheet:
    page = Image.new("L", SIZE, _PAPER)
    ink = Image.new("L", SIZE, _PAPER - _INK)
    drawn = []
    for cell, (scan, name) in enumerate(digits):
        size = chance.randint(44, 60)
        left = cell % COLUMNS * _CELL + chance.randint(4, _CELL - 4 - size)
        top = cell // COLUMNS * _CELL + chance.randint(4, _CELL - 4 - size)
        shape = _as_image(scan).resize((size, size), Image.Resampling.BICUBIC)
        page.paste(ink.crop((0, 0, size, size)), (left, top), shape)
        begin_x, begin_y, end_x, end_y = _extent(shape)
        drawn.append(Digit(name, (left + begin_x, top + begin_y, end_x - begin_x, end_y - begin_y)))
    return Sheet(page, tuple(drawn))


def _as_image(scan: list[float]) -> Image.Image:
    """Return a scan as 8x8 pixels, 255 where there is most ink."""
    return Image.frombytes("L", (8, 8), bytes(round(255 * value / 16) for value in scan))


def _extent(shape: Image.Image) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the pixels that show."""
    threshold = 255 * _SHOWS
    found = shape.point([255 * (value > threshold) for value in range(256)]).getbbox()
    return found or (0, 0, *shape.size)
