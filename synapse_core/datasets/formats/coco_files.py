"""Where the annotation files of a COCO dataset are, which split each is about, and where its images are."""

from __future__ import annotations

import posixpath
import re

import msgspec

from synapse_core.datasets.glance import Glance
from synapse_core.datasets.source import Source, inside

# What annotation files are called by what they are about; of several for the same images the first is read.
_ABOUT = ("instances", "person_keypoints", "keypoints", "annotations", "stuff", "captions")
_SPLIT = re.compile(r"(?:^|[_\-.])(train|val|valid|validation|test|minival|trainval)(?=\d{4}|[_\-.]|$)", re.I)
_COCO_KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_RESULT = re.compile(rb'^\s*\[\s*\{[^{}\[\]]*"(image_id|category_id|score|caption)"')


class CocoFile(msgspec.Struct, frozen=True):
    """One annotation file: its path below the source's root, and the split that it is about."""

    path: str
    split: str | None
    about: str


def looks_like_coco(head: bytes) -> bool:
    """Return True for the first bytes of an object with images or annotations."""
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    keys = set(_COCO_KEY.findall(head))
    # The first bytes of a large file may show one of the three alone: then its rows have to look like COCO's.
    return len(keys) > 1 or (bool(keys) and (b'"file_name"' in head or b'"image_id"' in head))


def looks_like_results(head: bytes) -> bool:
    """Return True for the first bytes of a list of results."""
    return _RESULT.search(head) is not None


def find_files(seen: Glance) -> tuple[list[CocoFile], list[str]]:
    """Return the files to read, and those about the same images that are left out."""
    found = [path for path in seen.files(".json") if _is_coco(seen, path)]
    groups: dict[str | None, list[CocoFile]] = {}
    for path in found:
        split = split_of_path(path)
        groups.setdefault(split, []).append(CocoFile(path, split, _about(path)))
    files: list[CocoFile] = []
    left: list[str] = []
    for group in groups.values():
        best = min(_rank(file.about) for file in group)
        chosen = [file for file in group if _rank(file.about) == best]
        files += chosen
        left += [file.path for file in group if file not in chosen]
    return sorted(files, key=lambda file: file.path), sorted(left)


def image_folder(source: Source, file: CocoFile, names: list[str]) -> str | None:
    """Return the folder below which the images of a file are, None where the first of them are in none."""
    here = posixpath.dirname(file.path)
    stem = posixpath.splitext(posixpath.basename(file.path))[0]
    suffix = stem.rpartition("_")[2]
    above = posixpath.dirname(here)
    named = [name for name in (file.split, suffix, stem) if name]
    places = [here, posixpath.join(here, "images"), above, posixpath.join(above, "images")]
    for name in named:
        places += [posixpath.join(base, folder, name) for base in (above, here) for folder in ("images", "")]
        places += [posixpath.join(base, name, "images") for base in (above, here)]
    places += ["images", ""]
    for place in dict.fromkeys(places):
        if any(
            (path := inside(posixpath.join(place, name))) is not None and source.has(path)
            for name in names[:5]
        ):
            return place
    return None


def _is_coco(seen: Glance, path: str) -> bool:
    head = seen.head(path)
    if looks_like_coco(head):
        # Panoptic files have a format of their own.
        return b'"segments_info"' not in head
    # The keys may come after something long.
    return head.lstrip()[:1] == b"{" and _about(path) in _ABOUT[:3] and b'"image_id"' in head


def _about(path: str) -> str:
    name = posixpath.basename(path).lower()
    return next((about for about in _ABOUT if name.lstrip("_").startswith(about)), "other")


def _rank(about: str) -> int:
    return _ABOUT.index(about) if about in _ABOUT else len(_ABOUT)


def split_of_path(path: str) -> str | None:
    """Return the split that a file's name says, or else the folder in which it is."""
    stem = posixpath.splitext(posixpath.basename(path))[0]
    for text in (stem, *reversed(posixpath.dirname(path).split("/"))):
        if match := _SPLIT.search(text):
            split = match[1].lower()
            return {"valid": "val", "validation": "val"}.get(split, split)
    return None
