"""What one COCO file holds and where: its images, and the places of each image's annotations in the file.

Nothing of an annotation is kept, but a place or a box where the file has them in another order than its
images.
"""

from __future__ import annotations

import bisect
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, islice, repeat
from operator import gt
from typing import Any, TypeAlias

import msgspec

from synapse_core.datasets.formats.coco_boxes import BoxTable
from synapse_core.datasets.formats.coco_files import CocoFile
from synapse_core.datasets.formats.coco_rows import (
    BoxRow,
    BrokenRow,
    LeanRow,
    Row,
    read_boxes,
    read_lean,
    read_rows,
    set_labels,
)
from synapse_core.datasets.formats.coco_spans import Span, read_annotations
from synapse_core.datasets.formats.json_stream import Block, Either, JsonFile, elements, loose, places
from synapse_core.datasets.model import Annotation, Kind
from synapse_core.errors import InvalidDataset

AnyRow: TypeAlias = Annotation | LeanRow | Row | BrokenRow
_UNKNOWN = -1
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


class FileIndex:
    """The images of a file in its order, and where their annotations are.

    names, widths, heights (-1 where unknown), ids: of the images. fields: what is said of images beyond that,
    by name -> of how many. categories, values: the rest of the file. kinds: of its annotations. strangers:
    annotations of images that the file does not list.
    """

    def __init__(
        self, local_path: str, file: CocoFile, block_bytes: int | None = None, processes: int = 1
    ) -> None:
        """Raises InvalidDataset where the file is no such object. block_bytes: see JsonFile. processes: that
        may read the file at once.
        """
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
        # Which annotation of the file is the first, the second, … in that order; None where the file has it.
        self._order: array[int] | None = None
        # Where in the file each annotation begins and ends; None where nobody asked yet.
        self._places: tuple[array[int], array[int]] | None = None
        self._boxes: BoxTable | None = None
        # category id -> label, set by whoever knows the classes of all files.
        self.labels: Mapping[Any, int] | None = None
        self._is_lean = False
        self._decoded: tuple[int, Sequence[AnyRow]] = (-1, [])
        # Block -> its annotations, of the first blocks of plain boxes.
        self._kept: dict[int, list[BoxRow]] = {}
        # Before this one they belong to whoever took them, and may have been changed.
        self._given = 0
        self._read(JsonFile(self.path, file.path, block_bytes), processes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoded": (-1, []), "_kept": {}}

    def rows(self, start: int, stop: int, *, is_lean: bool = False) -> Iterator[list[AnyRow]]:
        """Yield the annotations of each image from start to stop. is_lean: boxes alone are wanted."""
        self._is_lean = is_lean
        first, last = self._starts[start], self._starts[stop]
        found: Sequence[AnyRow]
        boxes = self._boxes if is_lean else None
        if boxes and self.labels is not None and boxes.categories <= self.labels.keys():
            wanted = range(first, last) if self._order is None else self._order[first:last]
            found = boxes.annotations(wanted, self.labels, self._read_one)
        else:
            found = self._in_file_order(first, last) if self._order is None else self._gathered(first, last)
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

    def _read(self, source: JsonFile, processes: int) -> None:
        span = Span()
        try:
            for key, blocks in source.arrays_of({"images": _IMAGES}):
                if key in ("annotations", _RESULTS):
                    span = read_annotations(source, processes, is_results=key == _RESULTS)
                    continue
                for block in blocks:
                    if key == "images":
                        self._image_blocks.append((block.offset, len(block.data)))
                        self._read_images(block)
                    else:
                        found = [loose(element) for element in elements(block.data)]
                        if key == "categories":
                            self.categories += found
                        else:
                            self.values.setdefault(key, []).extend(found)
            self.values.update(source.values)
            if not self.names and span.owners and not source.values and not self.categories:
                self._name_results(span)
            self.kinds, self._blocks, self._kept, self._boxes = span.kinds, span.blocks, span.kept, span.boxes
            self._group(span, source)
        finally:
            source.close()
        if not self.names and not span.owners and not isinstance(self.values.get("images"), list):
            raise InvalidDataset(f"{self.file.path} holds neither images nor annotations.")

    def _name_results(self, span: Span) -> None:
        """Make up the images and categories of a list of results, which states nothing but their ids."""
        text_of = span.texts.by_number()
        for owner in dict.fromkeys(span.owners):
            number: int | str = text_of.get(owner, owner)
            self.ids.append(number)
            self.names.append(str(number))
            self.widths.append(-1)
            self.heights.append(-1)
        self.categories = [{"id": number, "name": f"category_{number}"} for number in sorted(span.categories)]

    def _read_images(self, block: Block) -> None:
        try:
            rows = block.rows or _IMAGES.decode(b"[" + block.data + b"]")
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

    def _group(self, span: Span, source: JsonFile) -> None:
        """Find out which annotations belong to which image."""
        place: dict[int, int] = {}
        for index, number in enumerate(self.ids):
            if number is None:
                continue
            plain = span.texts.number_of(number)
            if plain in place:
                self.repeated.append(number)
                continue
            place[plain] = index
        images = array("i", map(place.get, span.owners, repeat(_UNKNOWN)))
        counts = Counter(images)
        unknown = counts.pop(_UNKNOWN, 0)
        self._starts = array("i", [0, *accumulate(counts[index] for index in range(len(self.names)))])
        if not unknown and not any(map(gt, images, islice(images, 1, None))):
            return
        self._order = self._sorted(images)
        if unknown or self._boxes is None:
            begins, ends = self._places = self._find_places(source, len(images))
            for number, image in enumerate(images) if unknown else ():
                if image == _UNKNOWN:
                    begin = begins[number]
                    self.strangers += read_rows(source.read(begin, ends[number] - begin))

    def _sorted(self, images: array[int]) -> array[int]:
        """Return the annotations that have an image in the order of the images."""
        order = array("i", bytes(4 * self._starts[-1]))
        following = self._starts.tolist()
        for number, image in enumerate(images):
            if image != _UNKNOWN:
                at = following[image]
                following[image] = at + 1
                order[at] = number
        return order

    def _find_places(self, source: JsonFile, count: int) -> tuple[array[int], array[int]]:
        """Return where in the file every annotation begins and ends."""
        begins, ends = array("q"), array("q")
        following = [before for _, _, before in self._blocks[1:]] + [count]
        for (offset, length, before), after in zip(self._blocks, following, strict=True):
            found = places(source.read(offset, length), after - before)
            begins.extend([offset + begin for begin, _ in found])
            ends.extend([offset + end for _, end in found])
        return begins, ends

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
        assert self._order is not None
        if self._places is None:
            source = JsonFile(self.path, self.file.path)
            self._places = self._find_places(source, len(self._boxes or ()))
            source.close()
        begins, ends = self._places
        # Not a map of the file: its pages would count as this process's memory.
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.pread(file, ends[at] - begins[at], begins[at]) for at in self._order[first:last]]
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

    def _read_one(self, begin: int, end: int) -> AnyRow:
        return read_rows(self._data(begin, end - begin))[0]

    def _is_labelled(self, rows: list[BoxRow]) -> bool:
        return self.labels is None or set_labels(rows, self.labels)

    def _read_block(self, data: bytes) -> Sequence[AnyRow]:
        if (boxes := read_boxes(data)) is not None and self._is_labelled(boxes):
            return boxes
        if self._is_lean and (lean := read_lean(data)) is not None:
            return lean
        return read_rows(data)


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_IMAGES = Either(msgspec.json.Decoder(list[PlainImageRow]), msgspec.json.Decoder(list[ImageRow]))


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
