"""Drawing pictures of shapes on paper, with what is in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw

# left, top, width, height in pixels, origin top left.
Box: TypeAlias = tuple[float, float, float, float]
CLASSES = ("circle", "square", "triangle", "star")
_SMALLEST, _LARGEST = 8.0, 20.0
# Free pixels between two shapes.
_GAP = 4.0
_LEAST_CONTRAST = 80
_NOISE = 6.0
_TRIES = 40


@dataclass(frozen=True)
class Drawn:
    """A picture, and the class and the box of each shape in it."""

    picture: Image.Image
    shapes: list[tuple[str, Box]]


def draw_picture(dice: np.random.Generator, width: int, height: int, most_shapes: int) -> Drawn:
    """Draw 1 to `most_shapes` shapes, and crosses and strokes that are none, as far as there is room."""
    paper = dice.integers(0, 256, 3)
    picture = Image.new("RGB", (width, height), tuple(map(int, paper)))
    shapes: list[tuple[str, Box]] = []
    taken: list[tuple[float, float, float]] = []
    for number in range(int(dice.integers(1, most_shapes + 1)) + int(dice.integers(0, 3))):
        is_shape = number == 0 or dice.random() < 0.75
        place = _free_place(dice, width, height, taken)
        if place is None:
            continue
        taken.append(place)
        name = str(dice.choice(CLASSES)) if is_shape and len(shapes) < most_shapes else "cross"
        mask = _mask(dice, name, picture.size, place)
        picture.paste(_colour(dice, paper), mask=mask)
        box = mask.getbbox()
        if name != "cross" and box is not None:
            left, top, right, bottom = box
            shapes.append((name, (left, top, right - left, bottom - top)))
    if dice.random() < 0.3:
        ends = [(int(dice.integers(0, width)), int(dice.integers(0, height))) for _ in range(2)]
        ImageDraw.Draw(picture).line(ends, _colour(dice, paper), width=1)
    return Drawn(_with_noise(dice, picture), shapes)


def _free_place(
    dice: np.random.Generator, width: int, height: int, taken: list[tuple[float, float, float]]
) -> tuple[float, float, float] | None:
    """Return (x, y, radius) of a circle that touches no other one, None where none was found."""
    for _ in range(_TRIES):
        radius = float(dice.uniform(_SMALLEST, min(_LARGEST, width / 3, height / 3)))
        x = float(dice.uniform(radius + 1, width - radius - 1))
        y = float(dice.uniform(radius + 1, height - radius - 1))
        if all(math.hypot(x - x2, y - y2) > radius + other + _GAP for x2, y2, other in taken):
            return x, y, radius
    return None


def _mask(
    dice: np.random.Generator, name: str, size: tuple[int, int], place: tuple[float, float, float]
) -> Image.Image:
    """Return where a shape is, filled or as an outline, turned by any angle."""
    x, y, radius = place
    outline = _outline(name, float(dice.uniform(0, 2 * math.pi)))
    mask = Image.new("1", size)
    drawn = ImageDraw.Draw(mask)
    drawn.polygon([(x + radius * across, y + radius * down) for across, down in outline], fill=1)
    if name != "cross" and dice.random() < 0.35:
        inner = radius * float(dice.uniform(0.5, 0.7))
        drawn.polygon([(x + inner * across, y + inner * down) for across, down in outline], fill=0)
    return mask


def _outline(name: str, turn: float) -> list[tuple[float, float]]:
    """Return the corners of a shape in a circle of radius 1."""
    if name == "cross":
        corner, arm = math.radians(15), 0.36
        angles = [quarter * math.pi / 2 + side * corner for quarter in range(4) for side in (-1, 1)]
        radii = [1.0] * 8
        for quarter in range(4):
            angles.insert(3 * quarter + 2, quarter * math.pi / 2 + math.pi / 4)
            radii.insert(3 * quarter + 2, arm)
    else:
        count = {"circle": 40, "square": 4, "triangle": 3, "star": 10}[name]
        angles = [2 * math.pi * corner / count for corner in range(count)]
        radii = [0.42 if name == "star" and corner % 2 else 1.0 for corner in range(count)]
    return [
        (radius * math.cos(angle + turn), radius * math.sin(angle + turn))
        for angle, radius in zip(angles, radii, strict=True)
    ]


def _colour(dice: np.random.Generator, paper: np.ndarray) -> tuple[int, int, int]:
    """Return a colour that can be told from the paper."""
    while True:
        colour = dice.integers(0, 256, 3)
        if np.abs(colour - paper).max() >= _LEAST_CONTRAST:
            return int(colour[0]), int(colour[1]), int(colour[2])


def _with_noise(dice: np.random.Generator, picture: Image.Image) -> Image.Image:
    values = np.asarray(picture, dtype=np.float64)
    return Image.fromarray(np.clip(values + dice.normal(0, _NOISE, values.shape), 0, 255).astype(np.uint8))
