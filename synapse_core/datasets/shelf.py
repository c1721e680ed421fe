"""What a comparison needs of a dataset, laid on disk in the order in which it was read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import msgspec

from synapse_core.datasets.card import CARD_NAME
from synapse_core.datasets.likeness import Likeness, likeness
from synapse_core.datasets.reading import OpenDataset, open_dataset
from synapse_core.decoding import decoded
from synapse_core.errors import InvalidDataset, NotFound

_MEMORY_BYTES = 8 << 20


class Entry(msgspec.Struct, gc=False):
    """An image.

    original: its key before a conversion renamed it, its key otherwise. size: (width, height).
    """

    key: str
    original: str
    split: str | None
    size: tuple[int, int] | None
    where: str
    offset: int
    length: int


class _Card(msgspec.Struct):
    """What is read of a conversion's report: new name -> key in its source."""

    renamed: dict[str, str] = {}


class Shelf:
    """The images of a dataset; their annotations are on disk as soon as they are many."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.format = ""
        self.classes: set[str] = set()
        self.unreadable = 0
        # Closed by __exit__.
        self._file = SpooledTemporaryFile(_MEMORY_BYTES, prefix="synapse-compare-")  # noqa: SIM115
        self._end = 0
        self._decoder = msgspec.msgpack.Decoder(list[Likeness])

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def add(self, entry: Entry, annotations: list[Likeness]) -> None:
        data = msgspec.msgpack.encode(annotations)
        entry.offset, entry.length = self._end, len(data)
        self._file.write(data)
        self._end += len(data)
        self.entries.append(entry)

    def read(self, index: int) -> list[Likeness]:
        """Return the annotations of an image."""
        entry = self.entries[index]
        self._file.seek(entry.offset)
        return self._decoder.decode(self._file.read(entry.length))


def fill_shelf(shelf: Shelf, source: str | Path, source_format: str, options: Mapping[str, Any]) -> None:
    """Read a dataset onto a shelf."""
    opened = open_dataset(source, source_format, **{"images": "none", **options})
    classes = opened.header.classes
    renamed = _renamed(opened)
    shelf.format = opened.format.name
    shelf.classes = {entry.name for entry in classes}
    shelf.unreadable = sum(opened.reader.found.counts.values())
    for items, losses in opened.steps():
        for item in items:
            size = None if item.width is None or item.height is None else (item.width, item.height)
            entry = Entry(item.key, renamed.get(item.key, item.key), item.split, size, item.where, 0, 0)
            shelf.add(
                entry,
                [
                    likeness(one, classes[one.label].name if one.label >= 0 else "")
                    for one in item.annotations
                ],
            )
        shelf.unreadable += sum(
            number for (_, outcome), number in losses.counts.items() if outcome == "failed"
        )


def _renamed(opened: OpenDataset) -> dict[str, str]:
    """Return what a conversion that made this dataset tells of new names."""
    try:
        return decoded(opened.reader.source.read(CARD_NAME), _Card).renamed
    except (NotFound, InvalidDataset, msgspec.DecodeError):
        return {}
