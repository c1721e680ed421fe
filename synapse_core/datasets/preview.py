"""preview(): a sheet of some images of a dataset with their annotations drawn on them."""

from __future__ import annotations

import io
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image, ImageDraw

from synapse_core.datasets.checking import Checker
from synapse_core.datasets.drawing import Colour, Legend, draw_annotations, make_legend
from synapse_core.datasets.lettering import Lettering
from synapse_core.datasets.model import Item, Text, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.pictures import Picture, Size, load_picture
from synapse_core.datasets.reading import open_dataset
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sampling import sample
from synapse_core.errors import InvalidRequest

MOST_BYTES = 900_000
_MOST_IMAGES = 64
_LEAST_PIXELS, _MOST_PIXELS = 40_000, 16_000_000
# Of so few pixels, all colours fit into the bytes; of more, a palette of 256.
_TRUE_COLOUR_PIXELS = 400_000
_NEAR = 8
_WITHOUT_PLACE = frozenset({"tag", "caption", "group", "relation"})
_GAP = 8
_MOST_LEGEND_LINES = 4
_INK, _FAINT, _PAPER = (20, 20, 20), (105, 105, 105), (255, 255, 255)

# Of the legend: label, None for what is left out; text; width in pixels.
_Entry: TypeAlias = tuple[int | None, str, int]


def preview(
    source: str | Path,
    count: int = 9,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    source_format: str = "auto",
    max_pixels: int = 1_300_000,
    **options: Any,
) -> bytes:
    """Return a PNG of at most 900 kB: up to `count` images (1 to 64) with their annotations drawn on them.

    The images are the same each time and spread over the dataset, or over a split of it. classes: only
    images that have one of these, and only what is of these is drawn. Below each image stand its key, split
    and size, at the end which colour is which class, with the number of annotations in these images. An
    image that is missing or cannot be read is grey. max_pixels: of the whole sheet. options: those of
    `convert` that are about reading. Raises InvalidRequest for a count, a split or a class that does not
    fit, and what `read` raises.
    """
    if not 1 <= count <= _MOST_IMAGES:
        raise InvalidRequest(f"count is {count}; it can be 1 to {_MOST_IMAGES}.")
    if not _LEAST_PIXELS <= max_pixels <= _MOST_PIXELS:
        raise InvalidRequest(f"max_pixels is {max_pixels}; it can be {_LEAST_PIXELS} to {_MOST_PIXELS}.")
    reader = open_dataset(source, source_format, **options).reader
    items = sample(reader, count, split, classes or None)
    if not items:
        raise InvalidRequest("There are no images in the dataset.")
    names = [entry.name for entry in reader.header.classes]
    wanted = {names.index(name) for name in classes} if classes else None
    room = _room(max_pixels, len(items))
    tiles = [_tile(load_picture(reader.source, item, room), item, wanted) for item in items]
    letters = Lettering(13)
    sheet = _Sheet(tiles, make_legend(reader.header.classes, letters), letters)
    while True:
        image = sheet.draw(max_pixels)
        data = _encoded(image, sheet.colours)
        if len(data) <= MOST_BYTES or max_pixels < _LEAST_PIXELS:
            return data
        max_pixels = int(max_pixels * max(0.5, 0.95 * MOST_BYTES / len(data)))


@dataclass(frozen=True)
class _Tile:
    """One image of the sheet. total: annotations before those were left out that cannot be drawn."""

    picture: Picture
    item: Item
    total: int


def _tile(picture: Picture, item: Item, wanted: set[int] | None) -> _Tile:
    """Leave in an item what is to be drawn: what is wanted, and sound, as far as it lies in the image."""
    if wanted is not None:
        item.annotations = [one for one in item.annotations if one.label in wanted]
    total = len(item.annotations)
    item.width, item.height = picture.frame
    highest = max((one.label for one in item.annotations), default=0) + 1
    Checker(ConvertOptions(), target_clips=False).check(item, Losses(highest, highest))
    return _Tile(picture, item, total)


def _room(max_pixels: int, count: int) -> Size:
    """Return the largest size that one of so many images can have on the sheet."""
    side = int(math.sqrt(2 * max_pixels / count))
    return side, side


