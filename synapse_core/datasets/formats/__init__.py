"""The table of dataset formats. A new one is one module with a FORMAT, or several, and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Container
from functools import cache
from typing import Literal

from synapse_core.datasets.format import Format
from synapse_core.datasets.source import IMAGE_EXTENSIONS
from synapse_core.errors import UnknownFormat

_JSON = frozenset({".json"})
# name -> the module whose FORMATS has it, and the extensions of files without one of which nothing is of that
# format. A module is imported when one of its formats is first asked for.
_MODULES: dict[str, tuple[str, frozenset[str]]] = {
    "coco": ("coco", _JSON),
    "coco_panoptic": ("coco_panoptic", _JSON),
    "coco_results": ("coco", _JSON),
    "yolo": ("yolo", frozenset({".txt", ".yaml", ".yml", ".data"})),
    "voc": ("voc", frozenset({".xml"})),
    "voc_masks": ("voc_masks", frozenset({".png"})),
    "imagefolder": ("imagefolder", IMAGE_EXTENSIONS),
    "cvat": ("cvat", frozenset({".xml"})),
    "labelme": ("labelme", _JSON),
    "createml": ("createml", _JSON),
    "open_images": ("open_images", frozenset({".csv"})),
    "label_studio": ("label_studio", _JSON),
    "dm_v2": ("dm_v2", _JSON),
    "dm_v1": ("dm_v1", _JSON),
}
# Other names that are in use for the same thing.
_ALIASES = {"pascal": "voc", "pascal_voc": "voc", "ultralytics": "yolo", "darknet": "yolo", "dm": "dm_v2"}


def formats() -> list[Format]:
    """Return every format, in the order in which they are shown."""
    return [_load(name) for name in _MODULES]


def possible_formats(extensions: Container[str]) -> list[Format]:
    """Return the formats of which a folder with these extensions (in lower case, with a dot) can be."""
    return [
        _load(name)
        for name, (_, wanted) in _MODULES.items()
        if any(extension in extensions for extension in wanted)
    ]


def find_format(name: str, verb: Literal["read", "write"] = "read") -> Format:
    """Return the format of this name. Raises UnknownFormat where there is none, or none that can be
    written.
    """
    plain = _ALIASES.get(name.lower(), name.lower())
    if plain not in _MODULES or (verb == "write" and _load(plain).write is None):
        known = [known for known in _MODULES if verb == "read" or _load(known).write is not None]
        raise UnknownFormat(name, known, verb)
    return _load(plain)


@cache
def _load(name: str) -> Format:
    module = importlib.import_module(f"synapse_core.datasets.formats.{_MODULES[name][0]}")
    found: Format = module.FORMATS[name]
    return found
