"""Label Studio's JSON export: a list of tasks, each with what one or several people marked in it. Read only.

Of several people's work that which is marked as the truth is read, or else the first that was not cancelled;
what the others marked, and what a model proposed, is told. Source: Label Studio 1.20, export in the format
JSON.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from synapse_core.datasets.card import json_files
from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.label_studio_regions import (
    Region,
    annotations_of,
    kind_of_region,
    labels_of,
)
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import ClassDef, Header, Item, Kind
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source, inside, is_image, walk
from synapse_core.errors import InvalidDataset, NotFound

_MOST_BYTES = 2 << 30
_IMAGE_KEYS = ("image", "img", "photo", "picture")


class _Work(msgspec.Struct):
    """What one person, or a model, marked in a task."""

    result: list[msgspec.Raw] = []
    was_cancelled: bool = False
    ground_truth: bool = False


class _Task(msgspec.Struct):
    data: dict[str, Any]
    id: int | str | None = None
    annotations: list[_Work] | None = None
    completions: list[_Work] | None = None
    predictions: list[_Work | int] | None = None


_tasks = msgspec.json.Decoder(list[_Task])
_region = msgspec.json.Decoder(Region)


def detect(seen: Glance) -> Evidence | None:
    """Tell Label Studio by the beginning of a JSON file."""
    for path in seen.files(".json")[:20]:
        head = seen.head(path).lstrip(b"\xef\xbb\xbf \t\r\n")
        if head[:1] != b"[":
            continue
        if b'"result"' in head and (b'"from_name"' in head or b'"completed_by"' in head or b'"data"' in head):
            return Evidence(0.95, (f"{path} is a list of tasks with results, as Label Studio has it",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read every file of tasks."""
    return LabelStudioReader(source, options)


@dataclass(frozen=True)
class _Entry:
    """A task: what is read of it, and how much else there is. others: (kind, how often)."""

    key: str
    image: str | None
    where: str
    identity: int | str | None
    regions: tuple[bytes, ...]
    others: tuple[tuple[Kind, str], ...]
    media: str


