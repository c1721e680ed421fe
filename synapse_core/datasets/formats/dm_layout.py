"""Where the documents and images of a DM dataset are.

`json/<stem>.json` with `original_files/<stem>.<extension>`, below a folder for each split where there are
splits; or documents alone. `meta/<stem>.json` holds the document of the other version from which one was
made, and `classes.json` the classes with their order: readers other than ours know neither.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any

import msgspec

from synapse_core.datasets.format import Evidence
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import ClassDef
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import Source, is_image
from synapse_core.decoding import decoded
from synapse_core.errors import InvalidDataset

DOCUMENTS, IMAGES, META, CLASSES = "json", "original_files", "meta", "classes.json"
# The names of splits here and in the model.
SPLITS = {"train": "train", "valid": "val", "val": "val", "validation": "val", "test": "test"}
_V1 = re.compile(rb'"annotationsData"\s*:\s*\{')
_V2_MEDIA = re.compile(rb'"(?:images|videos|pcds|texts|audios|prompts|datas)"\s*:\s*\[')
_V2_TOOLS = re.compile(
    rb'"(?:bounding_box|polygon|polyline|keypoint|segmentation|classification|relation|group|named_entity|prompt'
    rb'|answer|time_range|3d_bounding_box|3d_segmentation)"\s*:\s*\['
)


class Document(msgspec.Struct, frozen=True, gc=False):
    """One document, or an image without one. path, image, meta: below the source's root; key: the image's.

    before: of the image's path, what stands before its key; None where there is no image.
    """

    key: str
    split: str | None
    path: str | None
    before: str | None
    meta: str | None = None

    @property
    def image(self) -> str | None:
        return None if self.before is None else self.before + self.key


class Layout(msgspec.Struct):
    """What a DM dataset consists of. classes: those of classes.json."""

    documents: list[Document] = []
    splits: tuple[str, ...] = ()
    classes: list[ClassDef] = []


def detect(seen: Glance, version: int) -> Evidence | None:
    """Tell a DM dataset of this version by its folders and by a look into a document."""
    for folder in seen.named(DOCUMENTS):
        found = [name for name in seen.folders[folder].files if name.lower().endswith(".json")]
        base = posixpath.dirname(folder)
        if (
            not found
            or (base and posixpath.dirname(base))
            or _version(seen, f"{folder}/{found[0]}") != version
        ):
            continue
        beside = posixpath.join(base, IMAGES)
        reasons = (f"{folder}/{found[0]} is a DM document of version {version}",)
        if beside in seen.folders:
            return Evidence(0.97, (*reasons, f"{beside}/ lies beside it"))
        return Evidence(0.9, reasons)
    loose = [path for path in seen.files(".json") if "/" not in path and path != CLASSES]
    if loose and _version(seen, loose[0]) == version:
        return Evidence(0.9, (f"{loose[0]} is a DM document of version {version}",))
    return None


def read_layout(source: Source, found: Losses) -> Layout:
    """Return where everything is. Raises InvalidDataset where there are no documents."""
    layout = Layout()
    if source.only is not None:
        stem = _stem(source.only) or source.only
        image = next((name for name in source.names()[1] if _stem(name) == stem and is_image(name)), None)
        layout.documents.append(Document(image or stem, None, source.only, None if image is None else ""))
        return layout
    folders, files = source.names()
    sets: list[tuple[str, str | None]] = [("", None)] if DOCUMENTS in folders else []
    sets += [
        (f"{name}/", SPLITS.get(name.lower(), name)) for name in folders if DOCUMENTS in source.names(name)[0]
    ]
    for base, split in sets:
        _add_set(source, layout, split, base + DOCUMENTS, base + IMAGES, base + META)
    if not sets:
        _add_set(source, layout, None, "", "", META)
    if not any(document.path for document in layout.documents):
        raise InvalidDataset(
            f"There are no DM documents in {source.root}.",
            hint="They belong in json/, and their images in original_files/; with splits, in train/json/, "
            "valid/json/ and so on.",
        )
    layout.splits = tuple(dict.fromkeys(one.split for one in layout.documents if one.split))
    if CLASSES in files:
        layout.classes = _read_classes(source, found)
    return layout


def _add_set(
    source: Source, layout: Layout, split: str | None, documents: str, images: str, meta: str
) -> None:
    """Add the documents and images of one split."""
    files = [(path, _stem(path)) for path in _below(source, images) if is_image(path)]
    image_of = {stem: path for path, stem in reversed(files)}  # of two with one stem, the first
    others = [path for path, stem in files if image_of[stem] != path]
    kept = set(_below(source, meta))
    below, images = (f"{folder}/" if folder else "" for folder in (documents, images))
    for path in _below(source, documents):
        if not path.lower().endswith(".json") or (not documents and path == CLASSES):
            continue
        stem = path[:-5]
        image = image_of.pop(stem, None)
        layout.documents.append(
            Document(
                image or stem,
                split,
                below + path,
                images if image else None,
                f"{meta}/{path}" if path in kept else None,
            )
        )
    for image in sorted([*image_of.values(), *others]):
        layout.documents.append(Document(image, split, None, images))


def _below(source: Source, folder: str) -> list[str]:
    """Return the paths of all files below a folder, relative to it, sorted; only its own for the root."""
    folders, files = source.names(folder)
    found = list(files)
    for name in folders if folder else ():
        found += [f"{name}/{path}" for path in _below(source, f"{folder}/{name}")]
    return sorted(found) if folders else found


def _stem(path: str) -> str:
    """Return a path without the extension, which it has."""
    return path.rpartition(".")[0]


def _read_classes(source: Source, found: Losses) -> list[ClassDef]:
    try:
        return decoded(source.read(CLASSES), list[ClassDef])
    except msgspec.DecodeError as error:
        found.tell("BAD_FILE", CLASSES, CLASSES, message=str(error))
        return []


def _version(seen: Glance, path: str) -> int | None:
    """Return the version of a DM document, None for any other file."""
    head = seen.head(path)
    try:
        whole: Any = json.loads(head)
    except ValueError:
        whole = None  # longer than its head, or no JSON
    if isinstance(whole, dict) and "annotationsData" in whole and isinstance(whole.get("annotations"), dict):
        return 1
    if isinstance(whole, dict) and ("categories" in whole or "annotations" in whole):
        return None
    if _V1.search(head):
        return 1
    is_v2 = _V2_MEDIA.search(head) and (_V2_TOOLS.search(head) or (whole and _is_empty_v2(whole)))
    return 2 if is_v2 and b'"file_name"' not in head else None


def _is_empty_v2(document: dict[str, Any]) -> bool:
    """Return True for a document of version 2 in which nothing is annotated."""
    return isinstance(document.get("classification"), dict) and all(
        one == {} for one in document.get("images") or []
    )
