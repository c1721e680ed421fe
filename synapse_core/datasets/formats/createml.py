"""CreateML's object detection: a JSON list of images, each with the boxes on it, x and y of their centres in
pixels.

The file does not say how large an image is; that is read from the image. Source: Apple's MLObjectDetector.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from synapse_core.datasets.card import json_files
from synapse_core.datasets.format import Evidence, Format, Piece, Reader, Writer, WriterSetup
from synapse_core.datasets.formats.upright import drop_fields, is_kept, upright_box, wrote
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, Kind, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source, inside, walk
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset, NotFound

_MOST_BYTES = 2 << 30
_NAME = "_annotations.createml.json"


class _Coordinates(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float


class _Annotation(msgspec.Struct):
    """One box; without coordinates, a class of the whole image."""

    label: Any
    coordinates: _Coordinates | None = None
    confidence: float | None = None


class _Row(msgspec.Struct):
    """One image. Older files have the second names."""

    image: str | None = None
    annotations: list[msgspec.Raw] = []
    imagefilename: str | None = None
    annotation: list[msgspec.Raw] = []


class _Label(msgspec.Struct):
    label: Any = None
    coordinates: msgspec.Raw = msgspec.Raw(b"null")


_rows = msgspec.json.Decoder(list[_Row])
_label = msgspec.json.Decoder(_Label)
_annotation = msgspec.json.Decoder(_Annotation)
_encoder = msgspec.json.Encoder()


def detect(seen: Glance) -> Evidence | None:
    """Tell CreateML by the beginning of a JSON file."""
    for path in seen.files(".json")[:20]:
        head = seen.head(path).lstrip(b"\xef\xbb\xbf \t\r\n")
        is_list = head[:1] == b"["
        if is_list and b'"annotations"' in head and b'"coordinates"' in head and b'"image"' in head:
            return Evidence(0.95, (f"{path} is a list of images with coordinates, as CreateML has it",))
        if path.lower().endswith(_NAME.lstrip("_")):
            return Evidence(0.9, (f"{path} has the name of a file of CreateML",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read every file that is CreateML's."""
    return CreateMlReader(source, options)


@dataclass(frozen=True)
class _Image:
    key: str
    split: str | None
    path: str | None
    where: str
    boxes: tuple[bytes, ...]


