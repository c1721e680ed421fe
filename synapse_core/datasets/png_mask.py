"""Masks as PNG files: written bit by bit, read with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence


def read_png(data: bytes) -> tuple[int, int, bytes]:
    """Return width, height and one byte a pixel: the index in the palette, or the grey value.

    Raises ValueError where it is no image.
    """
    from PIL import Image, UnidentifiedImageError  # takes 30 ms, and only masks need it

    try:
        with Image.open(io.BytesIO(data)) as image:
            plain = image if image.mode in ("L", "P") else image.convert("L")
            return image.width, image.height, plain.tobytes()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"the mask is no image: {error}") from error


def read_colours(data: bytes) -> tuple[int, int, bytes]:
    """Return width, height and three bytes a pixel: red, green, blue.

    Raises ValueError where it is no image.
    """
    from PIL import Image, UnidentifiedImageError  # takes 30 ms, and only masks need it

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width, image.height, image.convert("RGB").tobytes()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"the mask is no image: {error}") from error


def write_png(width: int, height: int, runs: Sequence[Sequence[int]]) -> bytes:
    """Return an image of two levels; runs: [start, length] along its rows."""
    pixels = bytearray(width * height)
    for start, length in runs:
        pixels[start : start + length] = b"\xff" * length
    rows = b"".join(b"\0" + pixels[at : at + width] for at in range(0, len(pixels), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
