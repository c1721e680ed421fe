"""The rows of COCO's annotations array: decoded at once where they are as they should be, one by one
otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from synapse_core.datasets.formats.json_stream import elements, loose
from synapse_core.datasets.model import Annotation, Box, Kind, Mask, Polygon, Shape, Text, Unread
from synapse_core.decoding import converted


class Rle(msgspec.Struct, gc=False):
    """Runs down the columns of a mask, as numbers or as COCO's text. size: [height, width]."""

    counts: list[int] | str
    size: list[int]


class Row(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One annotation as it stands in the file. extra: the fields that are none of these."""

    image_id: int | str | None = None
    category_id: int | str | None = None
    id: int | str | None = None
    bbox: tuple[float, float, float, float] | None = None
    segmentation: list[list[float]] | Rle | None = None
    area: float | None = None
    iscrowd: int | None = None
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    score: float | None = None
    caption: str | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


_PLAIN_KEYS = MappingProxyType(
    {"label": "category_id", "box": "bbox"}
    | {name: name for name in ("id", "image_id", "area", "iscrowd", "segmentation")}
)


def _key_of(field: str) -> str:
    """Return the key of a plain row that a field is read from, for most of them one that no file has."""
    return _PLAIN_KEYS.get(field, f"~{field}")


class BoxRow(Annotation, gc=False, forbid_unknown_fields=True, kw_only=True, rename=_key_of):
    """An annotation that states a box with a class, and nothing else, decoded into what all readers yield.

    label: the category's id, until `set_labels`. Fields of Annotation that it has no key for keep their
    defaults; they stand here again because only a class's own fields can have keys of another name.
    """

    label: int
    box: Box
    shape: None = None
    points: None = None
    angle: float = 0.0
    is_crowd: bool = False
    group: None = None
    score: None = None
    attributes: None = None
    extra: None = None
    image_id: int | str | None = None
    iscrowd: Literal[0] = 0
    segmentation: tuple[()] = ()


class LeanRow(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """An annotation with a stated box whose segmentation was not decoded."""

    category_id: int
    bbox: Box
    id: int | str | None = None
    image_id: int | str | None = None
    area: float | None = None
    iscrowd: int = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"[]")


class BrokenRow(Exception):  # it is a row
    """An annotation that cannot be read. kind: what it would have been; field, value: what is wrong with
    it; image_id: whose it is, where that can be read.
    """

    def __init__(
        self,
        message: str,
        kind: Kind,
        field: str,
        value: object,
        id: object = None,  # noqa: A002
        image_id: int | str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.kind, self.field, self.value, self.id = message, kind, field, value, id
        self.image_id = image_id


_rows = msgspec.json.Decoder(list[Row])
_row = msgspec.json.Decoder(Row)
lean_rows = msgspec.json.Decoder(list[LeanRow])
_encode = msgspec.json.Encoder().encode
# One ring, as most are.
_OF_NUMBERS = b"-+0123456789.eE, \t\r\n"
_RING = re.compile(rb"\[\s*\[([-+0-9.eE,\s]*)\]\s*\]")
box_rows = msgspec.json.Decoder(list[BoxRow])
_KNOWN = frozenset(Row.__struct_fields__) - {"extra"}


def read_boxes(data: bytes) -> list[BoxRow] | None:
    """Return the annotations of a block where all of them are plain boxes, None where one is not."""
    try:
        return box_rows.decode(b"[" + data + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def set_labels(rows: list[BoxRow], labels: Mapping[Any, int]) -> bool:
    """Give plain boxes the labels of their categories. Returns False where one is of no known category."""
    try:
        for row in rows:
            row.label = labels[row.label]
    except KeyError:
        return False
    return True


def read_lean(data: bytes) -> list[LeanRow | Row | BrokenRow] | None:
    """Return the annotations of a block of which boxes alone are wanted, None where one has no box.

    Segmentations that are more than one ring are decoded all the same: that takes no longer than to say what
    they are.
    """
    try:
        rows = lean_rows.decode(b"[" + data + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return [row if not row.iscrowd and is_ring(bytes(row.segmentation)) else full_row(row) for row in rows]


def full_row(row: LeanRow) -> Row | BrokenRow:
    """Return the same with its segmentation."""
    return _read_row(_encode(row))


def lean_annotation(row: LeanRow, label: int) -> Annotation:
    """Return an annotation with this label that says of its shape no more than what it is."""
    return Annotation(label, row.bbox, Unread("polygon"), None, 0.0, row.id, False, None, row.area)


def without_ring(one: Annotation) -> Annotation:
    """Return an annotation that says no more of its ring than one that was not decoded would.

    What stands beside it in its block must make no difference.
    """
    shape = one.shape
    if (
        isinstance(shape, Polygon)
        and len(shape.rings) == 1
        and len(shape.rings[0]) >= 6
        and not (one.is_crowd or one.box is None or one.points or one.attributes or one.extra)
        and one.score is None
        and math.isfinite(sum(shape.rings[0]))
    ):
        one.shape = Unread("polygon")
    return one


def is_ring(text: bytes) -> bool:
    """Return True for JSON of one ring of three points or more, in a list."""
    # As most write it, in a third of the time: two brackets, numbers, and two brackets.
    if not (text[:2] == b"[[" and text[-2:] == b"]]" and text.translate(None, _OF_NUMBERS) == b"[[]]"):
        ring = _RING.fullmatch(text)
        if ring is None:
            return False
        text = ring[1]
    return _is_of_points(text.count(b","))


def are_rings(texts: Sequence[bytes]) -> bool:
    """Return True where all are one ring, written as most write it."""
    text = b"".join(texts)
    return (
        text.count(b"[[") == text.count(b"]]") == len(texts)
        and text.translate(None, _OF_NUMBERS) == b"[[]]" * len(texts)
        and all(map(_is_of_points, {text.count(b",") for text in texts}))
    )


def _is_of_points(commas: int) -> bool:
    return commas >= 5 and commas % 2 == 1


def read_rows(data: bytes) -> list[Row | BrokenRow]:
    """Return the annotations of a block, those that are broken as what is wrong with them."""
    try:
        return list(_rows.decode(b"[" + data + b"]"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [_read_row(element) for element in elements(data)]


def annotation_of(row: Row, label: int) -> Annotation:
    """Return an annotation with this label. Raises BrokenRow where its numbers cannot be."""
    shape: Shape | None = None
    segmentation = row.segmentation
    if segmentation:
        if isinstance(segmentation, list):
            for ring in segmentation:
                if len(ring) % 2:
                    raise BrokenRow(
                        "a ring has an odd number of coordinates",
                        "polygon",
                        "segmentation",
                        len(ring),
                        row.id,
                    )
            shape = Polygon(segmentation)
        else:
            if len(segmentation.size) != 2 or min(segmentation.size) < 0:
                raise BrokenRow("size is [height, width]", "mask", "segmentation", segmentation.size, row.id)
            height, width = segmentation.size
            encoding = "compressed" if isinstance(segmentation.counts, str) else "counts"
            shape = Mask(height, width, encoding, segmentation.counts)  # type: ignore[arg-type]
    elif row.caption is not None:
        shape = Text(row.caption)
    points = row.keypoints or None
    if points is not None and len(points) % 3:
        raise BrokenRow("key points come in threes", "keypoints", "keypoints", len(points), row.id)
    attributes = row.attributes or None
    angle = 0.0
    if (
        attributes is not None
        and shape is None
        and isinstance(turned := attributes.get("rotation"), int | float)
    ):
        angle = math.radians(turned)
        attributes = {name: value for name, value in attributes.items() if name != "rotation"} or None
    return Annotation(
        label,
        row.bbox,
        shape,
        points,
        angle,
        row.id,
        bool(row.iscrowd),
        row.score,
        row.area,
        None,
        attributes,
        row.extra,
    )


def _read_row(element: bytes) -> Row | BrokenRow:
    try:
        return _row.decode(element)
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = loose(element)
    if not isinstance(data, dict):
        return BrokenRow("an annotation is an object", "other", "", repr(data)[:80])
    fields = {name: value for name, value in data.items() if name in _KNOWN}
    extra = {name: value for name, value in data.items() if name not in _KNOWN}
    kind: Kind = (
        "keypoints" if fields.get("keypoints") else "polygon" if fields.get("segmentation") else "box"
    )
    number, owner = _id(data, "id"), _id(data, "image_id")
    for name, correct in _CORRECT:
        if name in fields:
            try:
                fields[name] = correct(fields[name])
            except (TypeError, ValueError) as error:
                return BrokenRow(str(error), kind, name, repr(data[name])[:80], number, owner)
    if isinstance(crowd := fields.get("iscrowd"), bool | str):
        fields["iscrowd"] = int(str(crowd).lower() in ("1", "true"))
    try:
        row = converted(fields, Row, strict=False)
    except msgspec.ValidationError as error:
        return BrokenRow(str(error), kind, "", repr(data)[:80], number, owner)
    row.extra = extra or None
    return row


def _id(data: dict[str, Any], name: str) -> int | str | None:
    found = _whole(data.get(name))
    return found if isinstance(found, int | str) else None


def _box(value: Any) -> Box | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("bbox is four numbers")
    x, y, width, height = map(float, value)
    return x, y, width, height


def _segmentation(value: Any) -> Any:
    if value in (None, [], {}, [[]]):
        return None
    if isinstance(value, list) and value and not isinstance(value[0], list):
        value = [value]  # one ring that was not put in a list
    if isinstance(value, list):
        return [[float(number) for number in ring] for ring in value]
    if not isinstance(value, dict) or "counts" not in value or "size" not in value:
        raise ValueError("segmentation is a list of rings, or counts and size")
    return value


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if not math.isfinite(number := float(value)):
        raise ValueError("it is not a finite number")
    return number


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Fields whose values are taken in more forms than they should have.
_CORRECT: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("image_id", _whole),
    ("category_id", _whole),
    ("id", _whole),
    ("bbox", _box),
    ("segmentation", _segmentation),
    ("area", _number),
    ("score", _number),
)
