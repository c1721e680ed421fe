"""Reading the annotations of a COCO file for whose they are, in one span of the file or in several at once.

Where a span begins is a guess that the span before it proves: it has read whole elements up to there.
"""

from __future__ import annotations

import re
from array import array
from contextlib import closing
from functools import partial
from operator import gt
from typing import Any

import msgspec

from synapse_core.datasets.formats.coco_boxes import BoxTable
from synapse_core.datasets.formats.coco_rows import BoxRow, LeanRow, box_rows, lean_rows, read_rows
from synapse_core.datasets.formats.json_stream import Block, Either, JsonFile
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
# Those that a row without further fields may have.
_LEAN_KINDS: tuple[Kind, ...] = ("polygon", "mask")
_CATEGORY_ID = re.compile(rb'"category_id"\s*:\s*(\d+)')
# Ids that are texts, or longer numbers than this, are counted down from its negative.
_MOST_NUMBER = 1 << 60
# Plain boxes that are kept as they were decoded: they need not be read again, and take 300 bytes each.
_MOST_KEPT = 40_000
# A rest of a file of so many bytes is worth a second process, which has to be told and to tell.
_PARALLEL_BYTES = 16 << 20
# About so much of the file is read at once: what is told of it is in memory three times for a moment.
_SPAN_BYTES = 16 << 20


class OwnerRow(msgspec.Struct, gc=False):
    """Of an annotation, whose it is."""

    image_id: int | str | None = None


_ROWS = Either(box_rows, lean_rows, msgspec.json.Decoder(list[OwnerRow]))


class Texts:
    """Numbers that stand for ids which are no small numbers, the same for the same."""

    def __init__(self) -> None:
        self._numbers: dict[int | str, int] = {}

    def number_of(self, owner: int | str | None) -> int:
        """Return the number that stands for an image's id; one of its own for None."""
        if owner is None:
            return -_MOST_NUMBER
        if isinstance(owner, int) and -_MOST_NUMBER < owner < _MOST_NUMBER:
            return owner
        return -_MOST_NUMBER - 1 - self._numbers.setdefault(owner, len(self._numbers))

    def numbers_of(self, ids: list[Any]) -> array[int]:
        try:
            numbers: array[int] = array("q", ids)
        except (TypeError, OverflowError):  # not all are numbers, or one is a long one
            return array("q", [self.number_of(owner) for owner in ids])
        if min(numbers) > -_MOST_NUMBER and max(numbers) < _MOST_NUMBER:
            return numbers
        return array("q", [self.number_of(owner) for owner in ids])

    def by_number(self) -> dict[int, int | str]:
        return {self.number_of(owner): owner for owner in self._numbers}


class Span:
    """What was read of annotations that stand one after the other.

    owners: a number for the image of each, see `texts`. blocks: the offset of each, its length, and how many
    annotations come before it. boxes: None where they are in the order of their images, for all that a span
    can tell, or where some have no place there. kept: block -> its rows, of the first blocks of plain boxes.
    categories: ids that occur, where they are asked for. end: where in the file it ended. is_last: the array
    ended there.
    """

    def __init__(self) -> None:
        self.owners = array("q")
        self.texts = Texts()
        self.blocks: list[tuple[int, int, int]] = []
        self.kinds: set[Kind] = set()
        self.boxes: BoxTable | None = BoxTable()
        self.kept: dict[int, list[BoxRow]] = {}
        self.categories: set[int] = set()
        self.end = 0
        self.is_last = False

    def read(self, source: JsonFile, until: int | None = None, *, is_results: bool = False) -> None:
        """Read the elements of an array from where the file stands; see JsonFile.blocks."""
        for block in source.blocks(_ROWS, until):
            if is_results:
                self.categories.update(map(int, _CATEGORY_ID.findall(block.data)))
            self._take(block)
        self.end, self.is_last = source.at, not source.is_in_array

    def extend(self, other: Span) -> None:
        """Add the span that follows this one."""
        before = len(self.owners)
        known = other.texts.by_number()
        self.owners += (
            other.owners
            if not known
            else array("q", [self.texts.number_of(known.get(owner, owner)) for owner in other.owners])
        )
        self.blocks += [(offset, length, before + count) for offset, length, count in other.blocks]
        self.kinds |= other.kinds
        self.categories |= other.categories
        if self.boxes is None or other.boxes is None:
            self.boxes = None
        else:
            self.boxes.extend(other.boxes)
        self.end, self.is_last = other.end, other.is_last

    def _take(self, block: Block) -> None:
        data = block.data
        rows: list[Any]
        try:
            rows = block.rows or _ROWS.decode(b"[" + data + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = list(read_rows(data))
        before = len(self.owners)
        numbers = self.texts.numbers_of([row.image_id for row in rows])
        is_plain, is_lean = isinstance(rows[0], BoxRow), isinstance(rows[0], LeanRow)
        if not is_plain:
            for kind in _LEAN_KINDS if is_lean else _SIGNS:
                word, sign = _SIGNS[kind]
                if kind not in self.kinds and word in data and sign.search(data):
                    self.kinds.add(kind)
        elif before + len(rows) <= _MOST_KEPT:
            self.kept[len(self.blocks)] = rows
        if before == 0 and is_plain and not any(map(gt, numbers, numbers[1:])):
            self.boxes = None  # decoded again they take no longer than made of a record
        if self.boxes is not None and not (
            (is_plain or is_lean) and self.boxes.add(rows, block.offset, data)
        ):
            self.boxes = None
        self.owners += numbers
        self.blocks.append((block.offset, len(data), before))


def read_annotations(source: JsonFile, processes: int, *, is_results: bool = False) -> Span:
    """Read the array that begins where the file stands, and go past it. Raises InvalidDataset."""
    whole = Span()
    if processes > 1 and source.size() - source.at >= _PARALLEL_BYTES:
        whole = _read_at_once(source, processes, is_results=is_results)
        source.at = whole.end
    if not whole.is_last:
        rest = Span()
        rest.read(source, is_results=is_results)
        if not whole.blocks:
            return rest
        whole.extend(rest)
    return whole


def _read_at_once(source: JsonFile, processes: int, *, is_results: bool) -> Span:
    """Read spans in several processes, as far as one proves where the next begins."""
    # 15 ms that a small file need not wait for.
    from synapse_core.datasets.part_processes import can_fork, in_processes

    whole = Span()
    whole.end = source.at
    rounds = (source.size() - source.at) // (processes * _SPAN_BYTES)
    cuts = source.cuts(processes * max(1, rounds)) if can_fork() else []
    if not cuts:
        return whole
    work = partial(_read_span, source.path, source.name, source.block_bytes, is_results)
    ends: list[int | None] = [*(end for end, _ in cuts), None]
    begins = [source.at, *(begin for _, begin in cuts)]
    with closing(in_processes(work, list(zip(begins, ends, strict=True)), processes)) as spans:
        try:
            for number, span in enumerate(spans):
                whole.extend(span)
                if span.is_last or span.end != ends[number]:
                    break
                whole.end = begins[number + 1]
        except InvalidDataset:
            pass  # it was no element that began there, or whoever reads on tells what is wrong
    return whole


def _read_span(
    path: str, name: str, block_bytes: int, is_results: bool, bounds: tuple[int, int | None]
) -> Span:
    source = JsonFile(path, name, block_bytes)
    try:
        span = Span()
        source.at, until = bounds
        span.read(source, until, is_results=is_results)
        span.kept = {}
        return span
    finally:
        source.close()