class CreateMlReader:
    """The images of CreateML's files with their boxes."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        self._images: list[_Image] = []
        names: set[str] = set()
        kinds: set[Kind] = {"box"}
        self._paths = set() if source.only is not None else set(walk(source))
        for path in json_files(source):
            try:
                rows = _rows.decode(source.read(path, _MOST_BYTES))
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                told.tell("BAD_FILE", path, path, message=str(error))
                continue
            for number, row in enumerate(rows, 1):
                self._add(path, number, row, told)
                for raw in (*row.annotations, *row.annotation):
                    self._see(raw, names, kinds)
        if not self._images:
            raise InvalidDataset(
                f"There are no images of CreateML in {source.root}.",
                hint="CreateML has a JSON list of {image, annotations: [{label, coordinates}]}.",
            )
        classes = [ClassDef(name) for name in sorted(names)]
        splits = tuple(dict.fromkeys(image.split for image in self._images if image.split))
        self.header = Header("createml", classes, frozenset(kinds), splits)
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._labels = {entry.name: index for index, entry in enumerate(classes)}
        self._wants_images = options.images != "none"

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for image in self._images:
            yield image.key, image.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            yield index, self._item(self._images[index], losses)

    def _add(self, path: str, number: int, row: _Row, told: Losses) -> None:
        name = row.image or row.imagefilename
        where = f"{path}: image {number}"
        if not name:
            told.tell("BAD_ROW", path, where, message="it names no image")
            return
        folder = posixpath.dirname(path)
        split = SPLIT_NAMES.get(folder.rpartition("/")[2].lower())
        key = inside(name) or posixpath.basename(name.replace("\\", "/"))
        places = (posixpath.join(folder, key), posixpath.join(folder, "images", key))
        image = next((place for place in places if self._has(place)), None)
        boxes = tuple(bytes(raw) for raw in (*row.annotations, *row.annotation))
        self._images.append(_Image(key, split, image, where, boxes))

    def _see(self, raw: msgspec.Raw, names: set[str], kinds: set[Kind]) -> None:
        try:
            found = _label.decode(raw)
        except msgspec.DecodeError:
            return  # told when the image is read
        if found.label is not None:
            names.add(str(found.label))
        if bytes(found.coordinates) == b"null":
            kinds.add("tag")

    def _has(self, path: str) -> bool:
        return path in self._paths or (self.source.only is not None and self.source.has(path))

    def _item(self, image: _Image, losses: Losses) -> Item:
        item = Item(image.key, None, None, [], image.split, image.path, image.where)
        if image.path is None and self._wants_images:
            losses.tell("IMAGE_MISSING", item.key, item.where)
        try:
            size = size_of(self.source, image.path) if image.path is not None else None
        except InvalidDataset as error:
            losses.tell("BAD_FILE", item.key, image.path or "", message=error.message)
            size = None
        if size is not None:
            item.width, item.height = size.upright
        for number, raw in enumerate(image.boxes, 1):
            try:
                found = _annotation.decode(raw)
            except msgspec.DecodeError as error:
                where = f"{item.where}, annotation {number}"
                before = raw[:200].decode("utf-8", "replace")
                losses.unreadable("BAD_ROW", item.key, "box", where, str(error), before=before)
                continue
            one = Annotation(self._labels.get(str(found.label), -1), score=found.confidence)
            if found.coordinates is not None:
                x, y, width, height = msgspec.structs.astuple(found.coordinates)
                one.box = (x - width / 2, y - height / 2, width, height)
            item.annotations.append(one)
        return item


def write(setup: WriterSetup) -> Writer:
    return CreateMlWriter(setup)


class CreateMlWriter:
    """One file a split, beside its images."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._names = [entry.name for entry in setup.header.classes]
        self._images = setup.options.images
        self._keeps_crowds = setup.options.crowds == "keep"
        self._rows: dict[str, list[bytes]] = {}
        self._begun: dict[str, None] = {}

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        if item.media != "image":
            for one in item.annotations:
                losses.leave(one, item, "NOT_SUPPORTED", item.media)
            return
        boxes: list[dict[str, Any]] = []
        for one in item.annotations:
            if (row := self._row(one, item, losses)) is not None:
                boxes.append(row)
                wrote(losses, one)
        folder = f"{item.split}/" if item.split else ""
        row_bytes = _encoder.encode({"image": name, "annotations": boxes})
        self._rows.setdefault(folder, []).append(row_bytes)
        if self._images != "none" and item.image is not None:
            self.target.place(self._source, item.image, folder + name, is_linked=self._images == "link")

    def cut(self) -> Piece:
        rows, self._rows = self._rows, {}
        return Piece(rows)

    def merge(self, piece: Piece) -> None:
        for folder, rows in piece.rows.items():
            begin = b",\n" if folder in self._begun else b"[\n"
            self._begun[folder] = None
            self.target.append(folder + _NAME, begin + b",\n".join(rows))

    def finish(self) -> str:
        for folder in self._begun:
            self.target.append(folder + _NAME, b"\n]\n")
        return next(iter(self._begun), "") + _NAME if self._begun else ""

    def _row(self, one: Annotation, item: Item, losses: Losses) -> dict[str, Any] | None:
        """Return an annotation's entry, None where it was told to be left out."""
        row: dict[str, Any] = {}
        if kind_of(one) == "tag":
            if not is_kept(one, item, losses, keeps_crowds=self._keeps_crowds):
                return None
        else:
            box = upright_box(one, item, losses, keeps_crowds=self._keeps_crowds)
            if box is None:
                return None
            x, y, width, height = box
            row["coordinates"] = {"x": x + width / 2, "y": y + height / 2, "width": width, "height": height}
        drop_fields(one, item, losses, score=False)
        if one.score is not None:
            row["confidence"] = one.score
        return {"label": self._names[one.label], **row}


FORMATS = {
    "createml": Format(
        "createml",
        "CreateML JSON, boxes",
        frozenset({"box", "tag"}),
        detect,
        read,
        write,
        note="it does not say how large the images are: they have to be there",
    )
}
