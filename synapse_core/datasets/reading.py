"""Opening a dataset whatever its format, and going through its items without holding them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_core.datasets.detection import detect
from synapse_core.datasets.format import Format, Reader
from synapse_core.datasets.model import Annotation, Header, Item
from synapse_core.datasets.options import make_options
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import open_source

# Items that are read between two looks at what was told of them.
_STEP_ITEMS = 500


@dataclass(frozen=True)
class OpenDataset:
    """A dataset that was looked through once. evidence: why it is of this format."""

    reader: Reader
    format: Format
    evidence: tuple[str, ...]

    @property
    def header(self) -> Header:
        return self.reader.header

    def losses(self) -> Losses:
        """Return an empty account of this dataset's annotations."""
        return Losses(len(self.header.classes), len(self.header.classes))

    def steps(self) -> Iterator[tuple[Iterator[Item], Losses]]:
        """Yield the items in steps, each with an account that is complete once its items are taken."""
        count = sum(1 for _ in self.reader.entries())
        for start in range(0, count, _STEP_ITEMS):
            losses = self.losses()
            yield self._items(start, min(start + _STEP_ITEMS, count), losses), losses

    def _items(self, start: int, stop: int, losses: Losses) -> Iterator[Item]:
        for _, item in self.reader.items(start, stop, losses):
            yield item


def open_dataset(source: str | Path, source_format: str = "auto", **options: Any) -> OpenDataset:
    """Open the dataset at a path or URL. options: those of ConvertOptions that are about reading.

    Raises NotFound, UnknownFormat, UnrecognisedDataset, AmbiguousDataset or InvalidDataset.
    """
    choices = make_options(**options)
    opened = open_source(source)
    detection = detect(opened, source_format)
    return OpenDataset(detection.format.read(opened, choices), detection.format, detection.reasons)


def read(source: str | Path, source_format: str = "auto", **options: Any) -> tuple[Header, Iterator[Item]]:
    """Return what is true of a whole dataset, and its items one after the other, as they were read.

    Annotations that cannot be read are left out without a word: `validate` tells of them.
    Raises what open_dataset raises.
    """
    opened = open_dataset(source, source_format, **options)
    return opened.header, (_in_the_model(item) for items, _ in opened.steps() for item in items)


def _in_the_model(item: Item) -> Item:
    """Return an item whose annotations are no format's own kind of them: theirs have more fields."""
    if any(type(one) is not Annotation for one in item.annotations):
        names = Annotation.__struct_fields__
        item.annotations = [Annotation(*(getattr(one, name) for name in names)) for one in item.annotations]
    return item
