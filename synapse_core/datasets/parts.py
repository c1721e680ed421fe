"""One part of a conversion: the items from one place to another, read, checked and written.

Whoever converts it, and beside which others, changes nothing in what is written: see dividing.py.
"""

from __future__ import annotations

import msgspec

from synapse_core.datasets.checking import Checker
from synapse_core.datasets.classes import ClassChoice
from synapse_core.datasets.format import Format, Piece, Reader, Writer
from synapse_core.datasets.naming import Names
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.splits import split_of
from synapse_core.datasets.target import HeldTarget


class PartResult(msgspec.Struct):
    """What the conversion of one part gave. held: files that the receiver has to write."""

    items: int
    piece: Piece
    losses: Losses
    held: HeldTarget | None = None


class Part:
    """All that converts any part of a dataset; it can be pickled."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        target_format: Format,
        options: ConvertOptions,
        chosen: ClassChoice,
        names: Names,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.options = options
        self.chosen = chosen
        self.names = names
        self._checker = Checker(options, target_clips=target_format.clips)

    def convert(self, start: int, stop: int) -> PartResult:
        """Convert the items from start to stop."""
        losses = Losses(len(self.reader.header.classes), len(self.chosen.classes))
        check, add, name_of = self._checker.check, self.writer.add, self.names.of
        is_plain, splits = self.chosen.is_plain, self.options.splits
        for index, item in self.reader.items(start, stop, losses):
            losses.items += 1
            check(item, losses)
            if not is_plain:
                self.chosen.apply(item, losses)
            item.split = split_of(item.key, item.split, splits)
            name = name_of(index, item.key)
            if name != item.key:
                losses.tell("NAME_COLLISION", item.key, where=item.where, field="name", after=name)
            add(index, name, item, losses)
        return PartResult(stop - start, self.writer.cut(), losses)
