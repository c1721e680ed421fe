"""Annotations drawn on a picture: what they cover in the colour of their class, and the name of the class."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from synapse_core.datasets.lettering import Lettering
from synapse_core.datasets.mask_shapes import counts_of
from synapse_core.datasets.model import Annotation, ClassDef, Mask, Polygon, Polyline
from synapse_core.datasets.rle import InvalidMask, check_counts, counts_to_mask
from synapse_core.datasets.shapes import Extent, box_corners, clip_ring, extent_of

Colour: TypeAlias = tuple[int, int, int]
_Point: TypeAlias = tuple[float, float]
# Bright, and far from each other; from the twentieth class on they follow from the number.
_COLOURS: tuple[Colour, ...] = (
    (255, 56, 56),
    (44, 153, 255),
    (72, 216, 72),
    (255, 205, 20),
    (208, 92, 255),
    (255, 143, 32),
    (0, 212, 187),
    (255, 112, 190),
    (160, 220, 30),
    (100, 115, 255),
    (255, 157, 151),
    (0, 194, 255),
    (146, 204, 140),
    (226, 180, 110),
    (190, 150, 255),
    (207, 110, 60),
    (170, 240, 220),
    (215, 60, 130),
    (240, 240, 120),
    (120, 170, 170),
)
_NO_CLASS_COLOUR: Colour = (235, 235, 235)
_BLACK: Colour = (0, 0, 0)
_WHITE: Colour = (255, 255, 255)
_FILL = 0.35
_CROWD_FILL = 0.2
_MOST_MASK_PIXELS = 64_000_000
# Objects of one picture that are drawn: the largest.
_MOST_OBJECTS = 1_500
# How much of a picture names may hide; the legend names all colours.
_NAMES_SHARE = 0.25
# Pixels from which on a line has a dark edge.
_LEAST_EDGED = 20


def colours_of(names: Sequence[str]) -> list[Colour]:
    """Return a colour for each class; it follows from the names alone, whatever their order."""
    rank = {name: at for at, name in enumerate(sorted(set(names)))}
    return [_colour(rank[name]) for name in names]


def text_colour(colour: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a colour."""
    red, green, blue = ((part / 255) ** 2.2 for part in colour)
    return _BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else _WHITE


