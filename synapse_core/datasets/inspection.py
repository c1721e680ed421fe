"""inspect(): what is in a dataset, in few bytes whatever its size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.datasets.problems import Problem, problems_of, short, within
from synapse_core.datasets.reading import open_dataset
from synapse_core.datasets.survey import Survey, survey

# Together with what has a fixed size, below 40 kB.
_MOST_CLASS_BYTES = 10_000
_MOST_SPLIT_BYTES = 3_000
_MOST_EVIDENCE_BYTES = 2_000
_FREQUENT_SIZES = 5


class SplitSummary(msgspec.Struct):
    """A split; name is None for images that are in none."""

    name: str | None
    images: int
    annotations: int


class ClassSummary(msgspec.Struct, omit_defaults=True):
    """A class, and how many annotations of any kind have it. keypoints: how many points it has."""

    name: str
    annotations: int
    keypoints: int = 0


class SizeSummary(msgspec.Struct, omit_defaults=True):
    """Sizes of images, [width, height] in pixels. frequent: [width, height, images]. unknown: how many have
    no known size."""

    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    frequent: list[tuple[int, int, int]]
    unknown: int = 0


class ObjectsPerImage(msgspec.Struct):
    """How many boxes, polygons, masks, … an image has. most_in: key of an image with the most of them.
    There is none of a dataset without any."""

    least: int
    median: int
    mean: float
    most: int
    most_in: str


class DatasetSummary(msgspec.Struct, omit_defaults=True):
    """What is in a dataset.

    evidence: why it is of this format. annotations: of all kinds, those that cannot be read among them.
    kinds: kind -> annotations. classes: in the dataset's order; where they are too many, the most frequent
    ones, and classes_left_out tells how many are not shown. unused_classes: how many have no annotation.
    media: what there is beside images -> how often.
    """

    format: str
    evidence: list[str]
    images: int
    images_with_annotations: int
    images_without_annotations: int
    annotations: int
    kinds: dict[str, int]
    splits: list[SplitSummary]
    class_count: int
    classes: list[ClassSummary]
    sizes: SizeSummary
    problems: list[Problem]
    objects_per_image: ObjectsPerImage | None = None
    unused_classes: int = 0
    classes_left_out: int = 0
    splits_left_out: int = 0
    media: dict[str, int] = {}


def inspect(source: str | Path, source_format: str = "auto", **options: Any) -> DatasetSummary:
    """Return what is in a dataset: at most 40 kB as JSON, whatever its size.

    source: a folder, an annotation file or a URL. options: those of `convert` that are about reading (task,
    voc_coordinates). It is read once; images are not decoded. `validate` looks harder for what is wrong.
    Raises NotFound, UnknownFormat, UnrecognisedDataset, AmbiguousDataset or InvalidDataset.
    """
    opened = open_dataset(source, source_format, **options)
    found = survey(opened, is_thorough=False)
    classes = _classes(found)
    splits = [SplitSummary(name, *numbers) for name, numbers in _in_order(found)]
    shown = within(splits, _MOST_SPLIT_BYTES)
    return DatasetSummary(
        format=opened.format.name,
        evidence=within((short(reason) for reason in opened.evidence), _MOST_EVIDENCE_BYTES),
        images=found.items,
        images_with_annotations=found.annotated,
        images_without_annotations=found.items - found.annotated,
        annotations=found.annotations,
        kinds=_kinds(found),
        splits=shown,
        class_count=len(found.header.classes),
        classes=classes,
        sizes=SizeSummary(
            found.smallest,
            found.largest,
            [(*size, images) for size, images in found.sizes.most_common(_FREQUENT_SIZES)],
            found.without_size,
        ),
        problems=problems_of(found.losses.codes, found.examples),
        objects_per_image=_objects(found.objects, found.fullest[1]),
        unused_classes=found.losses.before.count(0),
        classes_left_out=len(found.header.classes) - len(classes),
        splits_left_out=len(splits) - len(shown),
        media={name: number for name, number in found.media.items() if name != "image"},
    )


def _classes(found: Survey) -> list[ClassSummary]:
    classes = [
        ClassSummary(short(entry.name), number, len(entry.keypoints))
        for entry, number in zip(found.header.classes, found.losses.before, strict=True)
    ]
    shown: list[ClassSummary] = within(classes, _MOST_CLASS_BYTES)
    if len(shown) < len(classes):
        shown = within(sorted(classes, key=lambda entry: -entry.annotations), _MOST_CLASS_BYTES)
    return shown


def _kinds(found: Survey) -> dict[str, int]:
    return {
        str(kind): number
        for (kind, outcome), number in found.losses.counts.most_common()
        if outcome == "seen" and number
    }


def _in_order(found: Survey) -> list[tuple[str | None, list[int]]]:
    """Return the splits in the dataset's order, those that it does not list at the end."""
    listed = [(name, found.splits[name]) for name in found.header.splits if name in found.splits]
    return listed + [pair for pair in found.splits.items() if pair[0] not in found.header.splits]


def _objects(counts: Counter[int], fullest: str) -> ObjectsPerImage | None:
    images = counts.total()
    objects = sum(number * times for number, times in counts.items())
    if not objects:
        return None
    passed, median = 0, 0
    for number in sorted(counts):
        passed += counts[number]
        if 2 * passed >= images:
            median = number
            break
    return ObjectsPerImage(min(counts), median, round(objects / images, 2), max(counts), short(fullest))
