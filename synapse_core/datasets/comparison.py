"""compare(): whether two datasets say the same about the same images, whatever their formats.

Each dataset is read once, in its own order; what counts of it is laid on disk, so that two images can be held
against each other whose places differ.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from synapse_core.datasets.likeness import Likeness, Matched, distance, match
from synapse_core.datasets.problems import short, within
from synapse_core.datasets.shelf import Entry, Shelf, fill_shelf
from synapse_core.errors import InvalidRequest

_MOST_EXAMPLES = 10
_MOST_NAME_BYTES = 4_000
# Images that could be each other's counterpart by name; of more of them, only the order tells.
_MOST_NAMESAKES = 8

_Pair: TypeAlias = tuple[int, int]


class Difference(msgspec.Struct, omit_defaults=True):
    """An annotation that only one of the datasets has.

    item: key of its image there. where: the file. numbers: box, corners or points in pixels, cut where
    there are many. nearest_pixels: by how much the most similar one of the other dataset differs, where
    there is one left.
    """

    item: str
    kind: str
    class_name: str
    where: str
    numbers: list[float] = []
    text: str = ""
    nearest_pixels: float | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """What two datasets, a and b, have in common, and where they differ.

    is_equal: they have the same images with the same annotations; classes without annotations do not count.
    images: in both. missing: annotations of a that b has not, extra: of b that a has not, with the first
    examples, which begin with the images that are in both.
    largest_difference_pixels: of those that were matched, at most the tolerance.
    sizes_differ: images whose stated sizes differ. splits_differ: images that are in different splits.
    unreadable_in_a, _b: annotations that could not be read and are left out.
    """

    is_equal: bool
    a_format: str
    b_format: str
    tolerance_pixels: float
    images: int
    images_only_in_a: int
    images_only_in_b: int
    matched: int
    missing: int
    extra: int
    largest_difference_pixels: float
    sizes_differ: int
    splits_differ: int
    unreadable_in_a: int
    unreadable_in_b: int
    missing_examples: list[Difference]
    extra_examples: list[Difference]
    only_in_a: list[str]
    only_in_b: list[str]
    classes_only_in_a: list[str]
    classes_only_in_b: list[str]


def compare(
    a: str | Path,
    b: str | Path,
    tolerance: float = 0.001,
    *,
    a_format: str = "auto",
    b_format: str = "auto",
    a_options: Mapping[str, Any] | None = None,
    b_options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Hold two datasets against each other.

    Images are matched by key; those that are left by what `synapse.json` tells of new names, and then by
    their names without folders and extension. Of each image, annotations are matched by class and kind, in
    any order: boxes, polygons, points and lines whose numbers differ by at most `tolerance` pixels, masks
    whose pixels are the same, texts that are. Attributes, scores, ids, crowd marks and the stated box of a
    polygon do not count. a_options, b_options: those of `convert` that are about reading (task,
    voc_coordinates). Raises InvalidRequest for the tolerance, and what `read` raises for each dataset.
    """
    if not 0.0 <= tolerance < 1e6:
        raise InvalidRequest("tolerance must lie between 0 and a million pixels.")
    with Shelf() as shelf_a, Shelf() as shelf_b:
        fill_shelf(shelf_a, a, a_format, a_options or {})
        fill_shelf(shelf_b, b, b_format, b_options or {})
        return _Comparing(shelf_a, shelf_b, tolerance).result()


