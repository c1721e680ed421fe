"""The table of dataset formats. A new one is one module with a FORMAT, or several, and one line here."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Literal

from synapse_core.datasets.format import Format
from synapse_core.errors import UnknownFormat

# name -> the module whose FORMATS has it; a module is imported when one of its formats is first asked for.
_MODULES = {
    "coco": "coco",
    "coco_panoptic": "coco_panoptic",
    "coco_results": "coco",
    "yolo": "yolo",
    "voc": "voc",
    "voc_masks": "voc_masks",
    "imagefolder": "imagefolder",
    "cvat": "cvat",
    "labelme": "labelme",
    "createml": "createml",
    "open_images": "open_images",
    "label_studio": "label_studio",
    "dm_v2": "dm_v2",
    "dm_v1": "dm_v1",
}
# Other names that are in use for the same thing.
_ALIASES = {"pascal": "voc", "pascal_voc": "voc", "ultralytics": "yolo", "darknet": "yolo", "dm": "dm_v2"}


def formats() -> list[Format]:
    """Return every format, in the order in which they are shown."""
    return [_load(name) for name in _MODULES]


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
    module = importlib.import_module(f"synapse_core.datasets.formats.{_MODULES[name]}")
    found: Format = module.FORMATS[name]
    return found
