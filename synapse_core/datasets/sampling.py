"""Some images of a dataset that stand for all of it: spread over its length, and the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from synapse_core.datasets.format import Reader
from synapse_core.datasets.model import Item
from synapse_core.datasets.report import Losses
from synapse_core.errors import InvalidRequest, did_you_mean

# Images that are looked at, from the middle of each part on, to find one with annotations.
_LOOKS = 20
_STEP_ITEMS = 500


def sample(reader: Reader, count: int, split: str | None, classes: Sequence[str] | None) -> list[Item]:
    """Return up to `count` items in the dataset's order, with annotations where there are such.

    split: only of this one. classes: only images that have one of these; each of them is in the sample
    while there is room. The whole dataset is read where classes are asked for, a few images of it
    otherwise. Raises InvalidRequest where there is no such split or class, or no image that has it.
    """
    wanted = _labels(reader, classes)
    indices = _of_split(reader, split)
    if wanted is not None:
        indices = _of_classes(reader, indices, wanted, count)
        if not indices:
            place = f"No image of the split {split!r}" if split else "No image"
            raise InvalidRequest(
                f"{place} has {' or '.join(map(repr, classes or ()))}.",
                hint="inspect tells how many annotations each class has.",
            )
        return [item for index in indices for item in _read(reader, index, index + 1)]
    return [_annotated(reader, part) for part in _parts(indices, count)]


def _labels(reader: Reader, classes: Sequence[str] | None) -> list[int] | None:
    if classes is None:
        return None
    names = [entry.name for entry in reader.header.classes]
    for name in classes:
        if name not in names:
            raise InvalidRequest(
                f"There is no class {name!r} in the dataset.{did_you_mean(name, names)}",
                hint=f"It has {', '.join(names[:30])}{' …' if len(names) > 30 else ''}.",
            )
    return [names.index(name) for name in dict.fromkeys(classes)]


def _of_split(reader: Reader, split: str | None) -> list[int]:
    """Return the indices of the items of a split, of all where it is None."""
    splits = [entry[1] for entry in reader.entries()]
    indices = [index for index, name in enumerate(splits) if split is None or name == split]
    if not indices and split is not None:
        known = sorted({name for name in splits if name is not None})
        raise InvalidRequest(
            f"There is no split {split!r} in the dataset.{did_you_mean(split, known)}",
            hint=f"It has {', '.join(known)}." if known else "It has no splits: leave it out.",
        )
    return indices


def _of_classes(reader: Reader, indices: list[int], wanted: list[int], count: int) -> list[int]:
    """Return the indices of images with wanted classes: a share for each class, spread evenly."""
    holders: dict[int, list[int]] = {label: [] for label in wanted}
    allowed = set(indices)
    for start in range(0, indices[-1] + 1 if indices else 0, _STEP_ITEMS):
        for index, item in _indexed(reader, start, min(start + _STEP_ITEMS, indices[-1] + 1)):
            if index in allowed:
                for label in {one.label for one in item.annotations}:
                    if label in holders:
                        holders[label].append(index)
    chosen: dict[int, None] = {}
    share = max(1, count // len(wanted))
    for label in sorted(wanted, key=lambda label: len(holders[label])):  # those of few images choose first
        free = [index for index in holders[label] if index not in chosen]
        has = sum(index in chosen for index in holders[label])
        room = min(max(0, share - has), count - len(chosen))
        chosen.update(dict.fromkeys(part[len(part) // 2] for part in _parts(free, room)))
    rest = sorted({index for found in holders.values() for index in found} - chosen.keys())
    chosen.update(dict.fromkeys(part[len(part) // 2] for part in _parts(rest, count - len(chosen))))
    return sorted(chosen)


def _parts(indices: list[int], count: int) -> list[list[int]]:
    """Return up to `count` parts of about the same length, none of them empty."""
    count = min(count, len(indices))
    bounds = [at * len(indices) // count for at in range(count + 1)] if count else []
    return [indices[start:stop] for start, stop in pairwise(bounds)]


def _annotated(reader: Reader, part: list[int]) -> Item:
    """Return the first item with annotations from the middle of the part on, the middle one where there is
    none."""
    middle = len(part) // 2
    first: Item | None = None
    for index in (part[middle:] + part[:middle])[:_LOOKS]:
        for item in _read(reader, index, index + 1):
            if item.annotations:
                return item
            first = first or item
    assert first is not None, "a reader gives every item that it lists"
    return first


def _read(reader: Reader, start: int, stop: int) -> Iterator[Item]:
    for _, item in _indexed(reader, start, stop):
        yield item


def _indexed(reader: Reader, start: int, stop: int) -> Iterator[tuple[int, Item]]:
    classes = len(reader.header.classes)
    yield from reader.items(start, stop, Losses(classes, classes))
