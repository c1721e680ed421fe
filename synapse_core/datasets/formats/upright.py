"""The upright box that stands for an annotation in a format that holds nothing else, with what is lost by
it."""

from __future__ import annotations

from synapse_core.datasets.model import Annotation, Box, Item, Kind, Mask, kind_of
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shapes import tight_box

TO_BOX: dict[Kind, str] = {
    "rotated_box": "ROTATION_DROPPED",
    "polygon": "POLYGON_TO_BOX",
    "mask": "MASK_TO_BOX",
    "polyline": "LINE_TO_BOX",
    "keypoints": "POINTS_TO_BOX",
}


def wrote(losses: Losses, one: Annotation) -> None:
    """Count an annotation that was written."""
    losses.counts[kind_of(one), "written"] += 1
    if one.label >= 0:
        losses.after[one.label] += 1


def is_kept(one: Annotation, item: Item, losses: Losses, *, keeps_crowds: bool) -> bool:
    """Return True for an annotation with a class, unless it is a crowd that is to be left out; tells of
    others."""
    if one.label < 0:
        losses.leave(one, item, "LABEL_MISSING")
        return False
    if one.is_crowd:
        if not keeps_crowds:
            losses.leave(one, item, "CROWD_DROPPED")
            return False
        losses.change(one, item, "CROWD_MARK_DROPPED")
    return True


def box_around(one: Annotation) -> Box | None:
    """Return the upright box of an annotation, whatever its kind; None where it has no area."""
    box = tight_box(one)
    if box is None and isinstance(one.shape, Mask):
        from synapse_core.datasets.mask_shapes import mask_box  # numpy: 80 ms

        box = mask_box(one.shape)
    return box if box is not None and box[2] > 0 and box[3] > 0 else None


def upright_box(one: Annotation, item: Item, losses: Losses, *, keeps_crowds: bool) -> Box | None:
    """Return the box to write, None for an annotation that is left out; tells of what changes either way."""
    kind = kind_of(one)
    if kind not in TO_BOX and kind != "box":
        losses.leave(one, item, "NOT_SUPPORTED")
        return None
    if not is_kept(one, item, losses, keeps_crowds=keeps_crowds):
        return None
    box = box_around(one)
    if box is None:
        losses.leave(one, item, "ZERO_AREA")
    elif kind in TO_BOX:
        losses.change(one, item, TO_BOX[kind])
    return box


def drop_fields(
    one: Annotation,
    item: Item,
    losses: Losses,
    *,
    attributes: bool = True,
    score: bool = True,
    group: bool = True,
) -> None:
    """Tell of those of attributes, score and group that an annotation has and the target has no place for."""
    if attributes and one.attributes:
        named = ", ".join(map(str, one.attributes))
        losses.change(one, item, "ATTRIBUTES_DROPPED", named, before=one.attributes)
    if group and one.group is not None:
        losses.change(one, item, "ATTRIBUTES_DROPPED", "group", field="group", before=one.group)
    if score and one.score is not None:
        losses.change(one, item, "SCORE_DROPPED", before=one.score)
