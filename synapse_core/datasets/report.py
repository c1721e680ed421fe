"""What became of every annotation of a conversion: counted, with a reason for each that changed or was left
out.

Each annotation that a source holds has one outcome, so that for every kind

    seen = written + merged + split_extra + skipped + failed

holds: `written` as one annotation (perhaps with a loss that is told), `merged` into another one,
`split_extra` as several, `skipped` because the target has no place for it or a choice left it out, `failed`
because it is broken.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from synapse_core.datasets.model import Annotation, ClassDef, Item, Kind, kind_of

Outcome: TypeAlias = Literal["written", "merged", "split_extra", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("written", "merged", "split_extra", "skipped", "failed")

# Every reason there is, and what it says. Documented in the README; a test holds the two together.
CODES: dict[str, str] = {
    "ATTRIBUTES_DROPPED": "the target has no place for these attributes or fields",
    "ANNOTATION_TO_TAG": "only the class is kept, not where it is",
    "AMBIGUOUS_ROW": "the row can be read in several ways",
    "BAD_FILE": "the file cannot be read as its format",
    "BAD_ROW": "the entry is broken",
    "BOX_TO_POLYGON": "a box became the four corners of a polygon",
    "CLASS_NOT_CHOSEN": "the class is not among those that were asked for",
    "CLIPPED": "what left the image was cut off",
    "CORNERS_SWAPPED": "the corners of a box stood in another order",
    "CROWD_DROPPED": "a crowd was left out, as asked or because the target has none",
    "CROWD_MARK_DROPPED": "a crowd became a plain object",
    "DUPLICATE": "the same annotation stands there twice",
    "DUPLICATE_ID": "the id is taken; the annotation has a new one",
    "EXIF_ORIENTATION": "the image is turned by its EXIF mark; the stored size differs from the shown one",
    "FILE_LEFT_OUT": "the file is about the same images in another way; give its path to read it",
    "FRAMES_LEFT_OUT": "frames between the key frames of a track, which are not in the file",
    "FIELDS_DROPPED": "the target has no place for a field that the source states of its images",
    "HOLE_BRIDGED": "a hole is joined to its ring by a line without width",
    "HOLE_DROPPED": "a hole was filled",
    "IMAGE_DROPPED": "the item has no annotation that the target could hold",
    "IMAGE_MISSING": "the image file is not there",
    "KEYPOINT_PROFILE": "the points do not fit the target's list of points",
    "LABEL_MISSING": "the annotation has no class",
    "LEAVES_IMAGE": "a part of it does not lie in the image",
    "LINE_TO_BOX": "only the box around a line is kept",
    "MASK_TO_BOX": "only the box around a mask is kept",
    "MASK_TO_POLYGON": "a mask became its outline",
    "NAME_COLLISION": "the name is taken in the target; the file has a new one",
    "NOT_FINITE": "a coordinate is not a finite number",
    "NOT_SUPPORTED": "the target has no place for annotations of this kind",
    "ORPHAN_LABEL": "there are labels, but no image",
    "OTHER_ANNOTATOR": "somebody else's work on an image of which one person's is read",
    "OUTSIDE_IMAGE": "nothing of it lies in the image",
    "OUTSIDE_ROOT": "the name leads out of the dataset",
    "PARTS_JOINED": "the parts of one object are joined by lines without width",
    "PARTS_SPLIT": "the parts of one object became several annotations",
    "POINTS_DROPPED": "the key points are left out; the outline is kept",
    "POINTS_TO_BOX": "only the box around the points is kept",
    "POLYGON_TO_BOX": "only the box around a polygon is kept",
    "POLYGON_TO_MASK": "a polygon was rasterised",
    "ROTATION_DROPPED": "a turned box became the upright box around it",
    "ROUNDED": "coordinates are rounded to what the target holds",
    "SCORE_DROPPED": "the target has no place for a score",
    "SEVERAL_CLASSES": "the target holds one class an image, and this is another one",
    "SIZE_MISMATCH": "the stated size of the image is not the file's",
    "SPLIT_DROPPED": "the target has no place for the split",
    "UNKNOWN_CLASS": "the class is not in the dataset's list",
    "UNKNOWN_IMAGE": "the annotation belongs to an image that is not listed",
    "ZERO_AREA": "the annotation has no area",
}
# What is told, but takes nothing away from an annotation: every COCO file has a licence for its images.
HARMLESS = frozenset(
    {
        "BOX_TO_POLYGON",
        "CORNERS_SWAPPED",
        "DUPLICATE_ID",
        "EXIF_ORIENTATION",
        "FIELDS_DROPPED",
        "IMAGE_MISSING",
        "NAME_COLLISION",
    }
)


class Loss(msgspec.Struct, omit_defaults=True):
    """One entry: what happened to which annotation, and why.

    item: key of the image. where: file and line. field: what is affected. before, after: its values.
    outcome: empty where the entry is about an item or a file and no annotation. count: annotations of the
    item that it stands for, where the same happened to several.
    """

    code: str
    item: str
    kind: str = ""
    outcome: str = ""
    annotation: int | str | None = None
    where: str = ""
    field: str = ""
    before: Any = None
    after: Any = None
    message: str = ""
    count: int = 1


class Losses:
    """Collects the outcomes and reasons of one part of a conversion."""

    def __init__(self, source_classes: int, target_classes: int) -> None:
        """before is counted by the source's labels, after by the target's."""
        self.counts: Counter[tuple[Kind, str]] = Counter()
        self.codes: Counter[str] = Counter()
        self.before = [0] * source_classes
        self.after = [0] * target_classes
        self.items = 0
        self.largest_error_pixels = 0.0
        # By how much what left the image by less than is told was moved, before a writer rounded it.
        self.largest_snap_pixels = 0.0
        self.entries: list[Loss] = []

    def lose(
        self,
        code: str,
        item: str,
        kind: Kind,
        outcome: Outcome,
        *,
        count: bool = True,
        annotation: int | str | None = None,
        where: str = "",
        field: str = "",
        before: Any = None,
        after: Any = None,
        message: str = "",
    ) -> None:
        """Tell what happened to one annotation. count=False: its outcome is counted elsewhere."""
        self.codes[code] += 1
        if count:
            self.counts[kind, outcome] += 1
        self.entries.append(Loss(code, item, kind, outcome, annotation, where, field, before, after, message))

    def leave(self, one: Annotation, item: Item, code: str, message: str = "") -> None:
        """Tell of an annotation that is left out."""
        self.lose(
            code, item.key, kind_of(one), "skipped", annotation=one.id, where=item.where, message=message
        )

    def change(self, one: Annotation, item: Item, code: str, message: str = "", **values: Any) -> None:
        """Tell of an annotation that is written, but not as it was."""
        self.lose(
            code,
            item.key,
            kind_of(one),
            "written",
            count=False,
            annotation=one.id,
            where=item.where,
            message=message,
            **values,
        )

    def change_all(self, code: str, item: str, kind: Kind, count: int, where: str, message: str = "") -> None:
        """Tell of the same change of several annotations of an item, all of which are written."""
        self.codes[code] += count
        self.entries.append(Loss(code, item, kind, "written", where=where, message=message, count=count))

    def tell(
        self,
        code: str,
        item: str,
        where: str = "",
        field: str = "",
        before: Any = None,
        after: Any = None,
        message: str = "",
    ) -> None:
        """Tell what happened to an item or a file."""
        self.codes[code] += 1
        self.entries.append(Loss(code, item, "", "", None, where, field, before, after, message))

    def unreadable(self, code: str, item: str, kind: Kind, where: str, message: str, **values: Any) -> None:
        """Tell of an annotation that stands in the source and cannot be read: seen, and failed."""
        self.counts[kind, "seen"] += 1
        self.lose(code, item, kind, "failed", where=where, message=message, **values)

    def take(self, entries: list[Loss]) -> None:
        """Tell what somebody else has found, of annotations that are counted."""
        self.entries += entries
        self.codes.update(entry.code for entry in entries)

    def add(self, other: Losses) -> None:
        """Take over the counts of another part, its entries excepted: those are written as they come."""
        self.counts.update(other.counts)
        self.codes.update(other.codes)
        self.before = [mine + theirs for mine, theirs in zip(self.before, other.before, strict=True)]
        self.after = [mine + theirs for mine, theirs in zip(self.after, other.after, strict=True)]
        self.items += other.items
        self.largest_error_pixels = max(self.largest_error_pixels, other.largest_error_pixels)
        self.largest_snap_pixels = max(self.largest_snap_pixels, other.largest_snap_pixels)


class ItemLosses:
    """What a writer does to the annotations of one item; the same change of several becomes one entry."""

    def __init__(self, item: Item, losses: Losses) -> None:
        self._item = item
        self._losses = losses
        self._same: dict[tuple[str, Kind], int] = {}

    def leave(self, one: Annotation, code: str, message: str = "") -> None:
        """Tell that an annotation is left out."""
        self._losses.leave(one, self._item, code, message)

    def change(self, one: Annotation, kind: Kind, code: str, message: str = "", before: Any = None) -> None:
        """Tell that an annotation is written in another way than it was. kind: what it is counted as."""
        if not message and before is None:
            self._same[code, kind] = self._same.get((code, kind), 0) + 1
            return
        self._losses.change(one, self._item, code, message, before=before)

    def repeat(self, kind: Kind, code: str, number: int) -> None:
        """Tell that so many more annotations are written in a way that was told of one without a message."""
        self._same[code, kind] += number

    def snap(self, pixels: float) -> None:
        """Tell that an annotation was moved by less than is a change."""
        self._losses.largest_snap_pixels = max(self._losses.largest_snap_pixels, pixels)

    def close(self) -> None:
        """Tell what was collected."""
        for (code, kind), number in self._same.items():
            self._losses.change_all(code, self._item.key, kind, number, self._item.where)


class KindCounts(msgspec.Struct):
    """What became of the annotations of one kind; see the module's equation."""

    seen: int = 0
    written: int = 0
    merged: int = 0
    split_extra: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def is_balanced(self) -> bool:
        return self.seen == self.written + self.merged + self.split_extra + self.skipped + self.failed