class _Sheet:
    """The images beside and below each other, all in cells of one size."""

    def __init__(self, tiles: list[_Tile], legend: Legend, letters: Lettering) -> None:
        self._tiles, self._legend, self._letters = tiles, legend, letters
        self._small = Lettering(12)
        shapes = [tile.picture.frame[0] / tile.picture.frame[1] for tile in tiles]
        self._shape = min(max(statistics.median(shapes), 0.6), 1.9)
        self._columns = min(len(tiles), max(1, round(math.sqrt(len(tiles) * 1.35 / self._shape))))
        self._rows = -(-len(tiles) // self._columns)
        self._caption = 2 * (self._small.height + 2) + 4
        self._counts = Counter(one.label for tile in tiles for one in tile.item.annotations if one.label >= 0)
        self.colours = [legend.colour(label) for label, _ in self._counts.most_common(40)]

    def draw(self, max_pixels: int) -> Image.Image:
        """Return the sheet, of about as many pixels."""
        # Captions take their part of each cell.
        cell_pixels = max_pixels / (self._columns * self._rows)
        caption = self._caption + _GAP
        height = (-caption + math.sqrt(caption**2 + 4 * cell_pixels / self._shape)) / 2
        room = max(48, int(height * self._shape) - _GAP), max(36, int(height))
        width = self._columns * (room[0] + _GAP) + _GAP
        lines = self._legend_lines(width - 2 * _GAP)
        line = self._letters.height + 7
        below = self._rows * (room[1] + caption) + _GAP
        sheet = Image.new("RGB", (width, below + len(lines) * line + (4 if lines else 0)), _PAPER)
        for number, tile in enumerate(self._tiles):
            row, column = divmod(number, self._columns)
            corner = _GAP + column * (room[0] + _GAP), _GAP + row * (room[1] + caption)
            self._draw_tile(sheet, tile, corner, room)
        pen = ImageDraw.Draw(sheet)
        for number, entries in enumerate(lines):
            x = _GAP
            for label, text, wide in entries:
                y = below + number * line
                if label is not None:
                    box = (x, y, x + 12, y + 12)
                    pen.rectangle(box, fill=self._legend.colour(label), outline=_FAINT)
                pen.text((x + 17, y - 1), text, fill=_INK, font=self._letters.font(text))
                x += wide
        return sheet

    def _draw_tile(self, sheet: Image.Image, tile: _Tile, corner: Size, room: Size) -> None:
        picture = tile.picture.scaled(room)
        drawn = draw_annotations(
            picture, tile.picture.frame, tile.item.annotations, self._legend, self._letters
        )
        left = corner[0] + (room[0] - picture.width) // 2
        sheet.paste(picture, (left, corner[1] + room[1] - picture.height))
        pen = ImageDraw.Draw(sheet)
        y = corner[1] + room[1] + 2
        key = self._small.cut(self._small.readable(tile.item.key), room[0], keeps_end=True)
        pen.text((corner[0], y), key, fill=_INK, font=self._small.font(key))
        facts = self._small.cut(self._small.readable(self._facts(tile, drawn)), room[0])
        y += self._small.height + 2
        pen.text((corner[0], y), facts, fill=_FAINT, font=self._small.font(facts))

    def _facts(self, tile: _Tile, drawn: int) -> str:
        """Return what stands below an image: what is wrong with it, class, split, size, objects, texts."""
        annotations, frame = tile.item.annotations, tile.picture.frame
        tags = [self._legend.name(one.label) for one in annotations if kind_of(one) == "tag"]
        texts = [one.shape.text for one in annotations if isinstance(one.shape, Text)]
        objects = tile.total - sum(kind_of(one) in _WITHOUT_PLACE for one in annotations)
        number = f"{drawn} of {objects}" if drawn < objects else str(objects)
        facts = [
            tile.picture.note,
            ", ".join(dict.fromkeys(tags)),
            tile.item.split or "",
            f"{frame[0]} x {frame[1]}",
            f"{number} object{'' if objects == 1 else 's'}" if objects or not (tags or texts) else "",
            *texts,
        ]
        return " · ".join(fact for fact in facts if fact)

    def _legend_lines(self, width: int) -> list[list[_Entry]]:
        """Return the lines of the legend: (label, text, width) of each entry; label None for what is left
        out."""
        lines: list[list[_Entry]] = []
        x = width
        entries = self._counts.most_common()
        for number, (label, times) in enumerate(entries):
            text = self._letters.cut(f"{self._legend.name(label)} ", min(width - 90, 320)) + f" {times}"
            wide = self._letters.width(text) + 33
            rest = f"+ {len(entries) - number} more classes"
            is_last = len(lines) == _MOST_LEGEND_LINES
            if is_last and number < len(entries) - 1 and x + wide + self._letters.width(rest) + 17 > width:
                lines[-1].append((None, rest, width))
                return lines
            if x + wide > width and not is_last:
                lines.append([])
                x = 0
            lines[-1].append((label, text, wide))
            x += wide
        return lines


def _encoded(sheet: Image.Image, colours: list[Colour]) -> bytes:
    """Return a sheet as PNG; a large one with a palette, in which the colours of the classes are exact."""
    data = io.BytesIO()
    if sheet.width * sheet.height <= _TRUE_COLOUR_PIXELS:
        sheet.save(data, "PNG", optimize=True)
        if data.tell() <= MOST_BYTES:
            return data.getvalue()
        data = io.BytesIO()
    fixed = list(dict.fromkeys([_PAPER, (0, 0, 0), _INK, _FAINT, *colours]))
    free = 256 - len(fixed)
    found = sheet.quantize(free, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette() or []
    others = [(found[at], found[at + 1], found[at + 2]) for at in range(0, min(len(found), 3 * free), 3)]
    # Where there is one of the fixed colours nearby, it is meant.
    others = [colour for colour in others if all(_gap(colour, one) > _NEAR for one in fixed)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in fixed + others for part in colour])
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return data.getvalue()


def _gap(one: Colour, other: Colour) -> int:
    return max(abs(mine - theirs) for mine, theirs in zip(one, other, strict=True))
