"""What one COCO file holds and where: its images, and the places of each image's annotations in the file.

Nothing of an annotation is kept but a place, and not even that where the file has them in the order of its
images.
"""

from __future__ import annotations

import bisect
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, islice, repeat
from operator import gt
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from synapse_core.datasets.formats.coco_files import CocoFile
from synapse_core.datasets.formats.coco_rows import (
    BoxRow,
    BrokenRow,
    LeanRow,
    Row,
    box_rows,
    read_boxes,
    read_lean,
    read_rows,
    set_labels,
)
from synapse_core.datasets.formats.json_stream import Block, Decodes, JsonFile, elements, loose, places
from synapse_core.datasets.model import Kind
from synapse_core.errors import InvalidDataset

# What shows that a kind of annotation is in a block: a word, which is looked for first, and how it is used.
_SIGNS: dict[Kind, tuple[bytes, re.Pattern[bytes]]] = {
    "polygon": (b"[", re.compile(rb'"segmentation"\s*:\s*\[\s*\[\s*[-\d]')),
    "mask": (b'"counts"', re.compile(rb'"counts"\s*:')),
    "keypoints": (b'"keypoints"', re.compile(rb'"keypoints"\s*:\s*\[\s*[-\d]')),
    "caption": (b'"caption"', re.compile(rb'"caption"\s*:')),
    "rotated_box": (b'"rotation"', re.compile(rb'"rotation"\s*:\s*-?(?!0(?:\.0*)?\s*[,}])\d')),
}
_CATEGORY_ID = re.compile(rb'"category_id"\s*:\s*(\d+)')
_UNKNOWN = -1
# Ids that are texts, or longer numbers than this, are counted down from its negative.
_MOST_NUMBER = 1 << 60
AnyRow: TypeAlias = BoxRow | LeanRow | Row | BrokenRow
# Plain boxes that are kept as they were decoded: they need not be read again, and take 300 bytes each.
_MOST_KEPT = 40_000
# The key of the array where the file is nothing else: a list of results.
_RESULTS = ""


class ImageRow(msgspec.Struct, gc=False):
    """An image as it stands in the file."""

    id: int | str | None = None
    file_name: str | None = None
    width: int | None = None
    height: int | None = None


class PlainImageRow(ImageRow, gc=False, forbid_unknown_fields=True):
    """An image of which nothing else is said."""


class OwnerRow(msgspec.Struct, gc=False):
    """Of an annotation, whose it is."""

    image_id: int | str | None = None


