"""COCO: one JSON object a split, with images, annotations and categories.

Boxes are [x, y, width, height] in pixels. Segmentations are rings (a union, without holes) or runs down the
columns; crowds are runs with iscrowd=1. Key points are [x, y, v, …]. Ids are any numbers, 0 and gaps
included. The file is read twice in blocks: once to learn which annotations belong to which image, once for
the items; outlines of which only the boxes are wanted are read once. Source: the data format page of COCO,
and pycocotools.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat
from typing import Any

from synapse_core.datasets.format import Evidence, Format, Reader, Writer, WriterSetup
from synapse_core.datasets.formats.coco_files import CocoFile, find_files, image_folder, looks_like_results
from synapse_core.datasets.formats.coco_index import FileIndex
from synapse_core.datasets.formats.coco_rows import (
    BoxRow,
    BrokenRow,
    LeanRow,
    Row,
    annotation_of,
    full_row,
    lean_annotation,
    without_ring,
)
from synapse_core.datasets.glance import Glance, glance
from synapse_core.datasets.model import NO_CLASS, Annotation, ClassDef, Header, Item, Kind, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import size_of
from synapse_core.datasets.source import Source, inside
from synapse_core.errors import InvalidDataset

# Facts of an image that every official file states, and that no other format has a place for.
_TOP_KEYS = frozenset({"images", "annotations", "categories"})


def detect(seen: Glance) -> Evidence | None:
    """Tell a COCO dataset by a JSON file with images and annotations."""
    files, left = find_files(seen)
    if not files:
        return None
    reasons = [f"{file.path} holds images and annotations" for file in files[:3]]
    if left:
        reasons.append(f"left out, about the same images: {', '.join(left[:3])}")
    return Evidence(0.95, tuple(reasons))


def detect_results(seen: Glance) -> Evidence | None:
    """Tell a list of results by its first entry."""
    if seen.source.only is None:
        return None
    for path in seen.files(".json"):
        if looks_like_results(seen.head(path)):
            return Evidence(0.9, (f"{path} is a list of results with image ids",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read what is in each file and where. Raises InvalidDataset where there is none, or one is broken."""
    files, left = find_files(glance(source))
    if source.only is not None and not files:
        files = [CocoFile(source.only, None, "other")]
    if not files:
        raise InvalidDataset(
            f"There is no COCO file in {source.root}.",
            hint="It is a JSON object with images, annotations and categories.",
        )
    return CocoReader(source, files, left, options)


def write(setup: WriterSetup) -> Writer:
    """Return the writer of instances, key points and captions."""
    from synapse_core.datasets.formats.coco_write import CocoWriter  # 2 ms, which a reader need not wait for

    return CocoWriter(setup)


