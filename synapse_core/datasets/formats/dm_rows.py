"""One annotation of a DM document: its item and row in version 1, its entry in version 2.

The geometry of every tool is here; documents are in dm_documents.py.
Source: the tools of the DM converters of synapse-sdk 2026.2.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

_VISIBILITY = {"missing": 0, "occluded": 1, "visible": 2}


def head_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return id, class and attributes as version 2 has them."""
    given = item.get("classification")
    given = given if isinstance(given, dict) else {}
    name = given.get("class")
    is_name = isinstance(name, str)
    return {
        "id": item["id"] if isinstance(item.get("id"), str) else "",
        "classification": name if is_name else "",
        "attrs": [
            {"name": key, "value": value} for key, value in given.items() if not (key == "class" and is_name)
        ],
    }


def entry_of(tool: str, item: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an annotation as version 2 has it; `data` is None where its row is missing."""
    entry = head_of(item)
    if tool == "classification":
        entry["data"] = {}
        return entry
    if len(rows) != 1:
        entry["data"] = [_rest(row) for row in rows] or None
        return entry
    row = rows[0]
    if tool == "bounding_box":
        coordinate = row.get("coordinate")
        if isinstance(coordinate, dict) and "rotation" in coordinate:
            entry["attrs"].insert(0, {"name": "rotation", "value": coordinate["rotation"]})
        entry["data"] = _numbers(coordinate, ("x", "y", "width", "height")) or _rest(row)
    elif tool in ("polygon", "polyline"):
        points = row.get("coordinate")
        pairs = [_numbers(point, ("x", "y")) for point in points] if isinstance(points, list) else [None]
        entry["data"] = _rest(row) if None in pairs else pairs
    elif tool == "keypoint":
        entry["data"] = _numbers(row.get("coordinate"), ("x", "y")) or _rest(row)
        for attribute in entry["attrs"]:
            if attribute["name"] == "visibility" and (seen := _visibility(attribute["value"])) is not None:
                entry["visibility"] = seen
                entry["attrs"].remove(attribute)
                break
    elif tool == "segmentation":
        _add_mask(entry, row)
    elif tool == "relation":
        entry["data"] = [row.get("annotationId"), row.get("targetAnnotationId")]
    elif tool == "3d_bounding_box":
        entry["data"] = row["psr"] if isinstance(row.get("psr"), dict) else _rest(row)
    elif tool == "time_range" and isinstance(row.get("section"), dict):
        more = {"excludedTracks": row["excludedTracks"]} if "excludedTracks" in row else {}
        entry["data"] = {**row["section"], **more}
    else:
        entry["data"] = _rest(row)
    return copy.deepcopy(entry)


def _add_mask(entry: dict[str, Any], row: dict[str, Any]) -> None:
    pixels = row.get("pixel_indices")
    if isinstance(pixels, list):
        # Runs are pairs and indices are numbers, so that the list shows what a file leaves out.
        is_compressed = row.get("isCompressed", bool(pixels) and isinstance(pixels[0], list))
        entry["data"] = pixels
        entry["encoding"] = "dm_rle" if is_compressed else "raw_indices"
        entry["isCompressed"] = is_compressed
        entry["compressionFormat"] = row.get("compressionFormat", "rle" if is_compressed else None)
    elif isinstance(row.get("section"), dict):
        entry["data"] = row["section"]
    else:
        entry["data"] = _rest(row)


def classification_of(entry: dict[str, Any]) -> dict[str, Any]:
    is_turned = False
    given: dict[str, Any] = {"class": entry.get("classification", "")}
    for name, value in attributes_of(entry):
        if name == "rotation" and not is_turned and _is_box(entry):
            is_turned = True
            continue
        given[name] = value
    if "visibility" in entry:
        given["visibility"] = entry["visibility"]
    return given


def attributes_of(entry: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the attributes of an annotation of version 2 as (name, value)."""
    given = entry.get("attrs")
    return [
        (str(one.get("name", "")), one.get("value"))
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict)
    ]


def row_of(tool: str, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of annotationsData, None where there is nothing to write."""
    data = entry.get("data")
    row: dict[str, Any] = {"id": entry.get("id", "")}
    if data is None:
        return None
    if tool == "bounding_box" and _is_box(entry):
        row["coordinate"] = dict(zip(("x", "y", "width", "height"), data, strict=True))
        turned = [value for name, value in attributes_of(entry) if name == "rotation"]
        if turned:
            row["coordinate"]["rotation"] = turned[0]
    elif tool in ("polygon", "polyline") and isinstance(data, list):
        row["coordinate"] = [
            {"x": point[0], "y": point[1], "id": short_id(entry.get("id"), number)}
            for number, point in enumerate(data)
            if isinstance(point, list) and len(point) == 2
        ]
    elif tool == "keypoint" and isinstance(data, list) and len(data) == 2:
        row["coordinate"] = {"x": data[0], "y": data[1]}
    elif tool == "segmentation" and isinstance(data, list):
        is_compressed = entry.get("encoding") == "dm_rle"
        row["pixel_indices"] = data
        row["isCompressed"] = entry.get("isCompressed", is_compressed)
        row["compressionFormat"] = entry.get("compressionFormat", "rle" if is_compressed else None)
    elif tool == "segmentation":
        row["section"] = data
    elif tool == "relation" and isinstance(data, list) and len(data) == 2:
        row["annotationId"], row["targetAnnotationId"] = data
    elif tool == "3d_bounding_box":
        row["psr"] = data
    elif tool == "time_range" and isinstance(data, dict):
        row["section"] = {key: value for key, value in data.items() if key != "excludedTracks"}
        if "excludedTracks" in data:
            row["excludedTracks"] = data["excludedTracks"]
    elif isinstance(data, dict):
        row |= data
    else:
        row["data"] = data
    return row


def short_id(*parts: object) -> str:
    """Return ten letters and digits that follow from the parts alone."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_box(entry: dict[str, Any]) -> bool:
    data = entry.get("data")
    return isinstance(data, list | tuple) and len(data) == 4 and all(map(is_number, data))


def _rest(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "id"}


def _numbers(given: object, names: tuple[str, ...]) -> list[Any] | None:
    """Return the numbers of these names, None where one is missing or is no number."""
    values = [given.get(name) for name in names] if isinstance(given, dict) else [None]
    return values if all(map(is_number, values)) else None


def _visibility(value: object) -> int | None:
    if isinstance(value, str):
        return _VISIBILITY.get(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value in (0, 1, 2) else None
