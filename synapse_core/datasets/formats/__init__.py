"""The table of dataset formats. A new one is one module with a FORMAT, or several, and one line here."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Literal, NamedTuple

from synapse_core.datasets.format import Format
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.source import IMAGE_EXTENSIONS
from synapse_core.errors import UnknownFormat

_JSON = frozenset({".json"})


class _Place(NamedTuple):
    """Where a format is, and when it need not be asked whether a folder is of it.

    extensions: nothing is of it without a file with one of them. signs: nor, where there are some, without
    one of these in the name or the first bytes of such a file that has not `foreign` in them. is_everywhere:
    its `detect` looks at any file, not at the first twenty alone.
    """

    module: str
    extensions: frozenset[str]
    signs: tuple[bytes, ...] = ()
    foreign: bytes | None = None
    is_everywhere: bool = False


_COCO_SIGNS = (b'"images"', b'"annotations"', b'"categories"', b'"image_id"')
_RESULT_SIGNS = (b'"image_id"', b'"category_id"', b'"score"', b'"caption"')
_MEDIA = (b'"images"', b'"videos"', b'"pcds"', b'"texts"', b'"audios"', b'"prompts"', b'"datas"')
# As many files as a `detect` looks at that does not look at all.
_FIRST_FILES = 20
# A module is imported when one of its formats is first asked for.
_MODULES: dict[str, _Place] = {
    "coco": _Place("coco", _JSON, _COCO_SIGNS, is_everywhere=True),
    "coco_panoptic": _Place("coco_panoptic", _JSON, (b'"segments_info"',), is_everywhere=True),
    "coco_results": _Place("coco", _JSON, _RESULT_SIGNS),
    "yolo": _Place("yolo", frozenset({".txt", ".yaml", ".yml", ".data"})),
    "voc": _Place("voc", frozenset({".xml"})),
    "voc_masks": _Place("voc_masks", frozenset({".png"})),
    "imagefolder": _Place("imagefolder", IMAGE_EXTENSIONS),
    "cvat": _Place("cvat", frozenset({".xml"}), (b"<annotations>",)),
    "labelme": _Place("labelme", _JSON, (b'"shapes"', b'"imageData"')),
    "createml": _Place("createml", _JSON, (b'"coordinates"', b".createml.json")),
    "open_images": _Place("open_images", frozenset({".csv"})),
    "label_studio": _Place("label_studio", _JSON, (b'"result"',)),
    "dm_v2": _Place("dm_v2", _JSON, _MEDIA, b'"file_name"', is_everywhere=True),
    "dm_v1": _Place("dm_v1", _JSON, (b'"annotationsData"',), is_everywhere=True),
}
# Other names that are in use for the same thing.
_ALIASES = {"pascal": "voc", "pascal_voc": "voc", "ultralytics": "yolo", "darknet": "yolo", "dm": "dm_v2"}


def formats() -> list[Format]:
    """Return every format, in the order in which they are shown."""
    return [_load(name) for name in _MODULES]


def possible_formats(seen: Glance) -> list[Format]:
    """Return the formats of which a folder can be, by the extensions and the first bytes of its files."""
    extensions = seen.extensions
    possible = {name for name, place in _MODULES.items() if not place.extensions.isdisjoint(extensions)}
    for extension in (".json", ".xml"):
        files = seen.files(extension)
        doubtful = {
            name
            for name, place in _MODULES.items()
            if place.signs and extension in place.extensions
            if len(files) <= _FIRST_FILES or not place.is_everywhere
        }
        for path in files[:_FIRST_FILES]:
            text = path.lower().encode("utf-8", "replace") + b"\n" + seen.head(path)
            doubtful = {name for name in doubtful if not _has_sign(_MODULES[name], text)}
        possible -= doubtful
    return [_load(name) for name in _MODULES if name in possible]


def find_format(name: str, verb: Literal["read", "write"] = "read") -> Format:
    """Return the format of this name. Raises UnknownFormat where there is none, or none that can be
    written.
    """
    plain = _ALIASES.get(name.lower(), name.lower())
    if plain not in _MODULES or (verb == "write" and _load(plain).write is None):
        known = [known for known in _MODULES if verb == "read" or _load(known).write is not None]
        raise UnknownFormat(name, known, verb)
    return _load(plain)


def _has_sign(place: _Place, text: bytes) -> bool:
    return any(sign in text for sign in place.signs) and (place.foreign is None or place.foreign not in text)


@cache
def _load(name: str) -> Format:
    module = importlib.import_module(f"synapse_core.datasets.formats.{_MODULES[name].module}")
    found: Format = module.FORMATS[name]
    return found