class CocoReader:
    """The images of one or more files, a file after the other."""

    def __init__(
        self, source: Source, files: list[CocoFile], left: list[str], options: ConvertOptions
    ) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        self._checks_images = options.images != "none"
        # Remote files are copied for as long as the reader lives.
        self._stack = ExitStack()
        most = options.most_processes()
        self._files = [
            FileIndex(self._stack.enter_context(source.local(file.path)), file, processes=most)
            for file in files
        ]
        classes, self._labels = _classes(self._files)
        for index, labels in zip(self._files, self._labels, strict=True):
            index.labels = labels
        kinds: set[Kind] = {"box"} if classes else set()
        for index in self._files:
            kinds |= index.kinds
        splits = tuple(dict.fromkeys(index.file.split for index in self._files if index.file.split))
        info = {
            key: value
            for key, value in (self._files[0].values.items() if self._files else ())
            if key not in _TOP_KEYS
        }
        fields = sum((index.fields for index in self._files), Counter())
        self.header = Header("coco", classes, frozenset(kinds), splits, info, dict(fields))
        self.found = Losses(len(classes), len(classes))
        for path in left:
            self.found.tell("FILE_LEFT_OUT", path, path)
        self._has_own_ids = _are_unique(self._files, options)
        self._keys = [[_key(name) for name in index.names] for index in self._files]
        self._starts: list[int] = []
        self._folders: list[str | None] = []
        self._extra: dict[int, list[dict[str, Any] | None]] = {}
        total = 0
        for number, index in enumerate(self._files):
            self._starts.append(total)
            total += len(index.names)
            self._folders.append(
                image_folder(source, index.file, index.names)
                if self._checks_images or min(*index.widths, *index.heights, 1, 1) <= 0
                else None
            )
            for repeated in index.repeated:
                message = f"the image id {repeated} is there twice"
                self.found.tell("DUPLICATE_ID", str(repeated), index.file.path, message=message)
            for row in index.strangers:
                self._tell_stranger(row, number)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stack": None}

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for index, keys in zip(self._files, self._keys, strict=True):
            yield from zip(keys, repeat(index.file.split))

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for number, index in enumerate(self._files):
            begin = self._starts[number]
            first, last = max(0, start - begin), min(len(index.names), stop - begin)
            if first < last:
                yield from self._items_of(number, first, last, losses)

    def _items_of(self, number: int, first: int, last: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        index = self._files[number]
        begin, labels, keys = self._starts[number], self._labels[number], self._keys[number]
        path, split = index.file.path, index.file.split
        for image, rows in enumerate(index.rows(first, last, is_lean=not self.wants_shapes), first):
            width, height = index.widths[image], index.heights[image]
            name = index.names[image]
            key = keys[image]
            item = Item(
                key,
                width if width > 0 else None,
                height if height > 0 else None,
                [],
                split,
                None,
                path,
                "image",
                index.ids[image],
            )
            if key != name and inside(name) is None:
                losses.tell("OUTSIDE_ROOT", key, path, "file_name", before=name)
            elif self._checks_images:
                item.image = self._image(number, name, key, losses)
            if width <= 0 or height <= 0:
                self._measure(item, number, name, losses)
            if self.wants_extra:
                item.extra = self._extra_of(number)[image]
                item.id = item.id if self._has_own_ids else None
            types = set(map(type, rows))
            if types == {BoxRow}:
                item.annotations, item.is_plain = rows, True  # type: ignore[assignment]  # all of one type
                yield begin + image, item
                continue
            if types == {Annotation}:
                item.annotations = rows  # type: ignore[assignment]  # all of one type
                item.is_outlined = all(one.shape for one in item.annotations)
                yield begin + image, item
                continue
            add = item.annotations.append
            for row in rows:
                if isinstance(row, LeanRow):
                    if (label := labels.get(row.category_id)) is not None:
                        add(lean_annotation(row, label))
                        continue
                    row = full_row(row)
                elif isinstance(row, Annotation):
                    add(row)
                    continue
                if isinstance(row, Row):
                    label = labels.get(row.category_id)
                    if label is not None and not (
                        row.segmentation or row.keypoints or row.attributes or row.extra or row.caption
                    ):
                        crowd = bool(row.iscrowd)
                        add(Annotation(label, row.bbox, None, None, 0.0, row.id, crowd, row.score, row.area))
                        continue
                    if label is not None or row.caption is not None:
                        try:
                            one = annotation_of(row, NO_CLASS if label is None else label)
                            add(one if self.wants_shapes else without_ring(one))
                            continue
                        except BrokenRow as error:
                            row = error
                    else:
                        self._tell_unknown_class(row, key, path, losses)
                        continue
                losses.unreadable(
                    "BAD_ROW",
                    key,
                    row.kind,
                    path,
                    row.message,
                    annotation=row.id,
                    field=row.field,
                    before=row.value,
                )
            yield begin + image, item

    def _measure(self, item: Item, number: int, name: str, losses: Losses) -> None:
        """Take the size of an image that its file says, as it is shown."""
        folder = self._folders[number]
        path = None if folder is None else inside(posixpath.join(folder, name))
        if path is None:
            return
        try:
            size = size_of(self.source, path)
        except InvalidDataset as error:
            losses.tell("BAD_FILE", item.key, path, message=error.message)
            return
        if size is not None:
            stated = item.width, item.height
            item.width, item.height = size.upright
            if any(one not in (None, other) for one, other in zip(stated, size.upright, strict=True)):
                before, after = list(stated), [item.width, item.height]
                losses.tell("SIZE_MISMATCH", item.key, path, before=before, after=after)
            if size.orientation >= 5:
                losses.tell("EXIF_ORIENTATION", item.key, path, after=[item.width, item.height])

    def _image(self, number: int, name: str, key: str, losses: Losses) -> str | None:
        """Return the path of an image's file, None where there is none, which is told."""
        folder = self._folders[number]
        path = None if folder is None else inside(posixpath.join(folder, name))
        if path is None or not self.source.has(path):
            losses.tell("IMAGE_MISSING", key, self._files[number].file.path)
            return None
        return path

    def _extra_of(self, number: int) -> list[dict[str, Any] | None]:
        if number not in self._extra:
            self._extra[number] = self._files[number].image_extra()
        return self._extra[number]

    def _tell_unknown_class(self, row: Row, key: str, path: str, losses: Losses) -> None:
        message = (
            "the annotation names no category" if row.category_id is None else "there is no such category"
        )
        losses.unreadable(
            "LABEL_MISSING" if row.category_id is None else "UNKNOWN_CLASS",
            key,
            _kind(row),
            path,
            message,
            annotation=row.id,
            field="category_id",
            before=row.category_id,
        )

    def _tell_stranger(self, row: Row | BrokenRow, number: int) -> None:
        owner = row.image_id
        self.found.unreadable(
            "UNKNOWN_IMAGE",
            str(owner),
            _kind(row) if isinstance(row, Row) else row.kind,
            self._files[number].file.path,
            "the file lists no image of this id",
            annotation=row.id if isinstance(row.id, int | str) else None,
            field="image_id",
            before=owner,
        )


def _are_unique(files: list[FileIndex], options: ConvertOptions) -> bool:
    """Return True where no two images that go to one file have the same id, and each has one."""
    seen: set[tuple[str | None, int | str | None]] = set()
    for index in files:
        split = index.file.split if options.splits == "keep" else None
        if None in index.ids or not all((split, number) not in seen for number in index.ids):
            return False
        if index.repeated:
            return False
        if len(files) > 1:
            seen.update((split, number) for number in index.ids)
    return True


def _kind(row: Row) -> Kind:
    try:
        return kind_of(annotation_of(row, NO_CLASS))
    except BrokenRow as error:
        return error.kind


def _key(name: str) -> str:
    """Return the key of an image: its name, or its last part where it leads out of the dataset."""
    return inside(name) or name.replace("\\", "/").rstrip("/").rpartition("/")[2] or "image"


def _classes(files: list[FileIndex]) -> tuple[list[ClassDef], list[dict[Any, int]]]:
    """Return the classes of all files, by name, and for each file category id -> class."""
    classes: list[ClassDef] = []
    places: dict[tuple[str, int], int] = {}
    labels: list[dict[Any, int]] = []
    for index in files:
        own: dict[Any, int] = {}
        called: Counter[str] = Counter()
        for category in index.categories:
            if not isinstance(category, dict) or not isinstance(category.get("id"), int | str):
                continue
            entry = _class(category)
            # Two categories of a file stay two, whatever they are called.
            place = entry.name, called[entry.name]
            called[entry.name] += 1
            if place not in places:
                places[place] = len(classes)
                classes.append(entry)
            own.setdefault(category["id"], places[place])
        labels.append(own)
    return classes, labels


def _class(category: dict[str, Any]) -> ClassDef:
    known = {"id", "name", "supercategory", "keypoints", "skeleton"}
    above = category.get("supercategory")
    points = category.get("keypoints")
    lines = category.get("skeleton")
    return ClassDef(
        str(category.get("name", category["id"])),
        category["id"],
        above if isinstance(above, str) and above else None,
        tuple(map(str, points)) if isinstance(points, list) else (),
        tuple((line[0] - 1, line[1] - 1) for line in lines if _is_pair(line))
        if isinstance(lines, list)
        else (),
        {key: value for key, value in category.items() if key not in known},
    )


def _is_pair(line: object) -> bool:
    return isinstance(line, list) and len(line) == 2 and all(isinstance(end, int) for end in line)


FORMATS = {
    "coco": Format(
        "coco",
        "COCO instances, key points and captions",
        frozenset({"box", "polygon", "mask", "keypoints", "caption"}),
        detect,
        read,
        write,
        has_crowds=True,
    ),
    "coco_results": Format(
        "coco_results",
        "COCO results: what a model has found",
        frozenset({"box", "polygon", "mask", "keypoints", "caption"}),
        detect_results,
        read,
        note="only read: images and classes are known by their numbers alone",
    ),
}
