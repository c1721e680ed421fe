"""A short look at a folder: enough to tell its format, whatever its size."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import msgspec

from synapse_core.datasets.card import CARD_NAME, LOSSES_NAME
from synapse_core.datasets.source import IMAGE_EXTENSIONS, Source, extension_of

_MOST_FOLDERS = 200
# One file of annotations may lie among very many images, which come in any order.
_MOST_ENTRIES = 200_000
_MOST_OF_A_KIND = 500
_MOST_DEPTH = 6
_HEAD_BYTES = 16_384


class Folder(msgspec.Struct):
    """What was seen of one folder. files: at most 500 of each extension."""

    folders: list[str]
    files: list[str]
    extensions: Counter[str] = msgspec.field(default_factory=Counter)
    images: int = 0


class Glance(msgspec.Struct):
    """What was seen of a source. folders: path -> what is in it, '' the root; nearer ones first."""

    source: Source
    folders: dict[str, Folder] = {}

    def files(self, *extensions: str) -> list[str]:
        """Return the paths of the files that were seen with these extensions, in lower case with a dot."""
        if self.source.only is not None:
            only = self.source.only
            return [only] if extension_of(only) in extensions else []
        return [
            f"{path}/{name}" if path else name
            for path, folder in self.folders.items()
            for name in folder.files
            if extension_of(name) in extensions
        ]

    def named(self, *names: str) -> list[str]:
        """Return the paths of the folders whose own name is one of these, whatever their case."""
        return [path for path in self.folders if path.rpartition("/")[2].lower() in names]

    def head(self, path: str) -> bytes:
        """Return the first 16 kB of a file."""
        return self.source.head(path, _HEAD_BYTES)

    @property
    def extensions(self) -> set[str]:
        """The extensions of the files that were seen, in lower case with a dot."""
        if self.source.only is not None:
            return {extension_of(self.source.only)}
        return {extension for folder in self.folders.values() for extension in folder.extensions}

    @property
    def images(self) -> int:
        return sum(folder.images for folder in self.folders.values())


# Whoever reads a source looks at what was seen when its format was told.
@lru_cache(maxsize=1)
def glance(source: Source) -> Glance:
    """Look through a source, breadth first, up to six folders deep."""
    seen = Glance(source)
    waiting = [""]
    while waiting and len(seen.folders) < _MOST_FOLDERS:
        path = waiting.pop(0)
        folders, files = source.names(path, _MOST_ENTRIES)
        found = seen.folders[path] = Folder(folders, [])
        for name in files:
            if not path and name in (CARD_NAME, LOSSES_NAME):
                continue
            extension = extension_of(name)
            number = found.extensions.get(extension, 0) + 1
            found.extensions[extension] = number
            if number <= _MOST_OF_A_KIND:
                found.files.append(name)
        found.images = sum(map(found.extensions.__getitem__, IMAGE_EXTENSIONS))
        if path.count("/") + bool(path) < _MOST_DEPTH:
            waiting += [f"{path}/{name}" if path else name for name in folders if not name.startswith(".")]
    return seen
