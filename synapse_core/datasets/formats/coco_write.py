"""Writes COCO: annotations/instances_<split>.json (person_keypoints_, captions_) and images/<split>/."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import count
from typing import Any

import msgspec

from synapse_core.datasets.format import Piece, WriterSetup
from synapse_core.datasets.model import Annotation, Item, Kind, Mask, Polygon, Text, kind_of
from synapse_core.datasets.report import ItemLosses, Loss, Losses
from synapse_core.datasets.shapes import around, box_corners, ring_area, tight_box

_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_DEFAULT = "default"
# The id that begins a row: a number, or a text.
_ID = re.compile(rb'"id":(?:(-?\d+)|("(?:[^"\\]|\\.)*")),')


class _BoxRow(msgspec.Struct, gc=False):
    """A row of a plain box, after its id."""

    image_id: Any
    category_id: Any
    bbox: Any
    area: float
    iscrowd: int = 0
    segmentation: tuple[()] = ()


class CocoWriter:
    """One file a split. Ids are those of the source where it is COCO too, and count from 1 otherwise."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._header = header = setup.header
        self._images = setup.options.images
        self._drops_crowds = setup.options.crowds == "drop"
        self._keeps_ids = header.format == "coco"
        numbers = [entry.source_id for entry in header.classes]
        if self._keeps_ids and len(set(numbers)) == len(numbers) and None not in numbers:
            self._class_ids: list[Any] = numbers
        else:
            self._class_ids = list(range(1, len(numbers) + 1))
        self._rows: dict[str, list[bytes]] = {}
        # In the process that merges: what is at the ends of the files.
        self._image_rows: dict[str, list[bytes]] = {}
        self._next_ids: dict[str, int] = {}
        self._used_ids: dict[str, set[int | bytes]] = {}
        self._has_rows: set[str] = set()
        self._late_rows: dict[str, list[bytes]] = {}

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        split = item.split or _DEFAULT
        told = ItemLosses(item, losses)
        if item.media != "image":
            for one in item.annotations:
                told.leave(one, "NOT_SUPPORTED", item.media)
            return
        image_id: Any = item.id if self._keeps_ids and item.id is not None else index + 1
        rows = self._rows.setdefault(f"a:{split}", [])
        written: Counter[Kind] = Counter()
        if item.is_plain:
            self._add_boxes(image_id, item.annotations, rows, losses)
        else:
            after = losses.after
            image_part = b'"image_id":%b,' % _encode(image_id)
            for one in item.annotations:
                kind = kind_of(one)
                fields = self._fields(one, kind, item, told)
                if fields is None:
                    continue
                rows.append(self._with_id(one, image_part + _encode(fields)[1:]))
                written[kind] += 1
                if one.label >= 0:
                    after[one.label] += 1
            told.close()
            for kind, number in written.items():
                losses.counts[kind, "written"] += number
        self._rows.setdefault(f"i:{split}", []).append(self._image_row(image_id, name, item))
        if self._images != "none" and item.image is not None:
            # Where others have a split, those without one have a folder too.
            path = f"images/{split}/{name}" if self._header.splits else f"images/{name}"
            self.target.place(self._source, item.image, path, is_linked=self._images == "link")

    def _add_boxes(
        self, image_id: Any, annotations: list[Annotation], rows: list[bytes], losses: Losses
    ) -> None:
        """Add the rows of plain boxes."""
        class_ids, after = self._class_ids, losses.after
        made = []
        for one in annotations:
            label, box, area = one.label, one.box, one.area
            if area is None:
                area = box[2] * box[3]  # type: ignore[index]  # is_plain says that there is one
            made.append(_BoxRow(image_id, class_ids[label], box, area))
            after[label] += 1
        # No row has a line break in it: texts have theirs escaped.
        found = _encoder.encode_lines(made)[1:-1].split(b"\n{")
        rows += map(self._with_id, annotations, found) if self._keeps_ids else found
        losses.counts["box", "written"] += len(annotations)

    def cut(self) -> Piece:
        rows, self._rows = self._rows, {}
        return Piece(rows)

    def merge(self, piece: Piece) -> None:
        for section, rows in piece.rows.items():
            what, _, split = section.partition(":")
            if what == "i":
                self._image_rows.setdefault(split, []).extend(rows)
            else:
                self._write_rows(split, self._numbered(split, rows, piece.told))

    def finish(self) -> str:
        self._write_late_rows()
        for split, images in self._image_rows.items():
            begin = b"" if split in self._has_rows else self._head()
            categories = [
                self._category(entry, number)
                for entry, number in zip(self._header.classes, self._class_ids, strict=True)
            ]
            for part in (
                begin + b'\n],\n"images":[\n',
                b",\n".join(images),
                b'\n],\n"categories":[\n' + b",\n".join(map(_encode, categories)) + b"\n]}\n",
            ):
                self.target.append(self._path(split), part)
        first = next(iter(self._image_rows), None)
        return "" if first is None else self._path(first)

    def _path(self, split: str) -> str:
        kinds = self._header.kinds
        about = "instances"
        if "keypoints" in kinds and any(entry.keypoints for entry in self._header.classes):
            about = "person_keypoints"
        elif kinds == {"caption"}:
            about = "captions"
        return f"annotations/{about}_{split}.json"

    def _head(self) -> bytes:
        info = self._header.info if self._keeps_ids else {}
        facts = b"".join(_encode(key) + b":" + _encode(value) + b",\n" for key, value in info.items())
        return b"{" + facts + b'"annotations":[\n'

    def _with_id(self, one: Annotation, row: bytes) -> bytes:
        """Return the row with the source's id, or without one: it is given where all parts come together."""
        return b'"id":%b,%b' % (_encode(one.id), row) if self._keeps_ids and one.id is not None else row

    def _numbered(self, split: str, rows: list[bytes], told: list[Loss]) -> list[bytes]:
        """Return the rows with their ids; those that have none, or a taken one, wait for all others."""
        if not self._keeps_ids:
            start = self._next_ids.get(split, 1)
            self._next_ids[split] = start + len(rows)
            return [b'{"id":%d,%b' % pair for pair in enumerate(rows, start)]
        used = self._used_ids.setdefault(split, set())
        numbered = []
        for row in rows:
            stated = _ID.match(row)
            if stated is None:
                self._late_rows.setdefault(split, []).append(row)
                continue
            number = int(stated[1]) if stated[1] else stated[2]
            if number in used:
                before = (stated[1] or stated[2]).decode()
                told.append(Loss("DUPLICATE_ID", split, where=self._path(split), before=before))
                self._late_rows.setdefault(split, []).append(row[stated.end() :])
                continue
            used.add(number)
            numbered.append(b"{" + row)
        return numbered

    def _write_rows(self, split: str, rows: list[bytes]) -> None:
        """Add annotations to the file of a split, which begins with the first of them."""
        if rows:
            begin = b",\n" if split in self._has_rows else self._head()
            self._has_rows.add(split)
            self.target.append(self._path(split), begin + b",\n".join(rows))

    def _write_late_rows(self) -> None:
        for split, rows in self._late_rows.items():
            used = self._used_ids[split]
            free = (number for number in count(1) if number not in used)
            self._write_rows(split, [b'{"id":%d,%b' % pair for pair in zip(free, rows, strict=False)])

    def _image_row(self, image_id: int, name: str, item: Item) -> bytes:
        fields: dict[str, Any] = {"id": image_id, "file_name": name}
        if item.width is not None and item.height is not None:
            fields |= {"width": item.width, "height": item.height}
        if self._keeps_ids and item.extra:
            fields |= item.extra
        return _encode(fields)

    def _category(self, entry: Any, number: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"id": number, "name": entry.name}
        if entry.supercategory is not None:
            fields["supercategory"] = entry.supercategory
        if entry.keypoints:
            fields["keypoints"] = list(entry.keypoints)
            fields["skeleton"] = [[start + 1, end + 1] for start, end in entry.skeleton]
        return fields | (entry.extra if self._keeps_ids else {})

    def _fields(self, one: Annotation, kind: Kind, item: Item, told: ItemLosses) -> dict[str, Any] | None:
        """Return an annotation's fields after its image, None where it has no place here, which is told."""
        if kind == "caption":
            assert isinstance(one.shape, Text)
            return {"caption": one.shape.text, **(one.extra or {})}
        if kind in ("tag", "group", "relation", "other", "polyline"):
            told.leave(one, "NOT_SUPPORTED")
            return None
        if one.label < 0:
            told.leave(one, "LABEL_MISSING")
            return None
        if one.is_crowd and self._drops_crowds:
            told.leave(one, "CROWD_DROPPED")
            return None
        fields: dict[str, Any] = {"category_id": self._class_ids[one.label]}
        box, area, segmentation = self._place(one, kind, item, told)
        if one.points is not None:
            fields["keypoints"] = one.points
            fields["num_keypoints"] = sum(1 for seen in one.points[2::3] if seen > 0)
        if box is not None:
            fields["bbox"] = box
        area = one.area if one.area is not None else area
        if area is None and box is not None:
            area = box[2] * box[3]
        if area is not None:
            fields["area"] = area
        fields |= {"iscrowd": int(one.is_crowd), "segmentation": segmentation}
        if one.score is not None:
            fields["score"] = one.score
        attributes = one.attributes
        if one.angle and self._keeps_ids:
            attributes = {**(attributes or {}), "rotation": float(f"{math.degrees(one.angle):.12g}")}
        if attributes:
            fields["attributes"] = attributes
        if one.extra:
            if self._keeps_ids:
                fields |= one.extra
            else:
                told.change(one, kind, "ATTRIBUTES_DROPPED", ", ".join(one.extra))
        return fields

    def _place(
        self, one: Annotation, kind: Kind, item: Item, told: ItemLosses
    ) -> tuple[Any, float | None, Any]:
        """Return the box, the area and the segmentation of an annotation."""
        shape = one.shape
        if isinstance(shape, Mask):
            return self._mask(one, shape)
        if isinstance(shape, Polygon):
            if not shape.holes:
                box = tight_box(one)
                return box, sum(abs(ring_area(ring)) for ring in shape.rings), shape.rings
            if item.width and item.height:
                from synapse_core.datasets.mask_shapes import polygon_counts  # numpy: 80 ms

                told.change(one, kind, "POLYGON_TO_MASK", "rings of COCO have no holes")
                counts = polygon_counts(shape, item.height, item.width)
                mask = Mask(item.height, item.width, "counts", counts)
                return self._mask(one, mask)
            told.change(one, kind, "HOLE_DROPPED", "the image's size is not known")
            outer = shape.rings[: len(shape.rings) - shape.holes]
            return tight_box(one), sum(abs(ring_area(ring)) for ring in outer), outer
        if one.angle and one.box is not None and not self._keeps_ids:
            told.change(one, kind, "BOX_TO_POLYGON", "COCO has no turned boxes")
            ring = box_corners(one.box, one.angle)
            extent = around(ring)
            assert extent is not None
            left, top, right, bottom = extent
            return (left, top, right - left, bottom - top), one.box[2] * one.box[3], [ring]
        return one.box or tight_box(one), None, []

    def _mask(self, one: Annotation, mask: Mask) -> tuple[Any, float | None, Any]:
        size = [mask.height, mask.width]
        if mask.encoding in ("counts", "compressed") and one.box is not None and one.area is not None:
            return one.box, one.area, {"size": size, "counts": mask.data}
        # numpy: 80 ms
        from synapse_core.datasets.mask_shapes import counts_of, mask_box
        from synapse_core.datasets.rle import area_of_counts, counts_to_text

        counts = counts_of(mask)
        text = mask.data if mask.encoding in ("counts", "compressed") else counts_to_text(counts)
        return one.box or mask_box(mask), float(area_of_counts(counts)), {"size": size, "counts": text}
