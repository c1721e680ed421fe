"""Open Images: CSV files with a row for each box, its edges relative to the image; and for each class of an
image.

Columns are found by their names, and a comma in a number is taken for a point, as tables of some countries
have it. The files do not say how large an image is; that is read from the image, or from images.meta (id,
height, width), which datumaro writes. Source: https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.open_images_write import write
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, Kind, Opaque
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source, is_image, walk
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset

_MOST_BYTES = 2 << 30
_EDGES = ("XMin", "XMax", "YMin", "YMax")
_FLAGS = {
    "IsOccluded": "occluded",
    "IsTruncated": "truncated",
    "IsDepiction": "depiction",
    "IsInside": "inside",
}

_Row = dict[str, str]


def detect(seen: Glance) -> Evidence | None:
    """Tell Open Images by the first line of a CSV file."""
    for path in seen.files(".csv")[:20]:
        first = seen.head(path).split(b"\n")[0]
        if b"ImageID" in first and b"LabelName" in first:
            return Evidence(0.95, (f"{path} has the columns ImageID and LabelName",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read every CSV file of the source."""
    return OpenImagesReader(source, options)


@dataclass
class _Image:
    """An image with its rows: (file and line, the row)."""

    name: str
    split: str | None
    path: str | None = None
    rows: list[tuple[str, _Row]] = field(default_factory=list)

    @property
    def key(self) -> str:
        if self.path is not None:
            return self.path.rpartition("/")[2]
        return self.name if is_image(self.name) else f"{self.name}.jpg"


