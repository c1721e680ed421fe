"""Where the XML files, images, splits and names of a Pascal VOC dataset are.

The development kit has Annotations/, JPEGImages/ and ImageSets/Main/<split>.txt; others have XML files beside
their images, or one folder a split with either of the two in it. An XML file belongs to the image of its
name, as the kit has it; only where there is none does the <filename> in it count, which is often stale.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import msgspec

from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import IMAGE_EXTENSIONS, Source, is_image, without_extension
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset

ANNOTATION_FOLDERS = ("annotations", "annotation", "xmls", "xml", "labels")
IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")
_NAMES_FILES = ("labels.txt", "classes.txt", "predefined_classes.txt")
# A per-class list has 1, 0 or -1 after each name.
_MARK = re.compile(r"\s+-?[01]\s*\Z")


class Entry(msgspec.Struct, gc=False):
    """One image. label: path of its XML file; image: path of its own; either may be missing. key: see
    Item."""

    label: str | None
    image: str | None
    key: str
    split: str | None = None


class Layout(msgspec.Struct):
    """What was found. names: the classes in the order of a list beside the files, empty where there is
    none."""

    entries: list[Entry] = []
    names: list[str] = []


class _Place(msgspec.Struct, frozen=True):
    """Where an XML file lies. base: what holds the whole of its set; folder: below that, of the XML file and
    so of its image; split: by the names of the folders."""

    base: str
    folder: str
    split: str | None


class _Images:
    """The images of a source by folder and name, and which of them are taken."""

    def __init__(self, folders: dict[str, tuple[list[str], list[str]]]) -> None:
        self._folders = folders
        self._stems: dict[str, dict[str, str]] = {}
        self.taken: set[str] = set()

    def find(self, folder: str, stem: str) -> str | None:
        """Return the path of the image of a name that is not taken yet, by a name in other case if need
        be."""
        stems = self._stems.get(folder)
        if stems is None:
            stems = {}
            for name in reversed(self._folders.get(folder, ([], []))[1]):
                own, _, extension = name.rpartition(".")
                if f".{extension.lower()}" in IMAGE_EXTENSIONS:
                    stems[own] = name
                    stems.setdefault(own.lower(), name)
            self._stems[folder] = stems
        found = stems.get(stem) or stems.get(stem.lower())
        if found is None:
            return None
        path = f"{folder}/{found}" if folder else found
        return None if path in self.taken else path

    def forget_names(self) -> None:
        """Give back the memory of what `find` can make again, should it be asked again."""
        self._stems.clear()

    def others(self, folder: str) -> list[str]:
        """Return the paths of the images of a folder that are not taken."""
        prefix = f"{folder}/" if folder else ""
        names = self._folders.get(folder, ([], []))[1]
        return [path for name in names if (path := prefix + name) not in self.taken and is_image(name)]


class LayoutFinder:
    """Looks through a source once. Raises InvalidDataset where there are no XML files."""

    def __init__(self, source: Source, found: Losses) -> None:
        self._source = source
        self._found = found
        self.folders = _all_folders(source)
        self._images = _Images(self.folders)
        self._candidates_of: dict[str, list[tuple[str, str]]] = {}
        # Folders in which images were found -> the place they were found for.
        self._used: dict[str, tuple[str, _Place]] = {}

    def find(self) -> Layout:
        layout = Layout()
        labels = [
            f"{folder}/{name}" if folder else name
            for folder, (_, files) in self.folders.items()
            for name in files
            if name.lower().endswith(".xml") and name.rpartition(".")[0]
        ]
        if self._source.only is not None:
            labels = [self._source.only]
        if not labels:
            raise InvalidDataset(
                f"There are no XML files in {self._source.root}.",
                hint="Pascal VOC has one XML file an image, in Annotations/ or beside the images.",
            )
        places = {folder: _place_of(folder) for folder in dict.fromkeys(map(posixpath.dirname, labels))}
        self._has_several = len({place.base for place in places.values()}) > 1
        for label in labels:
            folder, _, name = label.rpartition("/")
            place = places[folder]
            stem = without_extension(name)
            entry = Entry(label, None, self._key(place, posixpath.join(place.folder, stem)), place.split)
            self._take(entry, place, stem)
            layout.entries.append(entry)
        if self._source.only is None:
            self._add_unlabelled(layout, places)
        self._images.forget_names()
        for base in dict.fromkeys(place.base for place in places.values()):
            self._read_splits(base, layout)
            layout.names += [name for name in self._names(base) if name not in layout.names]
        return layout

    def settle(self, entry: Entry, file_name: str) -> None:
        """Find the image of an entry that has none by the file name that its XML file states."""
        stem, extension = posixpath.splitext(file_name.replace("\\", "/").rpartition("/")[2])
        label = entry.label or ""
        place = _place_of(posixpath.dirname(label))
        if not (stem and is_image(f"x{extension}") and self._take(entry, place, stem)):
            # JPEGImages/<name>.jpg is what the development kit says.
            entry.key += extension if is_image(f"x{extension}") else ".jpg"

    def _take(self, entry: Entry, place: _Place, stem: str) -> bool:
        """Give an entry its image. Returns False where there is none."""
        label_folder = posixpath.dirname(entry.label or "")
        for folder, kept in self._candidates(place, label_folder):
            image = self._images.find(folder, stem)
            if image is not None:
                self._images.taken.add(image)
                entry.image = image
                entry.key = self._key(place, posixpath.join(kept, image.rpartition("/")[2]))
                self._used[folder] = (kept, place)
                return True
        return False

    def _candidates(self, place: _Place, label_folder: str) -> list[tuple[str, str]]:
        """Return where the images of a folder of XML files may be: (folder, its part of the key), best
        first."""
        known = self._candidates_of.get(label_folder)
        if known is None:
            known = [(label_folder, place.folder)]
            for root in self._roots_of(place, label_folder):
                known += [(posixpath.join(root, place.folder).rstrip("/"), place.folder), (root, "")]
            self._candidates_of[label_folder] = known = [
                one for one in dict.fromkeys(known) if one[0] in self.folders
            ]
        return known

    def _roots_of(self, place: _Place, folder: str) -> list[str]:
        """Return the folders of images beside a folder of XML files."""
        roots = []
        above = folder.rpartition("/")[0]
        for base in dict.fromkeys((above, posixpath.join(place.base, place.split or ""), place.base, folder)):
            base = base.rstrip("/")
            for name in self.folders.get(base, ([], []))[0]:
                if name.lower() in IMAGE_FOLDERS:
                    root = posixpath.join(base, name)
                    roots.append(root)
                    roots += [
                        posixpath.join(root, split)
                        for split in self.folders[root][0]
                        if place.split and SPLIT_NAMES.get(split.lower()) == place.split
                    ]
        return [*roots, above]

    def _key(self, place: _Place, name: str) -> str:
        return posixpath.join(place.base, name) if self._has_several else name

    def _add_unlabelled(self, layout: Layout, places: dict[str, _Place]) -> None:
        """Add the images that no XML file speaks of: they have no objects, or nobody has looked."""
        for folder, (kept, place) in self._used.items():
            for image in self._images.others(folder):
                key = self._key(place, posixpath.join(kept, image.rpartition("/")[2]))
                self._images.taken.add(image)
                layout.entries.append(Entry(None, image, key, place.split))
        layout.entries.sort(key=lambda entry: (entry.split or "", entry.key))

    def _read_splits(self, base: str, layout: Layout) -> None:
        """Give the entries of a set the splits of ImageSets/Main."""
        place = next(
            (
                path
                for path in self.folders
                if path.lower() == posixpath.join(base, "ImageSets", "Main").lower()
            ),
            None,
        )
        if place is None:
            return
        files = self.folders[place][1]
        listed = listed_stems(self._source, place, files)
        prefix = f"{base}/" if self._has_several and base else ""
        waiting = dict(listed)
        for one in layout.entries:
            stem = one.key if one.image is None and one.label is not None else without_extension(one.key)
            if not stem.startswith(prefix):
                continue
            found = listed.get(stem[len(prefix) :])
            if found is None and one.label is not None:
                stem = posixpath.splitext(one.label.rpartition("/")[2])[0]
                found = listed.get(stem)
            if found is not None:
                one.split = found
                waiting.pop(stem.removeprefix(prefix), None)
        for stem, _, where in _listed_lines(self._source, place, files) if waiting else ():
            if waiting.pop(stem, None) is not None:
                message = "it is listed, and has neither image nor XML file"
                self._found.tell("IMAGE_MISSING", stem, where, message=message)

    def _names(self, base: str) -> list[str]:
        """Return the classes that a list beside the files names."""
        files = self.folders.get(base, ([], []))[1]
        if "labelmap.txt" in files:
            # name:color:parts:actions
            return [
                line.rsplit(":", 3)[0] if line.count(":") >= 3 else line.partition(":")[0]
                for line in self._lines(posixpath.join(base, "labelmap.txt"))
                if not line.startswith("#")
            ]
        for name in _NAMES_FILES:
            if name in files:
                return self._lines(posixpath.join(base, name))
        return []

    def _lines(self, path: str) -> list[str]:
        lines = self._source.read(path).decode("utf-8-sig", "replace").split("\n")
        return [line.strip() for line in lines if line.strip()]


def listed_stems(source: Source, folder: str, files: list[str]) -> dict[str, str]:
    """Return name without extension -> split of the lists of splits in a folder."""
    listed: dict[str, str] = {}
    for stem, split, _ in _listed_lines(source, folder, files):
        listed.setdefault(stem, split)
    return listed


def _listed_lines(source: Source, folder: str, files: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (name without extension, split, file and line) of the lists of splits in a folder."""
    # What is in train or val too is in trainval for the sake of both.
    for name in sorted(files, key=lambda name: name.lower() == "trainval.txt"):
        stem, extension = posixpath.splitext(name.lower())
        split = SPLIT_NAMES.get(stem, "trainval" if stem == "trainval" else None)
        if split is None or extension != ".txt":
            continue
        path = posixpath.join(folder, name)
        for number, line in enumerate(source.read(path).decode("utf-8-sig", "replace").splitlines(), 1):
            entry = line.strip()
            if entry.endswith(("0", "1")):
                entry = _MARK.sub("", entry)
            if entry and not entry.startswith("# "):
                yield entry, split, f"{path}:{number}"


def _all_folders(source: Source) -> dict[str, tuple[list[str], list[str]]]:
    """Return path -> (folders, files) of every folder."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        found[path] = folders, _ = source.names(path)
        if source.only is None:
            prefix = f"{path}/" if path else ""
            waiting += [prefix + name for name in reversed(folders) if not name.startswith(".")]
    return found


def _place_of(folder: str) -> _Place:
    """Return where the XML files of a folder belong, by the names of the folders above them."""
    parts = folder.split("/") if folder else []
    at = max((index for index, part in enumerate(parts) if part.lower() in ANNOTATION_FOLDERS), default=None)
    base, below = (parts, []) if at is None else (parts[:at], parts[at + 1 :])
    split = None
    if below and below[0].lower() in SPLIT_NAMES:
        split = SPLIT_NAMES[below[0].lower()]
        below = below[1:]
    elif base and base[-1].lower() in SPLIT_NAMES:
        split = SPLIT_NAMES[base[-1].lower()]
        base = base[:-1]
    return _Place("/".join(base), "/".join(below), split)
