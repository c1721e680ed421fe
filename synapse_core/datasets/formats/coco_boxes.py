"""The boxes of a COCO file that was read once, in 53 bytes each: for files whose annotations are in another
order than their images, and for who wants no more of an annotation than its box.
"""

from __future__ import annotations

import bisect
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any, Final, cast

import msgspec

from synapse_core.datasets.formats.coco_rows import BoxRow, LeanRow, are_rings, is_ring
from synapse_core.datasets.formats.json_stream import places
from synapse_core.datasets.model import Annotation, Unread

# x, y, width, height, area, id, category, and what there is beside the box.
_RECORD: Final = struct.Struct("<5dqib")
_SIZE: Final = _RECORD.size
_NOTHING, _RING, _MORE = 0, 1, 2
_NO_ID = -(1 << 63)
# A segmentation that is none.
_EMPTY = (b"[]", b"null")
_RING_SHAPE = Unread("polygon")


class BoxTable(msgspec.Struct):
    """Records of annotations in the order of the file.

    elsewhere: of those that are more than a box and a ring, which they are, in order, and where each begins
    and ends in the file.
    """

    records: bytearray = msgspec.field(default_factory=bytearray)
    categories: set[int] = msgspec.field(default_factory=set)
    numbers: array[int] = msgspec.field(default_factory=lambda: array("i"))
    begins: array[int] = msgspec.field(default_factory=lambda: array("q"))
    ends: array[int] = msgspec.field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.records) // _SIZE

    def add(self, rows: Sequence[BoxRow] | Sequence[LeanRow], offset: int, data: bytes) -> bool:
        """Add a block that begins at an offset. Returns False where a row has no place in a record."""
        try:
            if isinstance(rows[0], BoxRow):
                records = self._packed_boxes(cast("Sequence[BoxRow]", rows))
            else:
                records = self._packed(cast("Sequence[LeanRow]", rows), offset, data)
        except struct.error:
            return False
        self.records += b"".join(records)
        return True

    def extend(self, other: BoxTable) -> None:
        """Add what stands behind this in the file."""
        before = len(self)
        self.records += other.records
        self.categories |= other.categories
        self.numbers.extend([before + number for number in other.numbers])
        self.begins += other.begins
        self.ends += other.ends

    def annotations(
        self, wanted: Sequence[int], labels: Mapping[Any, int], read: Callable[[int, int], Any]
    ) -> list[Any]:
        """Return the annotations of these numbers, a polygon beside a box as one that was not looked into.

        labels: category -> label, for all categories. read: gives the annotation between two places of the
        file.
        """
        records = self.records
        if isinstance(wanted, range):
            data = bytes(memoryview(records)[wanted.start * _SIZE : wanted.stop * _SIZE])
        else:
            data = b"".join([records[number * _SIZE : number * _SIZE + _SIZE] for number in wanted])
        found: list[Any] = [
            Annotation(
                labels[category],
                (x, y, width, height),
                _RING_SHAPE if beside else None,
                None,
                0.0,
                None if number == _NO_ID else number,
                False,
                None,
                area if area == area else None,
            )
            for x, y, width, height, area, number, category, beside in _RECORD.iter_unpack(data)
        ]
        if self.numbers:
            for at, number in enumerate(wanted):
                place = bisect.bisect_left(self.numbers, number)
                if place < len(self.numbers) and self.numbers[place] == number:
                    found[at] = read(self.begins[place], self.ends[place])
        return found

    def _packed_boxes(self, rows: Sequence[BoxRow]) -> list[bytes]:
        """Return records of plain boxes. Raises struct.error where one does not fit."""
        self.categories.update([row.label for row in rows])
        return [
            _RECORD.pack(
                *row.box,
                nan if row.area is None else row.area,
                _NO_ID if row.id is None else row.id,
                row.label,
                _NOTHING,
            )
            for row in rows
        ]

    def _packed(self, rows: Sequence[LeanRow], offset: int, data: bytes) -> list[bytes]:
        """Return records of rows with segmentations. Raises struct.error where one does not fit."""
        texts = [bytes(row.segmentation) for row in rows]
        marks: Sequence[int]
        if are_rings(texts) and not any(row.iscrowd for row in rows):
            marks = [_RING] * len(rows)
        else:
            marks = [_mark(row, text) for row, text in zip(rows, texts, strict=True)]
            if _MORE in marks:
                self._note(marks, offset, data)
        self.categories.update([row.category_id for row in rows])
        return [
            _RECORD.pack(
                *row.bbox,
                nan if row.area is None else row.area,
                _NO_ID if row.id is None else row.id,
                row.category_id,
                mark,
            )
            for row, mark in zip(rows, marks, strict=True)
        ]

    def _note(self, marks: Sequence[int], offset: int, data: bytes) -> None:
        """Note where those are that are more than a box and a ring."""
        before = len(self)
        for at, (begin, end) in enumerate(places(data, len(marks))):
            if marks[at] == _MORE:
                self.numbers.append(before + at)
                self.begins.append(offset + begin)
                self.ends.append(offset + end)


def _mark(row: LeanRow, text: bytes) -> int:
    if row.iscrowd:
        return _MORE
    return _NOTHING if text in _EMPTY else _RING if is_ring(text) else _MORE
