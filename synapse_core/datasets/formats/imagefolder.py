"""A folder of images for each class: <class>/<image> or <split>/<class>/<image>, as classifiers are trained
on.

Classes are the folders in the order of their names, which is how trainers number them, unless classes.txt
names another order. An image lies in one folder, so it has one class; of others the first is kept.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from synapse_core.datasets.format import Evidence, Format, Piece, Reader, Writer, WriterSetup
from synapse_core.datasets.formats.upright import drop_fields, wrote
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import Annotation, ClassDef, Header, Item, kind_of
from synapse_core.datasets.naming import safe_name
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.sizes import measure
from synapse_core.datasets.source import Source, is_image, walk
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset, InvalidRequest

_NAMES_FILE = "classes.txt"
# Folders of other formats; images in them say nothing of a class.
_NO_CLASS = re.compile(
    r"(images?|jpegimages|imgs?|labels|annotations|masks|data|(train|val|test)\w*)\Z", re.IGNORECASE
)
_ANNOTATIONS = (".json", ".xml", ".csv", ".yaml", ".yml", ".data")
_HAVE_NO_CLASS = frozenset({"caption", "group", "relation"})


def detect(seen: Glance) -> Evidence | None:
    """Tell an image folder by images in at least two folders beside each other, and nothing else in them."""
    if seen.source.only is not None:
        return None
    split_folders = [
        path for path in seen.folders if path and "/" not in path and path.lower() in SPLIT_NAMES
    ]
    bases = split_folders if any(seen.folders[path].folders for path in split_folders) else [""]
    classes = [
        path
        for base in bases
        for name in seen.folders[base].folders
        if (path := posixpath.join(base, name)) in seen.folders
    ]
    full = [path for path in classes if seen.folders[path].images]
    if not full or any(_NO_CLASS.match(path.rpartition("/")[2]) for path in full):
        return None
    if any(seen.folders[""].extensions[extension] for extension in _ANNOTATIONS):
        return None
    if any(sum(seen.folders[path].extensions.values()) > seen.folders[path].images for path in full):
        return None
    is_split = bases != [""]
    score = 0.75 if is_split and len(full) > 1 else 0.65 if len(full) > 1 else 0.5
    return Evidence(score, (f"{full[0]}/ and {len(full) - 1} more folders hold images and nothing else",))


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read which images there are, and in which folders."""
    return FolderReader(source)


@dataclass(frozen=True)
class _Entry:
    path: str
    key: str
    split: str | None
    label: int


class FolderReader:
    """The images of all class folders, each with its class as a tag."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        folders, files = source.names()
        splits = [name for name in folders if name.lower() in SPLIT_NAMES and source.names(name, 1)[0]]
        bases: list[tuple[str, str | None]] = [(name, SPLIT_NAMES[name.lower()]) for name in splits] or [
            ("", None)
        ]
        found: dict[str, list[tuple[str, str, str | None]]] = {}
        for base, split in bases:
            for name in source.names(base)[0]:
                if name.startswith("."):
                    continue
                folder = posixpath.join(base, name)
                images = [path for path in walk(source, folder) if is_image(path)]
                found.setdefault(name, []).extend(
                    (path, path[len(base) :].lstrip("/"), split) for path in images
                )
        names = sorted(found)
        if _NAMES_FILE in files:
            lines = source.read(_NAMES_FILE).decode("utf-8-sig", "replace").split("\n")
            listed = [line.strip() for line in lines if line.strip()]
            names = [*listed, *(name for name in names if name not in listed)]
        if not names:
            raise InvalidDataset(
                f"There are no folders of images in {source.root}.",
                hint="An image folder has one folder a class, perhaps below train, val and test.",
            )
        self._entries = [
            _Entry(path, key, split, label)
            for label, name in enumerate(names)
            for path, key, split in found.get(name, ())
        ]
        self._entries.sort(key=lambda entry: (entry.split or "", entry.key))
        classes = [ClassDef(name) for name in names]
        self.header = Header(
            "imagefolder",
            classes,
            frozenset({"tag"}),
            tuple(dict.fromkeys(split for _, split in bases if split)),
        )
        self.found = Losses(len(classes), len(classes))

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for entry in self._entries:
            yield entry.key, entry.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            entry = self._entries[index]
            item = Item(entry.key, None, None, [Annotation(entry.label)], entry.split, entry.path, entry.path)
            measure(item, self.source, losses)
            yield index, item


def write(setup: WriterSetup) -> Writer:
    return FolderWriter(setup)


class FolderWriter:
    """Images in the folder of the class that they have, by a tag or by what is in them."""

    def __init__(self, setup: WriterSetup) -> None:
        self.target = setup.target
        self._source = setup.source
        self._images = setup.options.images
        if self._images == "none":
            raise InvalidRequest(
                "An image folder consists of images, and images is 'none'.",
                hint="Leave images out, or copy them.",
            )
        # Its keys begin with the folders of the classes.
        self._is_again = setup.header.format == "imagefolder"
        self._has_splits = bool(setup.header.splits)
        self._names = [entry.name for entry in setup.header.classes]
        self._folders = _folder_names(self._names)

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        kept: Annotation | None = None
        for one in item.annotations:
            kind = kind_of(one)
            if one.label < 0 or kind in _HAVE_NO_CLASS:
                losses.leave(one, item, "NOT_SUPPORTED" if kind in _HAVE_NO_CLASS else "LABEL_MISSING")
            elif item.image is None or item.media != "image":
                losses.leave(one, item, "IMAGE_MISSING" if item.image is None else "NOT_SUPPORTED")
            elif kept is None:
                kept = one
                if kind != "tag":
                    losses.change(one, item, "ANNOTATION_TO_TAG")
                drop_fields(one, item, losses)
                wrote(losses, one)
            elif one.label == kept.label:
                losses.lose("DUPLICATE", item.key, kind, "merged", annotation=one.id, where=item.where)
            else:
                message = f"the image lies in the folder of {self._names[kept.label]!r}"
                losses.leave(one, item, "SEVERAL_CLASSES", message)
        if kept is None or item.image is None:
            losses.tell("IMAGE_DROPPED", item.key, item.where, message="it has no class, and so no folder")
            return
        folder = self._folders[kept.label]
        if folder != (named := self._names[kept.label]):
            losses.tell("NAME_COLLISION", item.key, item.where, "class", named, folder)
        below = name.removeprefix(f"{folder}/") if self._is_again else name
        split = f"{item.split or 'train'}/" if self._has_splits else ""
        self.target.place(
            self._source, item.image, f"{split}{folder}/{below}", is_linked=self._images == "link"
        )

    def cut(self) -> Piece:
        return Piece({})

    def merge(self, piece: Piece) -> None: ...

    def finish(self) -> str:
        self.target.write(_NAMES_FILE, "".join(f"{name}\n" for name in self._folders).encode())
        return ""


def _folder_names(names: list[str]) -> list[str]:
    """Return a folder's name for each class: the class's own where a file system takes it."""
    folders: list[str] = []
    for name in names:
        folder = safe_name(name.replace("/", "_").replace("\\", "_").strip(" .") or "_")
        while folder.lower() in (other.lower() for other in folders):
            folder += "_"
        folders.append(folder)
    return folders


FORMATS = {
    "imagefolder": Format(
        "imagefolder",
        "folders of images, one a class",
        frozenset({"tag"}),
        detect,
        read,
        write,
        note="one class an image; the first is kept of several",
    )
}