class _Comparing:
    """One comparison."""

    def __init__(self, a: Shelf, b: Shelf, tolerance: float) -> None:
        self._a, self._b, self._tolerance = a, b, tolerance
        self._matched = self._missing = self._extra = 0
        self._largest = 0.0
        self._examples: tuple[list[Difference], list[Difference]] = ([], [])

    def result(self) -> Comparison:
        a, b = self._a, self._b
        pairs, only_a, only_b = self._pairs()
        for pair in pairs:
            self._compare(*pair)
        for index in only_a:
            self._tell(a.entries[index], a.read(index), [], side=0)
        for index in only_b:
            self._tell(b.entries[index], b.read(index), [], side=1)
        both = [(a.entries[left], b.entries[right]) for left, right in pairs]
        sizes = sum(one.size is not None and other.size not in (None, one.size) for one, other in both)
        splits = sum(one.split is not None and other.split not in (None, one.split) for one, other in both)
        differs = bool(only_a or only_b or self._missing or self._extra or sizes or splits)
        return Comparison(
            is_equal=not differs,
            a_format=a.format,
            b_format=b.format,
            tolerance_pixels=self._tolerance,
            images=len(pairs),
            images_only_in_a=len(only_a),
            images_only_in_b=len(only_b),
            matched=self._matched,
            missing=self._missing,
            extra=self._extra,
            largest_difference_pixels=self._largest,
            sizes_differ=sizes,
            splits_differ=splits,
            unreadable_in_a=a.unreadable,
            unreadable_in_b=b.unreadable,
            missing_examples=self._examples[0],
            extra_examples=self._examples[1],
            only_in_a=[short(a.entries[index].key) for index in only_a[:_MOST_EXAMPLES]],
            only_in_b=[short(b.entries[index].key) for index in only_b[:_MOST_EXAMPLES]],
            classes_only_in_a=_only(a.classes, b.classes),
            classes_only_in_b=_only(b.classes, a.classes),
        )

    def _compare(self, left: int, right: int) -> None:
        a, b = self._a.read(left), self._b.read(right)
        found = match(a, b, self._tolerance)
        self._matched += found.count
        self._largest = max(self._largest, found.largest)
        missing, extra = found.left(a, b)
        self._tell(self._a.entries[left], missing, extra, side=0)
        self._tell(self._b.entries[right], extra, missing, side=1)

    def _tell(self, entry: Entry, here: list[Likeness], there: list[Likeness], *, side: int) -> None:
        """Count annotations that only one side has. there: what is left on the other one."""
        if side == 0:
            self._missing += len(here)
        else:
            self._extra += len(here)
        shown = self._examples[side]
        for one in here[: _MOST_EXAMPLES - len(shown)]:
            gaps = [distance(one, other) for other in there if other.group == one.group]
            nearest = min((gap for gap in gaps if gap is not None), default=None)
            shown.append(
                Difference(
                    short(entry.key),
                    one.kind,
                    short(one.class_name),
                    short(entry.where),
                    [round(number, 6) for number in one.numbers[:12]],
                    short(one.text, 80),
                    None if nearest is None else round(nearest, 6),
                )
            )

    def _pairs(self) -> tuple[list[_Pair], list[int], list[int]]:
        """Return (index in a, index in b) of images that are a pair, and of each those that are alone."""
        a, b = self._a, self._b
        names: list[Callable[[Entry], object]] = [
            lambda entry: (entry.key, entry.split),
            lambda entry: entry.key,
            lambda entry: (entry.original, entry.split),
            lambda entry: entry.original,
            lambda entry: (posixpath.splitext(entry.original)[0], entry.split),
            lambda entry: posixpath.splitext(entry.original)[0],
            lambda entry: (_stem(entry.original), entry.split),
            lambda entry: _stem(entry.original),
        ]
        pairs: list[_Pair] = []
        left, right = list(range(len(a.entries))), list(range(len(b.entries)))
        for name in names:
            if not (left and right):
                break
            groups: dict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
            for index in left:
                groups[name(a.entries[index])][0].append(index)
            for index in right:
                groups[name(b.entries[index])][1].append(index)
            found = [pair for ours, theirs in groups.values() for pair in self._namesakes(ours, theirs)]
            pairs += found
            gone_a, gone_b = {pair[0] for pair in found}, {pair[1] for pair in found}
            left = [index for index in left if index not in gone_a]
            right = [index for index in right if index not in gone_b]
        return sorted(pairs), left, right

    def _namesakes(self, ours: list[int], theirs: list[int]) -> list[_Pair]:
        """Return the pairs among images of one name: the most similar first where there are several."""
        if not ours or not theirs:
            return []
        if len(ours) == len(theirs) == 1:
            return [(ours[0], theirs[0])]
        if max(len(ours), len(theirs)) > _MOST_NAMESAKES:
            return list(zip(ours, theirs, strict=False))
        unlike = {(left, right): self._unlikeness(left, right) for left in ours for right in theirs}
        pairs: list[_Pair] = []
        while unlike:
            best = min(unlike, key=lambda pair: (unlike[pair], pair))
            pairs.append(best)
            unlike = {pair: gap for pair, gap in unlike.items() if pair[0] != best[0] and pair[1] != best[1]}
        return pairs

    def _unlikeness(self, left: int, right: int) -> int:
        """Return how many annotations of two images have no counterpart."""
        a, b = self._a.read(left), self._b.read(right)
        found: Matched = match(a, b, self._tolerance)
        other_size = self._a.entries[left].size != self._b.entries[right].size
        return len(a) + len(b) - 2 * found.count + other_size


def _stem(key: str) -> str:
    return posixpath.splitext(key)[0].rpartition("/")[2]


def _only(here: set[str], there: set[str]) -> list[str]:
    return within((short(name) for name in sorted(here - there)), _MOST_NAME_BYTES)