class ClassCounts(msgspec.Struct):
    """A class, and how many annotations have it in the source and in the target."""

    name: str
    before: int
    after: int


class LossSummary(msgspec.Struct, omit_defaults=True):
    """What a conversion did, in numbers.

    is_lossless: nothing was left out, changed or rounded by more than `largest_error_pixels`, which is the
    most by which a written coordinate differs from the one that was read.
    reasons: code -> how often. examples: code -> the first entries.
    """

    items: int
    seen: int
    written: int
    kinds: dict[str, KindCounts]
    classes: list[ClassCounts]
    reasons: dict[str, int]
    examples: dict[str, list[Loss]]
    largest_error_pixels: float
    is_lossless: bool


_MOST_EXAMPLES = 3


def keep_examples(examples: dict[str, list[Loss]], entries: Iterable[Loss]) -> None:
    """Add the first entries of each code to `examples`."""
    for entry in entries:
        kept = examples.setdefault(entry.code, [])
        if len(kept) < _MOST_EXAMPLES:
            kept.append(entry)


def summarise(
    losses: Losses, source: list[ClassDef], target: list[ClassDef], examples: dict[str, list[Loss]]
) -> LossSummary:
    """Return the numbers of a whole conversion.

    source, target: their classes, of which the target has none that the source has not.
    Raises AssertionError where the equation does not hold.
    """
    # By name, and in order where several are called the same.
    after: dict[str, deque[int]] = {}
    for entry, number in zip(target, losses.after, strict=True):
        after.setdefault(entry.name, deque()).append(number)
    kinds: dict[str, KindCounts] = {}
    for (kind, outcome), number in sorted(losses.counts.items()):
        setattr(kinds.setdefault(kind, KindCounts()), outcome, number)
    wrong = {kind: counts for kind, counts in kinds.items() if not counts.is_balanced}
    if wrong:
        raise AssertionError(f"Annotations were miscounted, which is a defect of the converter: {wrong}")
    return LossSummary(
        items=losses.items,
        seen=sum(counts.seen for counts in kinds.values()),
        written=sum(counts.written + counts.split_extra for counts in kinds.values()),
        kinds=kinds,
        classes=[
            ClassCounts(entry.name, before, after[entry.name].popleft() if after.get(entry.name) else 0)
            for entry, before in zip(source, losses.before, strict=True)
        ],
        reasons=dict(losses.codes.most_common()),
        examples=examples,
        largest_error_pixels=losses.largest_error_pixels + losses.largest_snap_pixels,
        is_lossless=not (set(losses.codes) - HARMLESS),
    )
