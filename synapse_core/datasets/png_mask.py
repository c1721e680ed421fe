"""Masks as PNG files: written bit by bit, read with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


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


@dataclass(frozen=True)
class Indexed:
    """A picture of indices, one byte a pixel, and what colours they stand for: of a grey picture, none."""

    width: int
    height: int
    pixels: bytes
    colors: dict[int, tuple[int, int, int]]


def read_indexed(data: bytes) -> Indexed:
    """Return a picture of indices. One in colours gets an index for each, black the first.

    Raises ValueError where it is no image, or has more than 256 colours.
    """
    from PIL import Image, UnidentifiedImageError  # takes 30 ms, and only masks need it

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ("L", "1"):
                return Indexed(image.width, image.height, image.convert("L").tobytes(), {})
            colors: dict[int, tuple[int, int, int]] = {}
            if image.mode == "P":
                values = image.getpalette() or []
                colors = {
                    at // 3: (values[at], values[at + 1], values[at + 2]) for at in range(0, len(values), 3)
                }
                return Indexed(image.width, image.height, image.tobytes(), colors)
            return _with_indices(image.width, image.height, image.convert("RGB").tobytes())
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"the mask is no image: {error}") from error


def _with_indices(width: int, height: int, data: bytes) -> Indexed:
    import numpy as np  # 80 ms, and only masks in colours need it

    pixels = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3).astype(np.uint32)
    numbers, places = np.unique(pixels @ np.array([65536, 256, 1], dtype=np.uint32), return_inverse=True)
    first = 0 if numbers[0] == 0 else 1
    if len(numbers) + first > 255:
        raise ValueError(f"the mask has {len(numbers)} colours; 254 is the most")
    colors = {
        at + first: (number >> 16, number >> 8 & 255, number & 255)
        for at, number in enumerate(numbers.tolist())
    }
    return Indexed(width, height, (places + first).astype(np.uint8).tobytes(), colors)


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