class OpenImagesReader:
    """The images of Open Images with their boxes and classes."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        self._sizes: dict[str, tuple[int, int]] = {}
        paths = [source.only] if source.only is not None else list(walk(source))
        self._by_id: dict[tuple[str | None, str], _Image] = {}
        titles: dict[str, str] = {}
        used: dict[str, None] = {}
        kinds: set[Kind] = set()
        for path in paths:
            name = path.rpartition("/")[2].lower()
            if name == "images.meta":
                self._read_sizes(path)
            elif name.endswith(".csv"):
                self._read_table(path, titles, used, kinds, told)
        self._add_images(paths)
        if not self._by_id:
            raise InvalidDataset(
                f"There are no rows of Open Images in {source.root}.",
                hint="Its CSV files have the columns ImageID, LabelName, XMin, XMax, YMin and YMax.",
            )
        self._images = sorted(self._by_id.values(), key=lambda image: (image.split or "", image.name))
        names = [*titles, *sorted(set(used) - set(titles))]
        classes = [ClassDef(titles.get(name, name), name if name in titles else None) for name in names]
        splits = tuple(dict.fromkeys(image.split for image in self._images if image.split))
        self.header = Header("open_images", classes, frozenset(kinds), splits)
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._labels = {name: index for index, name in enumerate(names)}
        self._wants_images = options.images != "none"

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for image in self._images:
            yield image.key, image.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            yield index, self._item(self._images[index], losses)

    def _read_sizes(self, path: str) -> None:
        for line in self.source.read(path).decode("utf-8-sig", "replace").splitlines():
            identity, _, numbers = (
                line.strip().partition(" ") if line[:1] != '"' else line[1:].partition('" ')
            )
            parts = numbers.split()
            if len(parts) == 2 and all(part.isdecimal() for part in parts):
                self._sizes[identity] = (int(parts[1]), int(parts[0]))

    def _read_table(
        self, path: str, titles: dict[str, str], used: dict[str, None], kinds: set[Kind], told: Losses
    ) -> None:
        """Take the rows of one CSV file, whatever it is about."""
        name = path.rpartition("/")[2].lower()
        text = self.source.read(path, _MOST_BYTES).decode("utf-8-sig", "replace")
        if "class-descriptions" in name:
            rows = [row for row in csv.reader(io.StringIO(text)) if len(row) == 2]
            titles.update({row[0]: row[1] for row in rows if row != ["LabelName", "DisplayName"]})
            return
        table = csv.DictReader(io.StringIO(text), restval="")
        columns = set(table.fieldnames or ())
        if not {"ImageID", "LabelName"} <= columns:
            return
        if "MaskPath" in columns:
            count = sum(1 for _ in table)
            told.tell("NOT_SUPPORTED", path, path, after=count, message="masks of Open Images are not read")
            return
        split = next((mark for word, mark in SPLIT_NAMES.items() if word in name.split("-")), None)
        for row in table:
            image = self._by_id.setdefault((split, row["ImageID"]), _Image(row["ImageID"], split))
            image.rows.append((f"{path}:{table.line_num}", row))
            used[row["LabelName"]] = None
            is_box = bool(row.get("XMin"))
            kinds.add("box" if is_box else "tag" if _number(row.get("Confidence") or "1") else "other")

    def _add_images(self, paths: list[str]) -> None:
        """Find the image of each row, and add those that have none."""
        images = [path for path in paths if is_image(path)]
        found: dict[tuple[str | None, str], str] = {}
        for path in images:
            name = path.rpartition("/")[2]
            for known in (name, posixpath.splitext(name)[0]):
                found[_split_of(path), known] = path
                found.setdefault((None, known), path)
        for (split, name), image in self._by_id.items():
            image.path = found.get((split, name)) or found.get((None, name))
        taken = {image.path for image in self._by_id.values()}
        for path in images:
            if path not in taken:
                split, name = _split_of(path), posixpath.splitext(path.rpartition("/")[2])[0]
                self._by_id[split, path] = _Image(name, split, path)

    def _item(self, image: _Image, losses: Losses) -> Item:
        where = image.rows[0][0] if image.rows else image.path or ""
        item = Item(image.key, None, None, [], image.split, image.path, where, id=image.name)
        if image.name in self._sizes:
            item.width, item.height = self._sizes[image.name]
        elif image.path is not None:
            try:
                size = size_of(self.source, image.path)
            except InvalidDataset as error:
                losses.tell("BAD_FILE", item.key, image.path, message=error.message)
                size = None
            if size is not None:
                item.width, item.height = size.upright
        if image.path is None and self._wants_images:
            losses.tell("IMAGE_MISSING", item.key, item.where)
        for row_where, row in image.rows:
            self._read_row(item, row_where, row, losses)
        return item

    def _read_row(self, item: Item, where: str, row: _Row, losses: Losses) -> None:
        one = Annotation(self._labels[row["LabelName"]])
        try:
            confidence = _number(row.get("Confidence") or "1")
            if not row.get("XMin"):
                if confidence == 0:
                    # People looked, and it is not there.
                    one.shape = Opaque("not_there", {"label": row["LabelName"]})
                elif confidence != 1:
                    one.score = confidence
                item.annotations.append(one)
                return
            left, right, top, bottom = (_number(row[edge]) for edge in _EDGES)
        except (KeyError, ValueError) as error:
            losses.unreadable(
                "BAD_ROW", item.key, "box", where, f"a number is missing or none: {error}", before=row
            )
            return
        if item.width is None or item.height is None:
            message = "the image's size is not known"
            losses.unreadable("IMAGE_MISSING", item.key, "box", where, message)
            return
        width, height = item.width, item.height
        one.box = (left * width, top * height, (right - left) * width, (bottom - top) * height)
        one.score = confidence if confidence != 1 else None
        one.is_crowd = row.get("IsGroupOf") == "1"
        attributes: dict[str, Any] = {name: True for flag, name in _FLAGS.items() if row.get(flag) == "1"}
        one.attributes = attributes or None
        item.annotations.append(one)


def _split_of(path: str) -> str | None:
    """Return the split that a folder above a file names."""
    return next((SPLIT_NAMES[part.lower()] for part in path.split("/") if part.lower() in SPLIT_NAMES), None)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


FORMATS = {
    "open_images": Format(
        "open_images",
        "Open Images CSV, boxes and classes",
        frozenset({"box", "tag"}),
        detect,
        read,
        write,
        is_by_stem=True,
        is_flat=True,
        has_crowds=True,
        note="edges are relative to the image, so its size has to be known; masks are not read",
    )
}
