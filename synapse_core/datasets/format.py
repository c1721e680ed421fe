"""What a dataset format has to offer: `detect`, `read`, and, where it is meant for it, `write`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import Header, Item, Kind
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Loss, Losses
from synapse_core.datasets.source import Source
from synapse_core.datasets.target import Target


class Evidence(msgspec.Struct, frozen=True):
    """Why a folder may be of a format. score: 0 to 1; below 0.5 it only resembles it. reasons: for a
    reader.
    """

    score: float
    reasons: tuple[str, ...]


class Reader(Protocol):
    """A dataset that was looked through once: what is true of all of it, and its items in a fixed order.

    It can be pickled, and read from several processes at once, each a part of it.
    """

    source: Source
    header: Header
    # What is wrong with files as a whole, found before any item was read.
    found: Losses
    # Set by whoever writes the same format again: what only that format knows is read too.
    wants_extra: bool
    # Set to False by whoever takes boxes alone: a shape beside a stated box need not be read, only its kind.
    wants_shapes: bool

    def entries(self) -> Iterator[tuple[str, str | None]]:
        """Yield what is known of each item before it is read: (key, split)."""
        ...

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        """Yield (index, item) for the entries from start to stop; one that cannot be read is told to
        `losses`.

        Annotations that cannot be read are counted in `losses` as seen and failed; all others by whoever gets
        the items.
        """
        ...


class Piece(msgspec.Struct):
    """What one part of a conversion leaves for the one place that puts all parts together, in order.

    rows: section -> rows of a file that holds many items, without the ids that count through the whole file.
    told: what `merge` found when it put them together.
    """

    rows: dict[str, list[bytes]]
    told: list[Loss] = []


class Writer(Protocol):
    """Writes items in one format. It can be pickled; each process has its own until `merge`.

    target: where its files go; on another machine it is replaced.
    """

    target: Target

    def add(self, index: int, name: str, item: Item, losses: Losses) -> None:
        """Write one item. name: the path of its image in the target. Tells `losses` of every annotation."""
        ...

    def cut(self) -> Piece:
        """Return, and forget, what the items since the last cut leave for `merge`."""
        ...

    def merge(self, piece: Piece) -> None:
        """Take over one part; parts come in the order of their items."""
        ...

    def finish(self) -> str:
        """Write what is about the whole. Returns the path of the file to open first, '' for the folder
        itself.
        """
        ...


class WriterSetup(msgspec.Struct, frozen=True):
    """What a writer is made from. header: its classes are those of the target. class_ids: where the classes
    keep the numbers of their source."""

    header: Header
    target: Target
    source: Source
    options: ConvertOptions


def always(_: ConvertOptions) -> bool:
    """Return True: a format that takes shapes takes them whatever is chosen."""
    return True


class Format(msgspec.Struct, frozen=True):
    """One format. name: as agents write it. kinds: what it can hold; those that it cannot become another
    kind or are told as left out.

    is_by_stem: two images that differ in their extension alone cannot both be in it. is_flat: its images lie
    in one folder a split. has_splits: an item's split is kept. has_split_folders: images of different splits
    lie in different folders, so that a name may be in each. clips: its readers refuse what leaves the image.
    has_crowds: it marks crowds. takes_shapes: False for choices with which boxes alone are written.
    """

    name: str
    title: str
    kinds: frozenset[Kind]
    detect: Callable[[Glance], Evidence | None]
    read: Callable[[Source, ConvertOptions], Reader]
    write: Callable[[WriterSetup], Writer] | None = None
    is_by_stem: bool = False
    is_flat: bool = False
    has_splits: bool = True
    has_split_folders: bool = True
    clips: bool = False
    has_crowds: bool = False
    takes_shapes: Callable[[ConvertOptions], bool] = always
    note: str = ""

    def card(self) -> dict[str, Any]:
        """Return what an agent needs to know of the format, as plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "reads": True,
            "writes": self.write is not None,
            "holds": sorted(self.kinds),
            "splits": self.has_splits,
            **({"note": self.note} if self.note else {}),
        }
