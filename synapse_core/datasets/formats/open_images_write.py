"""Writes Open Images: annotations/<split>-annotations-bbox.csv and its like, and images/<split>/."""

from __future__ import annotations

import csv
import io
import posixpath

from synapse_core.datasets.format import Piece, Writer, WriterSetup
from synapse_core.datasets.formats.upright import drop_fields, upright_box, wrote
from synapse_core.datasets.model import Annotation, Item, Opaque, kind_of
from synapse_core.datasets.report import Losses

_TAG_HEAD = "ImageID,Source,LabelName,Confidence"
_BOX_HEAD = f"{_TAG_HEAD},XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
_HEADS = {"annotations-bbox": _BOX_HEAD, "annotations-human-imagelabels": _TAG_HEAD}
_META = "annotations/images.meta"
_FLAGS = ("occluded", "truncated", "depiction", "inside")
# Ten digits of a number below one.
_ROUNDING = 0.5e-10


def write(setup: WriterSetup) -> Writer:
    return OpenImagesWriter(setup)


class OpenImagesWriter:
    """A file of boxes and one of classes for each split."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._classes = setup.header.classes
        self._is_again = setup.header.format == "open_images"
        self._ids = [
            str(entry.source_id) if self._is_again and entry.source_id is not None else entry.name
            for entry in self._classes
        ]
        self._images = setup.options.images
        self._rows: dict[str, list[bytes]] = {}
        self._begun: set[str] = set()

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        if item.media != "image":
            for one in item.annotations:
                losses.leave(one, item, "NOT_SUPPORTED", item.media)
            return
        split = item.split or ""
        identity = posixpath.splitext(name)[0]
        for one in item.annotations:
            found = self._row(one, identity, item, losses)
            if found is not None:
                about, row = found
                self._rows.setdefault(f"{split}:{about}", []).append(_line(row))
                wrote(losses, one)
        if item.width and item.height:
            shown = f'"{identity}"' if " " in identity else identity
            self._rows.setdefault(_META, []).append(f"{shown} {item.height} {item.width}\n".encode())
        if self._images != "none" and item.image is not None:
            folder = f"images/{split}/" if split else "images/"
            self.target.place(self._source, item.image, folder + name, is_linked=self._images == "link")
        elif not item.annotations:
            losses.tell("IMAGE_DROPPED", item.key, item.where, message="a table has no row of it")

    def cut(self) -> Piece:
        rows, self._rows = self._rows, {}
        return Piece(rows)

    def merge(self, piece: Piece) -> None:
        for section, rows in piece.rows.items():
            if section == _META:
                self.target.append(_META, b"".join(rows))
                continue
            split, _, about = section.partition(":")
            path = f"annotations/{split}-{about}.csv" if split else f"annotations/{about}.csv"
            head = b"" if path in self._begun else _HEADS[about].encode() + b"\n"
            self._begun.add(path)
            self.target.append(path, head + b"".join(rows))

    def finish(self) -> str:
        path = "annotations/class-descriptions.csv"
        lines = [_line([name, entry.name]) for name, entry in zip(self._ids, self._classes, strict=True)]
        self.target.write(path, b"LabelName,DisplayName\n" + b"".join(lines))
        return path

    def _row(
        self, one: Annotation, identity: str, item: Item, losses: Losses
    ) -> tuple[str, list[str]] | None:
        """Return the file and the row of an annotation, None where it was told to be left out."""
        is_absent = self._is_again and isinstance(one.shape, Opaque) and one.shape.tool == "not_there"
        confidence = "1" if one.score is None else f"{one.score:.10g}"
        if is_absent or kind_of(one) == "tag":
            if one.label < 0:
                losses.leave(one, item, "LABEL_MISSING")
                return None
            drop_fields(one, item, losses, score=False)
            row = [identity, "verification", self._ids[one.label], "0" if is_absent else confidence]
            return "annotations-human-imagelabels", row
        if not item.width or not item.height:
            losses.leave(one, item, "IMAGE_MISSING", "the image's size is not known")
            return None
        # A crowd is what the tables call a group.
        box = upright_box(_uncrowded(one), item, losses, keeps_crowds=True)
        if box is None:
            return None
        attributes = one.attributes or {}
        others = {
            name: value for name, value in attributes.items() if name not in _FLAGS or value is not True
        }
        if others:
            losses.change(one, item, "ATTRIBUTES_DROPPED", ", ".join(map(str, others)), before=others)
        drop_fields(one, item, losses, attributes=False, score=False)
        x, y, width, height = box
        edges = (x / item.width, (x + width) / item.width, y / item.height, (y + height) / item.height)
        losses.largest_error_pixels = max(
            losses.largest_error_pixels, 2 * _ROUNDING * max(item.width, item.height)
        )
        occluded, truncated, depiction, inside = (
            "1" if attributes.get(flag) is True else "0" for flag in _FLAGS
        )
        return "annotations-bbox", [
            identity,
            "",
            self._ids[one.label],
            confidence,
            *(f"{edge:.10f}".rstrip("0").rstrip(".") for edge in edges),
            occluded,
            truncated,
            str(int(one.is_crowd)),
            depiction,
            inside,
        ]


def _uncrowded(one: Annotation) -> Annotation:
    if not one.is_crowd:
        return one
    return Annotation(one.label, one.box, one.shape, one.points, one.angle, one.id)


def _line(row: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()
