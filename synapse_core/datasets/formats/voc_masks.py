"""Pascal VOC masks: SegmentationClass/ and SegmentationObject/, a PNG of palette indices for each image. Read
only.

In the first an index is a class, in the second an object; 0 is the background, and 255 the outline of which
nobody says what it is. Where only classes are there, all pixels of one are one annotation. labelmap.txt names
the classes by their colours; without it they are those of VOC2012. Source: the VOC2012 development kit,
section 3.5.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.voc_layout import IMAGE_FOLDERS, listed_stems
from synapse_core.datasets.formats.voc_write import color
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.mask_windows import row_runs_of_bytes
from synapse_core.datasets.model import NO_CLASS, Annotation, ClassDef, Header, Item, Mask
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.png_mask import Indexed, read_indexed
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import Source, is_image
from synapse_core.errors import InvalidDataset, NotFound

_CLASSES_2012 = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_VOID = 255
# What is neither a class nor an object.
_NOTHING = (0, _VOID)
_Color = tuple[int, int, int]


def detect(seen: Glance) -> Evidence | None:
    """Tell VOC masks by the names of their folders."""
    for path in seen.named("segmentationclass", "segmentationobject"):
        if seen.folders[path].extensions[".png"]:
            return Evidence(0.8, (f"{path}/ holds PNG files",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read which masks and images there are."""
    return VocMaskReader(source, options)


@dataclass(frozen=True)
class _Entry:
    key: str
    split: str | None
    image: str | None
    classes: str | None
    objects: str | None


class VocMaskReader:
    """The images of a Pascal VOC dataset with the masks of their objects."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        base, by_name = _base(source)
        self._colors, names = _label_map(source, base)
        classes = [ClassDef(name) for name in names]
        self._entries = list(_entries(source, base, by_name))
        splits = tuple(dict.fromkeys(entry.split for entry in self._entries if entry.split))
        self.header = Header("voc_masks", classes, frozenset({"mask"}), splits)
        self.found = Losses(len(classes), len(classes))
        self._wants_images = options.images != "none"

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for entry in self._entries:
            yield entry.key, entry.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            entry = self._entries[index]
            where = entry.objects or entry.classes or ""
            item = Item(entry.key, None, None, [], entry.split, entry.image, where)
            if entry.image is None and self._wants_images:
                losses.tell("IMAGE_MISSING", item.key, where)
            try:
                classes = read_indexed(self.source.read(entry.classes)) if entry.classes else None
                objects = read_indexed(self.source.read(entry.objects)) if entry.objects else None
                self._read(item, classes, objects)
            except (ValueError, InvalidDataset, NotFound) as error:
                losses.tell("BAD_FILE", item.key, where, message=str(error))
                continue
            yield index, item

    def _read(self, item: Item, classes: Indexed | None, objects: Indexed | None) -> None:
        """Add the masks of an item. Raises ValueError where its two pictures do not fit."""
        picture = objects or classes
        assert picture is not None
        item.width, item.height = picture.width, picture.height
        if classes is not None and (classes.width, classes.height) != (picture.width, picture.height):
            raise ValueError(
                f"the picture of the classes has another size, {classes.width} x {classes.height}"
            )
        for value in sorted(set(picture.pixels)):
            if picture.colors.get(value) == (0, 0, 0) or value in _NOTHING:
                continue
            chosen = bytearray(256)
            chosen[value] = 1
            runs = row_runs_of_bytes(picture.pixels.translate(bytes(chosen)))
            label = NO_CLASS if classes is None else self._label(classes, runs)
            mask = Mask(picture.height, picture.width, "row_runs", runs)
            item.annotations.append(Annotation(label, shape=mask, id=value if objects is not None else None))

    def _label(self, classes: Indexed, runs: list[list[int]]) -> int:
        """Return the class that most pixels of an object have."""
        there: Counter[int] = Counter()
        for start, length in runs:
            there.update(classes.pixels[start : start + length])
        for value in _NOTHING:
            there.pop(value, None)
        if not there:
            return NO_CLASS
        value = there.most_common(1)[0][0]
        known = self._colors.get(classes.colors[value]) if value in classes.colors else None
        if known is None:
            known = value - 1
        return known if 0 <= known < len(self.header.classes) else NO_CLASS


def _base(source: Source) -> tuple[str, dict[str, str]]:
    """Return the folder of the set, and its folders: name in lower case -> path. Raises InvalidDataset."""
    waiting = [""]
    while waiting:
        base = waiting.pop(0)
        by_name = {name.lower(): posixpath.join(base, name) for name in source.names(base)[0]}
        if by_name.keys() & {"segmentationclass", "segmentationobject"}:
            return base, by_name
        if base.count("/") < 3:
            waiting += by_name.values()
    raise InvalidDataset(
        f"There is neither SegmentationClass/ nor SegmentationObject/ in {source.root}.",
        hint="Pascal VOC masks are PNG files in these folders.",
    )


def _label_map(source: Source, base: str) -> tuple[dict[_Color, int], list[str]]:
    """Return colour -> class, and the names of the classes, without the background."""
    path = posixpath.join(base, "labelmap.txt")
    if not source.has(path):
        return {color(at): at - 1 for at in range(1, 21)}, list(_CLASSES_2012)
    colors: dict[_Color, int] = {}
    names: list[str] = []
    for line in source.read(path).decode("utf-8-sig", "replace").splitlines():
        parts = line.strip().rsplit(":", 3)
        numbers = parts[1].split(",") if len(parts) == 4 else []
        if line.startswith("#") or len(numbers) != 3 or not all(part.strip().isdecimal() for part in numbers):
            continue
        red, green, blue = map(int, numbers)
        if (red, green, blue) != (0, 0, 0):
            colors[red, green, blue] = len(names)
            names.append(parts[0])
    return colors, names


def _entries(source: Source, base: str, by_name: dict[str, str]) -> Iterator[_Entry]:
    """Yield the images that have a mask, by name."""
    found: dict[str, dict[str, str]] = {}
    for kind in ("segmentationclass", "segmentationobject"):
        folder = by_name.get(kind)
        for name in source.names(folder)[1] if folder else ():
            if name.lower().endswith(".png"):
                found.setdefault(name[:-4], {})[kind] = f"{folder}/{name}"
    images: dict[str, str] = {}
    for folder in (by_name[name] for name in IMAGE_FOLDERS if name in by_name):
        for name in source.names(folder)[1]:
            if is_image(name):
                images.setdefault(posixpath.splitext(name)[0], f"{folder}/{name}")
    lists = posixpath.join(by_name["imagesets"], "Segmentation") if "imagesets" in by_name else None
    listed = listed_stems(source, lists, source.names(lists)[1]) if lists is not None else {}
    for stem, masks in sorted(found.items()):
        image = images.get(stem)
        key = image.rpartition("/")[2] if image else f"{stem}.jpg"
        split = listed.get(stem)
        yield _Entry(key, split, image, masks.get("segmentationclass"), masks.get("segmentationobject"))


FORMATS = {
    "voc_masks": Format(
        "voc_masks",
        "Pascal VOC masks, PNG",
        frozenset({"mask"}),
        detect,
        read,
        note="SegmentationClass and SegmentationObject; boxes of the same dataset are the format voc",
    )
}
