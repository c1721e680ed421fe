"""The one model that every dataset format is read into and written from.

Coordinates are pixels of the stored image: floats, origin at the top left corner of the first pixel, y
downwards, unrounded. A mask stays in the encoding of its source until a writer needs another one. What no
field here stands for is carried along in `extra`, so that a target of the same format gets it back.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

# What annotations are counted by. `box` to `polyline` have a place in the image; the others have none.
Kind: TypeAlias = Literal[
    "box",
    "rotated_box",
    "polygon",
    "mask",
    "keypoints",
    "polyline",
    "tag",
    "caption",
    "group",
    "relation",
    "other",
]
KINDS: tuple[Kind, ...] = (
    "box",
    "rotated_box",
    "polygon",
    "mask",
    "keypoints",
    "polyline",
    "tag",
    "caption",
    "group",
    "relation",
    "other",
)

# The label of an annotation that has no class.
NO_CLASS = -1

# x, y, width, height in pixels, x and y of the top left corner.
Box: TypeAlias = tuple[float, float, float, float]


class ClassDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A class of annotated things.

    source_id: the number or text by which its source names it, where it has one. keypoints: the names of its
    points in order. skeleton: pairs of points that belong together, counted from 0.
    """

    name: str
    source_id: int | str | None = None
    supercategory: str | None = None
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    extra: dict[str, Any] = {}


class Polygon(msgspec.Struct, gc=False):
    """Rings [x1, y1, x2, y2, …] of one object: their union, without the last `holes` of them."""

    rings: list[list[float]]
    holes: int = 0


class Mask(msgspec.Struct, gc=False):
    """The pixels of one object, encoded.

    encoding `counts`: lengths of runs down the columns, background first (COCO's uncompressed form);
    `compressed`: the same as COCO's text; `row_runs`: [start, length] pairs along the rows (DM's rle);
    `row_indices`: indices of pixels along the rows.
    """

    height: int
    width: int
    encoding: Literal["counts", "compressed", "row_runs", "row_indices"]
    data: Any


class Polyline(msgspec.Struct, gc=False):
    """An open line [x1, y1, x2, y2, …]."""

    points: list[float]


class Text(msgspec.Struct, gc=False):
    """A text about the whole image."""

    text: str


class Relation(msgspec.Struct, gc=False):
    """From one annotation of the item to another, by their ids."""

    start: str
    end: str


class Group(msgspec.Struct, gc=False):
    """Annotations of the item that belong together, by their ids."""

    members: list[str]


class Opaque(msgspec.Struct, gc=False):
    """Something that only its own format knows: `tool` names it, `data` is kept as it was read."""

    tool: str
    data: Any


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A polygon or a mask beside a stated box that nobody wants: it was not looked into."""

    kind: Literal["polygon", "mask"]


Shape: TypeAlias = Polygon | Mask | Polyline | Text | Relation | Group | Opaque | Unread


class Annotation(msgspec.Struct, gc=False):
    """One annotated thing.

    label: index into the header's classes, NO_CLASS where it has none.
    box: the box that the source states; None where it states none (see `tight_box` in shapes.py).
    angle: radians, clockwise, by which `box` is turned about its centre.
    shape: what is drawn where it is more than the box. points: [x, y, v, …] with v 0 not labelled, 1 hidden,
    2 visible, in the order of the class's keypoints.
    id: the source's own, unique within the item where the source keeps them so.
    """

    label: int
    box: Box | None = None
    shape: Shape | None = None
    points: list[float] | None = None
    angle: float = 0.0
    id: int | str | None = None
    is_crowd: bool = False
    score: float | None = None
    area: float | None = None
    group: str | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


class Item(msgspec.Struct):
    """An image (or another medium) and what is annotated on it.

    key: the image's path in the dataset, with / between its parts, unique there; it names the item
    everywhere. width, height: pixels as the annotations count them; None where nobody knows. image: path of
    its file below the source's root, None where there is none. where: file and line from which it was read.
    media: the kind. id: the source's own. is_plain: there are annotations, and every one is an upright box
    with a class and nothing else; a reader that knows says so, and whoever checks items says it of those that
    lie in their image too, so that writers need not look. is_outlined: the same, but every one has a polygon
    beside its box that was not looked into.
    """

    key: str
    width: int | None
    height: int | None
    annotations: list[Annotation]
    split: str | None = None
    image: str | None = None
    where: str = ""
    media: str = "image"
    id: int | str | None = None
    extra: dict[str, Any] | None = None
    is_plain: bool = False
    is_outlined: bool = False


class Header(msgspec.Struct):
    """What is true of a whole dataset.

    classes: in the source's order. kinds: the kinds of annotation that are in it. splits: in order; empty
    where it has none. info: top-level facts that the format carries along. item_fields: what only that
    format says of its items, a licence, say: its name -> of how many items it is said.
    """

    format: str
    classes: list[ClassDef]
    kinds: frozenset[Kind]
    splits: tuple[str, ...] = ()
    info: dict[str, Any] = {}
    item_fields: dict[str, int] = {}


_KIND_OF_SHAPE: dict[type, Kind] = {
    Polygon: "polygon",
    Mask: "mask",
    Polyline: "polyline",
    Text: "caption",
    Relation: "relation",
    Group: "group",
    Opaque: "other",
}


def kind_of(annotation: Annotation) -> Kind:
    """Return what an annotation is counted as: the most that it states."""
    if annotation.points is not None:
        return "keypoints"
    if annotation.shape is not None:
        shape = annotation.shape
        return shape.kind if isinstance(shape, Unread) else _KIND_OF_SHAPE[type(shape)]
    if annotation.box is None:
        return "tag"
    return "rotated_box" if annotation.angle else "box"