class FileIndex:
    """The images of a file in its order, and where their annotations are.

    names, widths, heights (-1 where unknown), ids: of the images. fields: what is said of images beyond that,
    by name -> of how many. categories, values: the rest of the file. kinds: of its annotations. strangers:
    annotations of images that the file does not list.
    """

    def __init__(self, local_path: str, file: CocoFile, block_bytes: int | None = None) -> None:
        """Raises InvalidDataset where the file is no such object. block_bytes: see JsonFile."""
        self.file = file
        self.path = local_path
        self.names: list[str] = []
        self.widths = array("i")
        self.heights = array("i")
        self.ids: list[int | str | None] = []
        self.categories: list[Any] = []
        self.values: dict[str, Any] = {}
        self.fields: Counter[str] = Counter()
        self.kinds: set[Kind] = set()
        self.strangers: list[Row | BrokenRow] = []
        self.repeated: list[int | str] = []
        self._image_blocks: list[tuple[int, int]] = []
        # Of each block of annotations: offset, length, and how many come before it.
        self._blocks: list[tuple[int, int, int]] = []
        # Where the annotations of image i begin, among all in the order of the images; one more at the end.
        self._starts = array("i")
        # Where in the file each annotation begins and ends, in that order; None where the file has that
        # order.
        self._places: tuple[array[int], array[int]] | None = None
        # category id -> label, set by whoever knows the classes of all files.
        self.labels: Mapping[Any, int] | None = None
        self._is_lean = False
        self._decoded: tuple[int, Sequence[AnyRow]] = (-1, [])
        # Block -> its annotations, of the first blocks of plain boxes.
        self._kept: dict[int, list[BoxRow]] = {}
        # Before this one they belong to whoever took them, and may have been changed.
        self._given = 0
        self._read(JsonFile(self.path, file.path, *([block_bytes] if block_bytes else [])))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoded": (-1, []), "_kept": {}}

    def rows(self, start: int, stop: int, *, is_lean: bool = False) -> Iterator[list[AnyRow]]:
        """Yield the annotations of each image from start to stop. is_lean: boxes alone are wanted."""
        self._is_lean = is_lean
        first, last = self._starts[start], self._starts[stop]
        found: Sequence[AnyRow]
        found = self._in_file_order(first, last) if self._places is None else self._gathered(first, last)
        for image in range(start, stop):
            yield list(found[self._starts[image] - first : self._starts[image + 1] - first])

    def image_extra(self) -> list[dict[str, Any] | None]:
        """Return what the file says of each image beyond its name and size."""
        extra: list[dict[str, Any] | None] = []
        known = set(ImageRow.__struct_fields__)
        source = JsonFile(self.path, self.file.path)
        try:
            for offset, length in self._image_blocks:
                for element in elements(source.read(offset, length)):
                    data = loose(element)
                    fields = data.items() if isinstance(data, dict) else ()
                    extra.append({name: value for name, value in fields if name not in known} or None)
        finally:
            source.close()
        return extra

    def _read(self, source: JsonFile) -> None:
        try:
            owners = array("q")
            texts: dict[int | str, int] = {}
            results: set[int] = set()
            for key, blocks in source.arrays_of(_DECODERS):
                for block in blocks:
                    if key == "images":
                        self._image_blocks.append((block.offset, len(block.data)))
                        self._read_images(block)
                    elif key in ("annotations", _RESULTS):
                        if key == _RESULTS:
                            results |= set(map(int, _CATEGORY_ID.findall(block.data)))
                        self._blocks.append((block.offset, len(block.data), len(owners)))
                        self._read_owners(block, owners, texts)
                    else:
                        found = [loose(element) for element in elements(block.data)]
                        if key == "categories":
                            self.categories += found
                        else:
                            self.values.setdefault(key, []).extend(found)
            self.values.update(source.values)
            if not self.names and len(owners) and not source.values and not self.categories:
                self._name_results(owners, texts, results)
            self._group(owners, texts, source)
        finally:
            source.close()
        if not self.names and not owners and not isinstance(self.values.get("images"), list):
            raise InvalidDataset(f"{self.file.path} holds neither images nor annotations.")

    def _name_results(self, owners: array[int], texts: dict[int | str, int], categories: set[int]) -> None:
        """Make up the images and categories of a list of results, which states nothing but their ids."""
        text_of = {_number_of(text, texts): text for text in texts}
        for owner in dict.fromkeys(owners):
            number: int | str = text_of.get(owner, owner)
            self.ids.append(number)
            self.names.append(str(number))
            self.widths.append(-1)
            self.heights.append(-1)
        self.categories = [{"id": number, "name": f"category_{number}"} for number in sorted(categories)]

    def _read_images(self, block: Block) -> None:
        try:
            rows = block.rows or _DECODERS["images"].decode(b"[" + block.data + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = [_loose_image(element) for element in elements(block.data)]
        if not isinstance(rows[0], PlainImageRow):
            self._count_fields(block.data)
        for row in rows:
            self.ids.append(row.id)
            self.names.append(row.file_name or f"{row.id}")
            self.widths.append(row.width if row.width is not None and 0 < row.width < 1 << 31 else -1)
            self.heights.append(row.height if row.height is not None and 0 < row.height < 1 << 31 else -1)

    def _count_fields(self, data: bytes) -> None:
        """Count what a block says of images beyond their names and sizes."""
        for element in elements(data):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # what is no object has no fields
                self.fields.update(_fields.decode(element).keys())
        for name in ImageRow.__struct_fields__:
            del self.fields[name]

    def _read_owners(self, block: Block, owners: array[int], texts: dict[int | str, int]) -> None:
        """Add a number for the image of each annotation of a block."""
        data = block.data
        rows: Sequence[BoxRow | OwnerRow | Row | BrokenRow]
        try:
            rows = block.rows or _DECODERS["annotations"].decode(b"[" + data + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = read_rows(data)
        if not isinstance(rows[0], BoxRow):
            for kind, (word, sign) in _SIGNS.items():
                if kind not in self.kinds and word in data and sign.search(data):
                    self.kinds.add(kind)
        elif len(owners) + len(rows) <= _MOST_KEPT:
            self._kept[len(self._blocks) - 1] = rows
        owners.extend(_numbers_of([row.image_id for row in rows], texts))

    def _group(self, owners: array[int], texts: dict[int | str, int], source: JsonFile) -> None:
        """Find out which annotations belong to which image."""
        place: dict[int, int] = {}
        for index, number in enumerate(self.ids):
            if number is None:
                continue
            plain = _number_of(number, texts)
            if plain in place:
                self.repeated.append(number)
                continue
            place[plain] = index
        images = array("i", map(place.get, owners, repeat(_UNKNOWN)))
        counts = Counter(images)
        unknown = counts.pop(_UNKNOWN, 0)
        self._starts = array("i", [0, *accumulate(counts[index] for index in range(len(self.names)))])
        if unknown or any(map(gt, images, islice(images, 1, None))):
            self._sort(images, source, unknown)

    def _sort(self, images: array[int], source: JsonFile, unknown: int) -> None:
        """Note the place of every annotation, in the order of the images."""
        begins = array("q", bytes(8 * (len(images) - unknown)))
        ends = array("q", bytes(8 * (len(images) - unknown)))
        following = array("i", self._starts)
        ordinal = 0
        following_counts = [before for _, _, before in self._blocks[1:]] + [len(images)]
        for (offset, length, before), after in zip(self._blocks, following_counts, strict=True):
            data = source.read(offset, length)
            for begin, end in places(data, after - before):
                image = images[ordinal]
                ordinal += 1
                if image == _UNKNOWN:
                    self.strangers += read_rows(data[begin:end])
                    continue
                at = following[image]
                following[image] = at + 1
                begins[at], ends[at] = offset + begin, offset + end
        self._places = begins, ends

    def _in_file_order(self, first: int, last: int) -> list[AnyRow]:
        """Return the annotations first to last of a file that has them in the order of its images."""
        if first < self._given:
            self._decoded, self._kept = (-1, []), {}
        self._given = last
        found: list[AnyRow] = []
        number = max(0, bisect.bisect_right(self._blocks, first, key=lambda block: block[2]) - 1)
        while first < last:
            offset, length, before = self._blocks[number]
            if self._decoded[0] != number:
                self._decoded = number, self._taken(number) or self._read_block(self._data(offset, length))
            rows = self._decoded[1]
            taken = rows[first - before : last - before]
            found += taken
            first += len(taken)
            number += 1
        return found

    def _gathered(self, first: int, last: int) -> Sequence[AnyRow]:
        """Return the annotations first to last from wherever they are in the file."""
        if first == last:
            return []
        assert self._places is not None
        begins, ends = self._places
        # Not a map of the file: its pages would count as this process's memory.
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.pread(file, ends[at] - begins[at], begins[at]) for at in range(first, last)]
        finally:
            os.close(file)
        rows = self._read_block(b",".join(parts))
        if len(rows) != last - first:
            raise InvalidDataset(f"{self.file.path} has changed while it was read.")
        return rows

    def _taken(self, number: int) -> list[BoxRow] | None:
        """Return the annotations of a block that were kept, None where they have to be read again."""
        kept = self._kept.pop(number, None)
        return kept if kept is not None and self._is_labelled(kept) else None

    def _data(self, offset: int, length: int) -> bytes:
        source = JsonFile(self.path, self.file.path)
        try:
            return source.read(offset, length)
        finally:
            source.close()

    def _is_labelled(self, rows: list[BoxRow]) -> bool:
        return self.labels is None or set_labels(rows, self.labels)

    def _read_block(self, data: bytes) -> Sequence[AnyRow]:
        if (boxes := read_boxes(data)) is not None and self._is_labelled(boxes):
            return boxes
        if self._is_lean and (lean := read_lean(data)) is not None:
            return lean
        return read_rows(data)


class _Either:
    """Decodes rows as what they mostly are, and where one is not, as what all are."""

    def __init__(self, usual: Decodes, general: Decodes) -> None:
        self._usual, self._general = usual, general

    def decode(self, text: bytes) -> list[Any]:
        try:
            return self._usual.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._general.decode(text)


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODERS: Mapping[str, Decodes] = MappingProxyType(
    {
        "images": _Either(msgspec.json.Decoder(list[PlainImageRow]), msgspec.json.Decoder(list[ImageRow])),
        "annotations": _Either(box_rows, msgspec.json.Decoder(list[OwnerRow])),
        _RESULTS: _Either(box_rows, msgspec.json.Decoder(list[OwnerRow])),
    }
)


def _numbers_of(ids: list[Any], texts: dict[int | str, int]) -> array[int]:
    try:
        numbers: array[int] = array("q", ids)
    except (TypeError, OverflowError):  # not all are numbers, or one is a long one
        return array("q", [_number_of(owner, texts) for owner in ids])
    if min(numbers) > -_MOST_NUMBER and max(numbers) < _MOST_NUMBER:
        return numbers
    return array("q", [_number_of(owner, texts) for owner in ids])


def _number_of(owner: int | str | None, texts: dict[int | str, int]) -> int:
    """Return the number that stands for an image's id, the same for the same; none for None."""
    if owner is None:
        return -_MOST_NUMBER
    if isinstance(owner, int) and -_MOST_NUMBER < owner < _MOST_NUMBER:
        return owner
    return -_MOST_NUMBER - 1 - texts.setdefault(owner, len(texts))


def _loose_image(element: bytes) -> ImageRow:
    """Return an image of which not everything is as it should be."""
    data = loose(element)
    if not isinstance(data, dict):
        return ImageRow()
    name, number = data.get("file_name"), data.get("id")
    sizes = []
    for key in ("width", "height"):
        try:
            sizes.append(int(float(data[key])))
        except (KeyError, TypeError, ValueError, OverflowError):
            sizes.append(-1)
    return ImageRow(
        number if isinstance(number, int | str) else None, name if isinstance(name, str) else None, *sizes
    )
