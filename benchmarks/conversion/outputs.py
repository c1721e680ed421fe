"""How many boxes a converter wrote, whatever it calls its files: who loses some is not compared with."""

from __future__ import annotations

from pathlib import Path

import msgspec


class _Coco(msgspec.Struct):
    annotations: list[msgspec.Raw]


def count_boxes(output: Path, target_format: str) -> int:
    """Return how many boxes stand in a dataset of this format."""
    return _COUNTS[target_format](output)


def _coco(output: Path) -> int:
    return sum(
        len(msgspec.json.decode(path.read_bytes(), type=_Coco).annotations)
        for path in output.rglob("*.json")
        if path.name.startswith("instances")
    )


def _yolo(output: Path) -> int:
    """Count the rows of five numbers or more: lists of images and of names are text files as well."""
    return sum(row.count(" ") >= 4 for path in output.rglob("*.txt") for row in path.read_text().splitlines())


def _voc(output: Path) -> int:
    return sum(path.read_bytes().count(b"<bndbox>") for path in output.rglob("*.xml"))


def _dm(output: Path) -> int:
    return sum(
        len(media.get("bounding_box", ()))
        for path in output.rglob("json/*.json")
        for media in msgspec.json.decode(path.read_bytes())["images"]
    )


_COUNTS = {"coco": _coco, "yolo": _yolo, "voc": _voc, "dm_v2": _dm}
