"""Small datasets for tests: files written from a mapping, images of any size, everything a reader finds."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from synapse_core.datasets.formats import find_format
from synapse_core.datasets.model import Header, Item
from synapse_core.datasets.options import make_options
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import open_source


def png(width: int = 100, height: int = 80) -> bytes:
    """Return a black grey-scale image of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(width) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_files(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a folder, which is returned."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data.encode() if isinstance(data, str) else data)
    root.mkdir(parents=True, exist_ok=True)
    return root


def read_all(root: Path, name: str, **options: Any) -> tuple[Header, dict[str, Item], Losses]:
    """Return what a format's reader finds: its header, its items by key, and what it told."""
    reader = find_format(name).read(open_source(root), make_options(**options))
    losses = Losses(len(reader.header.classes), len(reader.header.classes))
    losses.add(reader.found)
    losses.entries += reader.found.entries
    count = len(list(reader.entries()))
    return reader.header, {item.key: item for _, item in reader.items(0, count, losses)}, losses


def shapes_of(root: Path, name: str, **options: Any) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """Return key -> (class name, box) of every annotation, sorted: what two datasets have in common."""
    header, items, _ = read_all(root, name, **options)
    return {
        key: sorted(
            (header.classes[one.label].name, tuple(round(number, 6) for number in one.box or ()))
            for one in item.annotations
        )
        for key, item in items.items()
    }