class LabelStudioReader:
    """The images of Label Studio's tasks with their regions."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        self._paths = {} if source.only is not None else _by_name(walk(source))
        self._entries: list[_Entry] = []
        names: dict[str, None] = {}
        kinds: set[Kind] = set()
        for path in json_files(source):
            try:
                tasks = _tasks.decode(source.read(path, _MOST_BYTES))
            except (msgspec.DecodeError, InvalidDataset, NotFound) as error:
                told.tell("BAD_FILE", path, path, message=str(error))
                continue
            for number, task in enumerate(tasks, 1):
                entry = self._entry(task, f"{path}: task {number if task.id is None else task.id}")
                self._entries.append(entry)
                for raw in entry.regions:
                    _see(raw, names, kinds)
        if not self._entries:
            raise InvalidDataset(
                f"There are no tasks of Label Studio in {source.root}.",
                hint="Export the project in the format JSON: a list of tasks with annotations.",
            )
        classes = [ClassDef(name) for name in sorted(names)]
        self.header = Header("label_studio", classes, frozenset(kinds))
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        self._labels = {entry.name: index for index, entry in enumerate(classes)}
        self._wants_images = options.images != "none"

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for entry in self._entries:
            yield entry.key, None

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            yield index, self._item(self._entries[index], losses)

    def _entry(self, task: _Task, where: str) -> _Entry:
        stated, media = _medium(task.data)
        name = posixpath.basename(stated) or f"task_{task.id}"
        image = self._image(stated, name)
        works = task.annotations if task.annotations is not None else task.completions or []
        valid = [work for work in works if not work.was_cancelled]
        chosen = next((work for work in valid if work.ground_truth), valid[0] if valid else None)
        others: list[tuple[Kind, str]] = []
        for work in (*works, *(task.predictions or ())):
            if work is not chosen and isinstance(work, _Work):
                whose = "a model's" if not any(work is one for one in works) else "another person's"
                others += [(_kind_of_raw(raw), whose) for raw in work.result]
        key = name if media != "image" or is_image(name) else f"{name}.jpg"
        if image is not None:
            key = image.rpartition("/")[2]
        regions = tuple(bytes(raw) for raw in chosen.result) if chosen is not None else ()
        return _Entry(key, image, where, task.id, regions, tuple(others), media)

    def _image(self, stated: str, name: str) -> str | None:
        """Return the path of an image by what the task says, else by its name alone."""
        place = inside(stated.lstrip("/")) if stated else None
        if place is not None and self.source.has(place):
            return place
        found = self._paths.get(name, [])
        # An upload has eight characters and - before its name.
        found = found or self._paths.get(name[9:] if name[8:9] == "-" else "", [])
        return found[0] if len(found) == 1 else None

    def _item(self, entry: _Entry, losses: Losses) -> Item:
        item = Item(entry.key, None, None, [], None, entry.image, entry.where, entry.media, id=entry.identity)
        if entry.media == "image" and entry.image is None and self._wants_images:
            losses.tell("IMAGE_MISSING", item.key, item.where)
        regions: list[Region] = []
        for number, raw in enumerate(entry.regions, 1):
            try:
                regions.append(_region.decode(raw))
            except msgspec.DecodeError as error:
                self._fail(item, number, "other", str(error), raw, losses)
        self._measure(item, regions, losses)
        for number, region in enumerate(regions, 1):
            try:
                found = annotations_of(region, self._labels, item.width or 0, item.height or 0)
            except (KeyError, ValueError, TypeError) as error:
                message = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                self._fail(item, number, kind_of_region(region), message, b"", losses)
                continue
            if item.width is None and kind_of_region(region) not in ("tag", "caption", "relation", "other"):
                self._fail(item, number, kind_of_region(region), "the image's size is not known", b"", losses)
            else:
                item.annotations += found
        for kind, whose in entry.others:
            losses.counts[kind, "seen"] += 1
            losses.lose(
                "OTHER_ANNOTATOR", item.key, kind, "skipped", where=item.where, message=f"it is {whose}"
            )
        return item

    def _fail(self, item: Item, number: int, kind: Kind, message: str, raw: bytes, losses: Losses) -> None:
        before = raw[:200].decode("utf-8", "replace") or None
        losses.unreadable("BAD_ROW", item.key, kind, f"{item.where}, region {number}", message, before=before)

    def _measure(self, item: Item, regions: list[Region], losses: Losses) -> None:
        for region in regions:
            if region.original_width and region.original_height:
                item.width, item.height = int(region.original_width), int(region.original_height)
                return
        if item.image is None:
            return
        try:
            size = size_of(self.source, item.image)
        except InvalidDataset as error:
            losses.tell("BAD_FILE", item.key, item.image, message=error.message)
            return
        if size is not None:
            item.width, item.height = size.upright


def _by_name(paths: Iterator[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        if is_image(path):
            found.setdefault(path.rpartition("/")[2], []).append(path)
    return found


def _medium(data: dict[str, Any]) -> tuple[str, str]:
    """Return the path that a task's data name, and the kind of medium."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    paths = {key: _path_of(value) for key, value in texts.items() if "\n" not in value and len(value) < 2000}
    for path in paths.values():
        if is_image(path):
            return path, "image"
    for key in _IMAGE_KEYS:
        if key in paths:
            return paths[key], "image"
    return "", "other"


def _path_of(text: str) -> str:
    """Return the path of a URL; of one that asks for a local file, that file's."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    asked = parse_qs(parts.query).get("d")
    return asked[0] if asked else unquote(parts.path)


def _see(raw: bytes, names: dict[str, None], kinds: set[Kind]) -> None:
    try:
        region = _region.decode(raw)
    except msgspec.DecodeError:
        return  # told when the task is read
    names.update(dict.fromkeys(labels_of(region)))
    kinds.add(kind_of_region(region))


def _kind_of_raw(raw: msgspec.Raw) -> Kind:
    try:
        return kind_of_region(_region.decode(raw))
    except msgspec.DecodeError:
        return "other"


FORMATS = {
    "label_studio": Format(
        "label_studio",
        "Label Studio JSON export",
        frozenset(
            {"box", "rotated_box", "polygon", "polyline", "mask", "keypoints", "tag", "caption", "relation"}
        ),
        detect,
        read,
        note="of several annotators one is read, and the others are told",
    )
}
