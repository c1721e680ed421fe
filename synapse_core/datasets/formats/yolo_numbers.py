"""The numbers of YOLO rows, and where the rows go: relative to the image, six digits, all within it."""

from __future__ import annotations

from synapse_core.datasets.formats.yolo_layout import label_path
from synapse_core.datasets.model import Annotation, Box
from synapse_core.datasets.source import without_extension

# Half of the last of six digits.
ROUNDING = 0.5e-6


def box_numbers(box: Box, width: float, height: float) -> str:
    x, y, w, h = box
    return "%.6f %.6f %.6f %.6f" % (  # noqa: UP031  # a third faster than an f-string
        (x + w / 2) / width,
        (y + h / 2) / height,
        w / width,
        h / height,
    )


def ring_numbers(ring: list[float], width: float, height: float) -> str:
    """Return a ring's coordinates relative to the image, cut to it."""
    xs, ys = ring[::2], ring[1::2]
    if min(xs) < 0 or max(xs) > width:
        xs = [min(max(x, 0.0), width) for x in xs]
    if min(ys) < 0 or max(ys) > height:
        ys = [min(max(y, 0.0), height) for y in ys]
    numbers = list(ring)
    numbers[::2] = [x / width for x in xs]
    numbers[1::2] = [y / height for y in ys]
    return ("%.6f " * len(numbers) % tuple(numbers))[:-1]


def excess(ring: list[float], width: float, height: float) -> float:
    """Return by how many pixels a ring leaves the image at most."""
    return max(-min(ring), max(ring[::2]) - width, max(ring[1::2]) - height)


def mirrored(names: tuple[str, ...]) -> list[int]:
    """Return for each point the one that it becomes in a mirrored image: left and right are exchanged."""
    places = {name: index for index, name in enumerate(names)}
    mirrored = []
    for index, name in enumerate(names):
        other = name.replace("left", "\0").replace("right", "left").replace("\0", "right")
        mirrored.append(places.get(other, index))
    return mirrored if len(set(mirrored)) == len(names) else list(range(len(names)))


def fits(one: Annotation, width: float, height: float) -> bool:
    """Return True for an object of no more than a class and a box, of which nothing has to be cut off."""
    x, y, w, h = one.box or (0.0, 0.0, 0.0, 0.0)
    return (
        one.label >= 0
        and not (
            one.is_crowd or one.attributes or one.extra or one.group is not None or one.score is not None
        )
        and x >= 0
        and y >= 0
        and x + w <= width
        and y + h <= height
        and w >= width * ROUNDING
        and h >= height * ROUNDING
    )


def label_of(split: str, name: str) -> str:
    """Return where the label of an image of this name is."""
    # What label_path does, a third as long where the name has no folder that it looks for.
    return (
        label_path(f"images/{split}/{name}")
        if "images/" in name
        else f"labels/{split}/{without_extension(name)}.txt"
    )
