"""COCO panoptic: a JSON file a split, and for each image a PNG whose colours are the ids of its segments.

The id of a pixel is red + 256 green + 65536 blue; 0 belongs to nothing. Source: the panoptic format of COCO.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.coco_files import split_of_path
from synapse_core.datasets.glance import Glance, glance
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, Mask
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import Source, inside
from synapse_core.decoding import decoded
from synapse_core.errors import InvalidDataset, NotFound

_MOST_BYTES = 1 << 30


class _Segment(msgspec.Struct, gc=False):
    id: int
    category_id: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: int | None = None


class _Annotated(msgspec.Struct, gc=False):
    image_id: int | str
    file_name: str
    segments_info: list[_Segment]


class _Image(msgspec.Struct, gc=False):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotated]
    categories: list[dict[str, Any]]


def detect(seen: Glance) -> Evidence | None:
    """Tell a panoptic set by its segments."""
    found = _files(seen)
    return Evidence(0.97, (f"{found[0]} holds segments_info",)) if found else None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Raises InvalidDataset where there is no such file, or one is broken."""
    files = _files(glance(source))
    if not files:
        raise InvalidDataset(
            f"There is no panoptic COCO file in {source.root}.", hint="Its annotations have segments_info."
        )
    return PanopticReader(source, files, options)


class PanopticReader:
    """The images of one or more files, in their order, each with its segments as masks."""

    def __init__(self, source: Source, files: list[str], options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        self._checks_images = options.images != "none"
        classes: dict[Any, ClassDef] = {}
        self._entries: list[tuple[str, str | None, _Image, _Annotated | None]] = []
        orphans: list[tuple[str, str]] = []
        for path in files:
            try:
                document = decoded(source.read(path, _MOST_BYTES), _Document)
            except msgspec.DecodeError as error:
                raise InvalidDataset(f"{path} cannot be read as panoptic COCO: {error}") from error
            for category in document.categories:
                number = category.get("id")
                classes.setdefault(number, ClassDef(str(category.get("name", number)), number))
            annotated = {entry.image_id: entry for entry in document.annotations}
            for image in document.images:
                self._entries.append((path, split_of_path(path), image, annotated.pop(image.id, None)))
            orphans += [(path, entry.file_name) for entry in annotated.values()]
        self._labels = {number: index for index, number in enumerate(classes)}
        splits = tuple(dict.fromkeys(split for _, split, _, _ in self._entries if split))
        self.header = Header("coco_panoptic", list(classes.values()), frozenset({"mask"}), splits)
        self.found = Losses(len(classes), len(classes))
        for path, name in orphans:
            self.found.tell("UNKNOWN_IMAGE", name, path, message="the file lists no image of this id")

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for _, split, image, _ in self._entries:
            yield _key(image.file_name), split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            path, split, image, annotated = self._entries[index]
            item = Item(_key(image.file_name), image.width, image.height, [], split, None, path, id=image.id)
            if self._checks_images:
                item.image = self._image(path, image.file_name)
                if item.image is None:
                    losses.tell("IMAGE_MISSING", item.key, path)
            if annotated is not None and annotated.segments_info:
                self._add_segments(item, path, annotated, losses)
            yield index, item

    def _add_segments(self, item: Item, path: str, annotated: _Annotated, losses: Losses) -> None:
        try:
            masks = _masks(self.source, path, annotated)
        except (NotFound, ValueError) as error:
            for segment in annotated.segments_info:
                losses.unreadable("BAD_FILE", item.key, "mask", path, str(error), annotation=segment.id)
            return
        for segment in annotated.segments_info:
            label = self._labels.get(segment.category_id)
            mask = masks.get(segment.id)
            if label is None:
                code, message = "UNKNOWN_CLASS", "there is no such category"
            elif mask is None:
                code, message = "ZERO_AREA", "no pixel of the mask has this id"
            else:
                crowd = bool(segment.iscrowd)
                item.annotations.append(
                    Annotation(label, segment.bbox, mask, id=segment.id, is_crowd=crowd, area=segment.area)
                )
                continue
            losses.unreadable(
                code, item.key, "mask", path, message, annotation=segment.id, before=segment.category_id
            )

    def _image(self, path: str, name: str) -> str | None:
        stem = posixpath.splitext(posixpath.basename(path))[0].removeprefix("panoptic_")
        above = posixpath.dirname(posixpath.dirname(path))
        for folder in (f"images/{stem}", stem, "images", ""):
            place = inside(posixpath.join(above, folder, name))
            if place is not None and self.source.has(place):
                return place
        return None


def _masks(source: Source, path: str, annotated: _Annotated) -> dict[int, Mask]:
    """Return the mask of each segment of an image.

    Raises NotFound or ValueError where its PNG cannot be read.
    """
    import numpy as np  # only where there are masks: 80 ms

    from synapse_core.datasets.png_mask import read_colours
    from synapse_core.datasets.rle import mask_to_counts

    folder = posixpath.join(posixpath.dirname(path), posixpath.splitext(posixpath.basename(path))[0])
    place = inside(posixpath.join(folder, annotated.file_name))
    if place is None or not source.has(place):
        place = inside(posixpath.join(posixpath.dirname(path), annotated.file_name))
    if place is None:
        raise NotFound(f"{annotated.file_name} leads out of the dataset.")
    width, height, data = read_colours(source.read(place))
    colours = np.frombuffer(data, np.uint8).reshape(height, width, 3).astype(np.int64)
    numbers = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    wanted = {segment.id for segment in annotated.segments_info}
    return {
        int(number): Mask(height, width, "counts", mask_to_counts(numbers == number))
        for number in np.unique(numbers)
        if int(number) in wanted
    }


def _files(seen: Glance) -> list[str]:
    return sorted(path for path in seen.files(".json") if b'"segments_info"' in seen.head(path))


def _key(name: str) -> str:
    return inside(name) or posixpath.basename(name.replace("\\", "/")) or "image"


FORMATS = {
    "coco_panoptic": Format(
        "coco_panoptic",
        "COCO panoptic: masks as PNG files",
        frozenset({"mask"}),
        detect,
        read,
        has_crowds=True,
        note="only read",
    )
}