def _colour(number: int) -> Colour:
    if number < len(_COLOURS):
        return _COLOURS[number]
    hue = number * 0.618034 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.55, 0.75, 0.95)[number % 3], (1.0, 0.85)[number // 3 % 2])
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class Legend:
    """The classes of a dataset as they are drawn: names as they can be written, and colours."""

    classes: list[ClassDef]
    names: list[str]
    colours: list[Colour]

    def name(self, label: int) -> str:
        return self.names[label] if label >= 0 else ""

    def colour(self, label: int) -> Colour:
        return self.colours[label] if label >= 0 else _NO_CLASS_COLOUR


def make_legend(classes: list[ClassDef], letters: Lettering) -> Legend:
    """Return how classes are drawn; one whose name no font can write is called by its number."""
    names = [letters.readable(entry.name, f"class {number}") for number, entry in enumerate(classes)]
    return Legend(classes, names, colours_of([entry.name for entry in classes]))


def draw_annotations(
    picture: Image.Image,
    frame: tuple[int, int],
    annotations: list[Annotation],
    legend: Legend,
    letters: Lettering,
) -> int:
    """Draw what has a place in the image, the largest first, and return how many that were.

    frame: the width and height that the annotations count by.
    """
    drawing = _Drawing(picture, frame, legend)
    placed = [(extent, one) for one in annotations if (extent := drawing.extent(one)) is not None]
    placed.sort(key=lambda pair: -(pair[0][2] - pair[0][0]) * (pair[0][3] - pair[0][1]))
    drawn = [
        (mark, one.label) for _, one in placed[:_MOST_OBJECTS] if (mark := drawing.draw(one)) is not None
    ]
    _Names(picture, legend, letters).write([(mark, label) for mark, label in drawn if label >= 0])
    return len(drawn)


@dataclass(frozen=True)
class _Mark:
    """Where something was drawn, in pixels of the picture.

    top: its highest point, None for an upright box.
    """

    extent: Extent
    top: _Point | None = None


class _Drawing:
    """One picture that is drawn on."""

    def __init__(self, picture: Image.Image, frame: tuple[int, int], legend: Legend) -> None:
        self._picture, self._frame, self._legend = picture, frame, legend
        self._pen = ImageDraw.Draw(picture)
        self._sx, self._sy = picture.width / frame[0], picture.height / frame[1]
        side = min(picture.size)
        self._width = 1 if side < 90 else 2 if side < 500 else 3

    def extent(self, one: Annotation) -> Extent | None:
        """Return what an annotation covers in its image; of a mask without a box, all of it."""
        extent = extent_of(one)
        if extent is None:
            return (0.0, 0.0, float(self._frame[0]), float(self._frame[1])) if _is_mask(one) else None
        left, top, right, bottom = extent
        is_outside = right < 0 or bottom < 0 or left > self._frame[0] or top > self._frame[1]
        return None if is_outside else extent

    def draw(self, one: Annotation) -> _Mark | None:
        """Draw one annotation; None where there is nothing of it to see."""
        colour = self._legend.colour(one.label)
        mark = self._shape(one, colour)
        if one.points is not None:
            seen = self._points(one, one.points, colour)
            return mark or _mark(seen)
        return mark

    def _shape(self, one: Annotation, colour: Colour) -> _Mark | None:
        """Draw the shape of an annotation, or its box where it has none."""
        if isinstance(one.shape, Mask):
            return self._mask(one.shape, colour, _CROWD_FILL if one.is_crowd else _FILL)
        if isinstance(one.shape, Polygon):
            return self._polygon(one.shape, colour)
        if isinstance(one.shape, Polyline):
            points = self._scaled(one.shape.points)
            self._line(points, colour)
            self._dots(points, colour)
            return _mark(points)
        ring = [] if one.box is None else self._clipped(box_corners(one.box, one.angle))
        self._line([*ring, *ring[:1]], colour)
        if one.box is not None and one.angle and ring:
            # The edge that was on top.
            top = self._scaled(box_corners(one.box, one.angle)[:4])
            self._pen.line(top, fill=colour, width=2 * self._width)
        return None if len(ring) < 3 else _mark(ring) if one.angle else _Mark(_extent(ring))

    def _polygon(self, polygon: Polygon, colour: Colour) -> _Mark | None:
        fill = Image.new("L", self._picture.size, 0)
        pen = ImageDraw.Draw(fill)
        outer = len(polygon.rings) - polygon.holes
        rings = []
        for number, ring in enumerate(polygon.rings):
            points = self._clipped(ring)
            if len(points) > 2:
                pen.polygon(points, fill=255 if number < outer else 0)
                rings.append(points)
        self._tint(fill, colour, _FILL)
        for points in rings:
            self._line([*points, points[0]], colour)
        return _mark([point for points in rings for point in points])

    def _mask(self, mask: Mask, colour: Colour, strength: float) -> _Mark | None:
        if not 0 < mask.height * mask.width <= _MOST_MASK_PIXELS:
            return None
        try:
            counts = counts_of(mask)
            check_counts(counts, mask.height, mask.width)
        except InvalidMask:
            return None
        pixels = Image.fromarray(counts_to_mask(counts, mask.height, mask.width).astype("uint8") * 255)
        # The share of each pixel of the picture that is covered, so that thin things do not vanish.
        is_finer = mask.width > self._picture.width
        how = Image.Resampling.BOX if is_finer else Image.Resampling.NEAREST
        fill = pixels.resize(self._picture.size, how).point([0] * 80 + [255] * 176)
        extent = fill.getbbox()
        if extent is None:
            return None
        self._tint(fill, colour, strength)
        inner = fill.filter(ImageFilter.MinFilter(3))
        self._picture.paste(colour, mask=ImageChops.subtract(fill, inner))
        left, top, right, bottom = extent
        row = fill.crop((left, top, right, top + 1)).getbbox() or (0, 0, right - left, 1)
        return _Mark((left, top, right, bottom), (left + (row[0] + row[2]) / 2, top))

    def _tint(self, mask: Image.Image, colour: Colour, strength: float) -> None:
        self._picture.paste(colour, mask=mask.point([round(value * strength) for value in range(256)]))

    def _points(self, one: Annotation, points: list[float], colour: Colour) -> list[_Point]:
        """Draw key points, filled where they are visible, and the lines between them; return where they
        are."""
        places = self._scaled([number for at in range(0, len(points), 3) for number in points[at : at + 2]])
        seen = points[2::3]
        skeleton = self._legend.classes[one.label].skeleton if one.label >= 0 else ()
        for start, end in skeleton:
            if 0 <= start < len(seen) and 0 <= end < len(seen) and seen[start] > 0 and seen[end] > 0:
                self._line([places[start], places[end]], colour)
        visible = [place for place, v in zip(places, seen, strict=True) if v >= 2]
        hidden = [place for place, v in zip(places, seen, strict=True) if 0 < v < 2]
        self._dots(visible, colour)
        self._dots(hidden, colour, is_hollow=True)
        return visible + hidden

    def _dots(self, places: list[_Point], colour: Colour, *, is_hollow: bool = False) -> None:
        radius = self._width + 1
        for x, y in places:
            spot = (x - radius, y - radius, x + radius, y + radius)
            if is_hollow:
                self._pen.ellipse(spot, fill=_WHITE, outline=colour, width=self._width)
            else:
                self._pen.ellipse(spot, fill=colour, outline=_BLACK)

    def _line(self, places: list[_Point], colour: Colour) -> None:
        """Draw a line with a dark edge, which shows on any ground; around small things it would hide them."""
        if len(places) < 2:
            return
        left, top, right, bottom = _extent(places)
        is_large = max(right - left, bottom - top) >= _LEAST_EDGED
        if is_large and (len(places) == 2 or min(right - left, bottom - top) > 8):
            self._pen.line(places, fill=_BLACK, width=self._width + 2, joint="curve")
        self._pen.line(places, fill=colour, width=self._width)

    def _clipped(self, ring: Sequence[float]) -> list[_Point]:
        """Return what of a ring lies in the picture, so that its border can be seen at the picture's."""
        inside = clip_ring(ring, *self._frame)
        right, bottom = self._picture.width - 1, self._picture.height - 1
        return [(min(x, right), min(y, bottom)) for x, y in self._scaled(inside)]

    def _scaled(self, numbers: Sequence[float]) -> list[_Point]:
        """Return points in pixels of the picture; what is far outside comes near it."""
        far = 4.0 * max(self._picture.size)
        return [
            (min(max(numbers[at] * self._sx, -far), far), min(max(numbers[at + 1] * self._sy, -far), far))
            for at in range(0, len(numbers) - 1, 2)
        ]


def _is_mask(one: Annotation) -> bool:
    return isinstance(one.shape, Mask)


def _extent(points: Sequence[_Point]) -> Extent:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def _mark(points: list[_Point]) -> _Mark | None:
    """Return the mark of a shape that is no upright box, None where nothing was drawn."""
    return _Mark(_extent(points), min(points, key=lambda point: point[1])) if points else None


class _Names:
    """Names of classes beside their objects, none on top of another."""

    def __init__(self, picture: Image.Image, legend: Legend, letters: Lettering) -> None:
        self._picture, self._legend, self._letters = picture, legend, letters
        self._pen = ImageDraw.Draw(picture)
        self._taken: list[Extent] = []

    def write(self, marks: list[tuple[_Mark, int]]) -> None:
        """Write the names of the objects that were drawn, the largest of which comes first."""
        most = min(self._picture.width - 6, max(110, self._picture.width // 2))
        height = self._letters.height + 3
        room = _NAMES_SHARE * self._picture.width * self._picture.height
        names: list[tuple[_Mark, int, str, int]] = []
        for mark, label in marks:
            text = self._letters.cut(self._legend.name(label), most)
            width = self._letters.width(text) + 5
            room -= width * height
            if room < 0:
                break
            if text:
                names.append((mark, label, text, width))
        # Small objects have fewer places for their names.
        for mark, label, text, width in reversed(names):
            place = self._place(mark, width, height)
            if place is None:
                continue
            colour = self._legend.colour(label)
            box = (place[0], place[1], place[0] + width, place[1] + height)
            self._taken.append(box)
            self._pen.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=colour)
            at = (place[0] + 3, place[1] + 1)
            self._pen.text(at, text, fill=text_colour(colour), font=self._letters.font(text))

    def _place(self, mark: _Mark, width: int, height: int) -> tuple[int, int] | None:
        """Return where a name fits: at its object, in the picture, and on no other name."""
        most_x, most_y = self._picture.width - width, self._picture.height - height
        if most_x < 0 or most_y < 0:
            return None
        for x, y in _places(mark, width, height):
            place = int(min(max(x, 0), most_x)), int(min(max(y, 0), most_y))
            box = (place[0], place[1], place[0] + width, place[1] + height)
            if not any(_overlap(box, other) for other in self._taken):
                return place
        return None


def _places(mark: _Mark, width: int, height: int) -> list[_Point]:
    """Return where a name may stand, the best place first."""
    left, top, right, bottom = mark.extent
    middle = (left + right - width) / 2, (top + bottom - height) / 2
    corners = [
        (left - 1, top - height),
        (left + 1, top + 1),
        (right - width, top - height),
        (left - 1, bottom),
        (right - width, bottom - height),
        (left + 1, bottom - height),
        (right + 1, top),
        (left - width, top),
        (left - 1, top - 2 * height),
        (left - 1, bottom + height),
    ]
    if mark.top is None:
        return [*corners, middle]
    x, y = mark.top
    if right - left > 1.5 * width and bottom - top > 3 * height:
        return [middle, (x - width / 2, y - height), *corners]
    return [(x - width / 2, y - height - 1), (x - width / 2, bottom + 1), middle, *corners]


def _overlap(one: Extent | tuple[int, int, int, int], other: Extent) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
