"""What an image is called in the target: as in the source, unless two names would fall on one file there."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Sequence
from itertools import islice
from operator import lt

from synapse_core.datasets.format import Format
from synapse_core.datasets.source import inside

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_NAME_BYTES = 200
# No empty part, none of dots alone, no character that a file system minds.
_is_plain = re.compile(
    r"(?!\.{0,2}(?:/|$))[ -.0-9;-\[\]-~]+(?:/(?!\.{0,2}(?:/|$))[ -.0-9;-\[\]-~]+)*"
).fullmatch


class Names:
    """The names of all items of a conversion. changed: index -> name, where it is not the source's."""

    def __init__(self, keys: Sequence[str], splits: Sequence[str | None], target: Format) -> None:
        """keys, splits: of each item, the splits as they will be in the target."""
        self.changed: dict[int, str] = {}
        # Where only some items have a split, those without one may lie among any of the others.
        if _are_apart(keys, target):
            return
        is_mixed = len({split is None for split in splits}) > 1
        taken: set[str] = set()
        for index, (key, split) in enumerate(zip(keys, splits, strict=True)):
            wanted = safe_name(key)
            if target.is_flat:
                wanted = wanted.rpartition("/")[2]
            name = wanted
            folder = f"{split}/" if split and target.has_splits and target.has_split_folders else ""
            number = 0
            while not taken.isdisjoint(places := _places(folder, _folded(name, target), is_mixed)):
                number += 1
                name = _numbered(wanted, key, number)
            taken.update(places)
            if name != key:
                self.changed[index] = name

    def of(self, index: int, key: str) -> str:
        """Return the name of an item; a key that was only known in part before keeps its own extension."""
        if index not in self.changed:
            return safe_name(key)
        name = self.changed[index]
        return posixpath.splitext(name)[0] + posixpath.splitext(key)[1]


def _are_apart(keys: Sequence[str], target: Format) -> bool:
    """Return True where all keys are plain and no two can fall on one file, as one can see at a glance."""
    text = "\n".join(["", *keys])
    if not text.isascii() or "\n." in text or "/." in text or (target.is_flat and "/" in text):
        return False
    # Of names that end in the same extension the stems differ as the names do.
    if target.is_by_stem and len({key[key.rfind(".") :] for key in keys}) > 1:
        return False
    if max(map(len, keys), default=0) >= _MOST_NAME_BYTES or not all(map(_is_plain, keys)):
        return False
    lowered = text.lower()
    if lowered == text and all(map(lt, keys, islice(keys, 1, None))):
        return True  # as folders are listed, and without a set of them
    return len(set(keys if lowered == text else lowered.split("\n")[1:])) == len(keys)


def _places(folder: str, name: str, is_mixed: bool) -> tuple[str, ...]:
    return (folder + name, name) if is_mixed else (folder + name,)


def safe_name(key: str) -> str:
    """Return a key as a path that stays below the target and that every file system takes."""
    if key.isascii() and len(key) < _MOST_NAME_BYTES and _is_plain(key):
        return key
    return _plain(key)


def _plain(key: str) -> str:
    path = inside(key) or key.replace("\\", "/").rpartition("/")[2] or "image"
    parts = [_shortened(_CONTROL.sub("_", part)) for part in path.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "image"


def _shortened(part: str) -> str:
    if len(os_bytes := part.encode("utf-8", "replace")) <= _MOST_NAME_BYTES:
        return part.encode("utf-8", "replace").decode()
    stem, extension = posixpath.splitext(part)
    room = _MOST_NAME_BYTES - len(extension.encode("utf-8", "replace"))
    return (
        os_bytes[:room].decode("utf-8", "ignore") + extension
        if stem
        else os_bytes[:room].decode("utf-8", "ignore")
    )


def _folded(name: str, target: Format) -> str:
    """Return what two names have in common where they would fall on one file, on any file system."""
    if target.is_by_stem:
        name = posixpath.splitext(name)[0]
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _numbered(wanted: str, key: str, number: int) -> str:
    """Return another name: with the folders of its key first, then with a number."""
    stem, extension = posixpath.splitext(wanted)
    folders = safe_name(key).rpartition("/")[0].replace("/", "_")
    if folders and "/" not in wanted:
        return f"{folders}_{stem}{extension}" if number == 1 else f"{folders}_{stem}_{number}{extension}"
    return f"{stem}_{number}{extension}"
