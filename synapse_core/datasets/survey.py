"""One pass over a dataset that counts what is in it and finds what is wrong with it.

Inspection and validation tell of it what they are asked for. It holds no more of the dataset than counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from synapse_core.datasets.checking import Checker
from synapse_core.datasets.model import Annotation, Header, Item, Kind, Mask, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.reading import OpenDataset
from synapse_core.datasets.report import Loss, Losses, keep_examples
from synapse_core.datasets.shapes import extent_of
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset

# By how many pixels a shape may leave the image before that is told: rounding in a file does as much.
_SLACK_PIXELS = 0.01
# Different sizes of images that are counted; of further ones only the smallest and largest are known.
_MOST_SIZES = 10_000
# Kinds that have a place in the image.
_PLACED: frozenset[Kind] = frozenset({"box", "rotated_box", "polygon", "mask", "keypoints", "polyline"})


@dataclass
class Survey:
    """What is in a dataset.

    losses: objects by kind (`seen`), by class (`before`), problems by code.
    splits: name -> [images, annotations].
    objects: number of objects in an image -> images. fullest: key of the image with the most of them.
    sizes: (width, height) -> images.
    """

    header: Header
    losses: Losses
    examples: dict[str, list[Loss]] = field(default_factory=dict)
    items: int = 0
    annotated: int = 0
    splits: dict[str | None, list[int]] = field(default_factory=dict)
    media: Counter[str] = field(default_factory=Counter)
    objects: Counter[int] = field(default_factory=Counter)
    fullest: tuple[int, str] = (-1, "")
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    without_size: int = 0

    @property
    def annotations(self) -> int:
        return sum(number for (_, outcome), number in self.losses.counts.items() if outcome == "seen")

    def count_item(self, item: Item) -> None:
        """Count an image and its annotations."""
        self.items += 1
        self.annotated += bool(item.annotations)
        of_split = self.splits.setdefault(item.split, [0, 0])
        of_split[0] += 1
        of_split[1] += len(item.annotations)
        self.media[item.media] += 1
        self._count_size(item)

    def count_objects(self, key: str, number: int) -> None:
        self.objects[number] += 1
        if number > self.fullest[0]:
            self.fullest = number, key

    def _count_size(self, item: Item) -> None:
        if item.width is None or item.height is None:
            self.without_size += 1
            return
        size = item.width, item.height
        if size in self.sizes or len(self.sizes) < _MOST_SIZES:
            self.sizes[size] += 1
        self.smallest = min(self.smallest or size, size, key=_area)
        self.largest = max(self.largest or size, size, key=_area)


def survey(opened: OpenDataset, *, is_thorough: bool) -> Survey:
    """Go through a dataset.

    is_thorough: look for duplicates, into the masks, and at the headers of the images too.
    """
    found = Survey(opened.header, opened.losses())
    found.losses.add(opened.reader.found)
    keep_examples(found.examples, opened.reader.found.entries)
    checker = Checker(ConvertOptions(bounds="keep"), target_clips=False)
    for items, losses in opened.steps():
        for item in items:
            found.count_item(item)
            if is_thorough:
                _check_duplicates(item, losses)
            annotations = item.annotations
            checker.check(item, losses)
            if item.is_plain:
                found.count_objects(item.key, len(annotations))
            else:
                found.count_objects(item.key, sum(kind_of(one) in _PLACED for one in annotations))
                for one in item.annotations:
                    _check_place(one, item, losses, is_thorough=is_thorough)
            if is_thorough and item.image is not None:
                _check_image(opened.reader.source, item, item.image, losses)
        found.losses.add(losses)
        keep_examples(found.examples, losses.entries)
    return found


def _check_place(one: Annotation, item: Item, losses: Losses, *, is_thorough: bool) -> None:
    """Tell of an annotation that does not lie in its image."""
    width, height, kind = item.width, item.height, kind_of(one)
    if isinstance(one.shape, Mask):
        _check_mask(one, one.shape, item, losses, is_thorough=is_thorough)
        return
    extent = extent_of(one)
    if extent is None or width is None or height is None:
        return
    left, top, right, bottom = extent
    over = max(-left, -top, right - width, bottom - height)
    message = f"the image is {width} x {height} pixels"
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        _tell(losses, "OUTSIDE_IMAGE", one, item, before=extent, message=message)
    # A turned box at the border has corners outside of it, as it should.
    elif over > _SLACK_PIXELS and kind != "rotated_box":
        _tell(losses, "LEAVES_IMAGE", one, item, before=extent, message=f"by {over:.4g} pixels; {message}")


def _check_mask(one: Annotation, mask: Mask, item: Item, losses: Losses, *, is_thorough: bool) -> None:
    if item.width is not None and (mask.width, mask.height) != (item.width, item.height):
        sizes = {"before": [mask.width, mask.height], "after": [item.width, item.height]}
        _tell(losses, "SIZE_MISMATCH", one, item, message="the mask has not the size of the image", **sizes)
    if is_thorough:
        from synapse_core.datasets.mask_shapes import counts_of  # numpy: 80 ms, for datasets with masks
        from synapse_core.datasets.rle import InvalidMask  # the same

        try:
            counts_of(mask)
        except InvalidMask as error:
            _tell(losses, "BAD_ROW", one, item, message=str(error))


def _check_duplicates(item: Item, losses: Losses) -> None:
    """Tell of annotations that stand there twice."""
    if len(item.annotations) < 2:
        return
    if len({(one.label, one.box) for one in item.annotations}) == len(item.annotations):
        return
    seen: set[str] = set()
    for one in item.annotations:
        what = repr((one.label, one.box, one.angle, one.shape, one.points, one.attributes))
        if what in seen:
            _tell(losses, "DUPLICATE", one, item, before=one.box)
        seen.add(what)


def _check_image(source: Source, item: Item, image: str, losses: Losses) -> None:
    """Tell of an image whose file has another size than the dataset states, or is no image."""
    told = {entry.code for entry in losses.entries[-8:] if entry.item == item.key}
    try:
        size = size_of(source, image)
    except InvalidDataset as error:
        if "BAD_FILE" not in told:
            losses.tell("BAD_FILE", item.key, image, message=error.message)
        return
    if size is None:
        if "IMAGE_MISSING" not in told:
            losses.tell("IMAGE_MISSING", item.key, image)
        return
    stated, stored = (item.width, item.height), (size.width, size.height)
    if None in stated:
        return
    if stated not in (stored, size.upright):
        losses.tell("SIZE_MISMATCH", item.key, image, before=list(stated), after=list(stored))
    elif size.upright != stored and "EXIF_ORIENTATION" not in told:
        losses.tell("EXIF_ORIENTATION", item.key, image, before=list(stored), after=list(stated))


def _tell(losses: Losses, code: str, one: Annotation, item: Item, **values: object) -> None:
    losses.tell(code, item.key, item.where)
    entry = losses.entries[-1]
    entry.kind, entry.annotation = kind_of(one), one.id
    for name, value in values.items():
        setattr(entry, name, value)


def _area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]
