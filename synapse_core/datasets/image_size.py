"""The size of an image from the first bytes of its file, without decoding it.

JPEG, PNG, GIF, BMP, WebP and TIFF are read here; what else Pillow opens is left to it. No message names the
file: the caller knows what its user calls it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import unpack_from
from typing import TypeAlias

import msgspec

# Where the size of most files is found; one page would cost the same.
_FIRST_BYTES = 1024
_WIDTH, _LENGTH, _ORIENTATION = 256, 257, 274  # tags of TIFF and EXIF
_MOST_TAGS = 4096  # of a directory that is not broken

_Bytes: TypeAlias = bytes | mmap


class InvalidImage(ValueError):
    """Bytes that are no image, or a broken one; the message says where they stop making sense."""


class ImageSize(msgspec.Struct, frozen=True, gc=False):
    """Width and height in pixels as they are stored, and how the image is to be turned for viewing.

    orientation: EXIF's 1 to 8; 1 is upright, 3 upside down, 5 to 8 lie on their side. 1 where none is stated.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer that heeds the orientation shows the image."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


def read_image_size(path: str | Path) -> ImageSize:
    """Return the size of an image file.

    Raises InvalidImage where it is no image that can be read, OSError where the file cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        head = os.read(descriptor, _FIRST_BYTES)
        found = image_size(head)
        if found is None and len(head) == _FIRST_BYTES:
            # Thumbnails and colour profiles come first, TIFF's directory may come last: see the whole file,
            # of which only the pages that are looked at are read.
            with mmap(descriptor, 0, access=ACCESS_READ) as whole:
                found = image_size(whole)
    finally:
        os.close(descriptor)
    if found is None and _parser_of(head):
        raise InvalidImage("The image was cut off: its file ends before it tells its size.")
    if found is None and not head:
        raise InvalidImage("The file is empty.")
    return found or _pillow_size(path)


def image_size(data: _Bytes) -> ImageSize | None:
    """Return the size that the first bytes of an image file tell.

    None where it takes more bytes to tell, or another format than those of this module.
    Raises InvalidImage where no bytes that follow can make an image of it.
    """
    parser = _parser_of(data)
    found = parser(data) if parser else None
    if found is not None and (found.width < 1 or found.height < 1):
        raise InvalidImage(f"The image states a size of {found.width} x {found.height} pixels.")
    return found


def _parser_of(data: _Bytes) -> Callable[[_Bytes], ImageSize | None] | None:
    """Return what reads the format that the data begin as, None where it is another one."""
    if data[:2] == b"\xff\xd8":
        return _jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif
    if data[:2] == b"BM":
        return _bmp
    return _tiff if data[:4] in (b"II*\0", b"MM\0*") else None


def _jpeg(data: _Bytes) -> ImageSize | None:
    """Go from segment to segment up to the frame header, by the EXIF data on the way."""
    at, size, orientation = 2, len(data), 1
    while at + 9 <= size:
        if data[at] != 0xFF:  # stray bytes, which decoders skip
            at = data.find(b"\xff", at)
            if at < 0:
                return None
            continue
        marker = data[at + 1]
        # Start of frame, 0xC0 to 0xCF, without the tables DHT, JPG and DAC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = unpack_from(">HH", data, at + 5)
            return ImageSize(width, height, orientation)
        if marker in (0x00, 0xFF):  # stray or fill bytes
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without a content
            at += 2
            continue
        if marker in (0xD9, 0xDA):
            raise InvalidImage("The JPEG has no frame header, which tells its size, before its pixels.")
        length = data[at + 2] << 8 | data[at + 3]
        if marker == 0xE1 and orientation == 1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    return None


def _png(data: _Bytes) -> ImageSize | None:
    """Read the header and go on to the pixels, by the EXIF data on the way."""
    if len(data) < 24:
        return None
    if data[12:16] != b"IHDR":
        raise InvalidImage(f"The PNG begins with {data[12:16]!r} and not with its header.")
    width, height = unpack_from(">II", data, 16)
    at = 33
    while at + 8 <= len(data):
        (length,), kind = unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind in (b"IDAT", b"IEND"):
            return ImageSize(width, height)
        if kind == b"eXIf" and at + 8 + length <= len(data):
            return ImageSize(width, height, _exif_orientation(data[at + 8 : at + 8 + length]))
        at += 12 + length
    return None


def _webp(data: _Bytes) -> ImageSize | None:
    """Read the first chunk: a lossy image, a lossless one, or the canvas of an extended file."""
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise InvalidImage("The lossy WebP does not begin with a key frame.")
        width, height = unpack_from("<HH", data, 26)
        return ImageSize(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        if data[20] != 0x2F:
            raise InvalidImage("The lossless WebP does not begin with its signature.")
        (bits,) = unpack_from("<I", data, 21)
        return ImageSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        orientation = _webp_orientation(data) if data[20] & 8 else 1
        return None if orientation is None else ImageSize(width, height, orientation)
    raise InvalidImage(f"The WebP begins with {kind!r}, which is no image.")


def _webp_orientation(data: _Bytes) -> int | None:
    """Return what the EXIF chunk states, which follows the pixels; None where it is still to come."""
    at, (size,) = 12, unpack_from("<I", data, 4)
    while at + 8 <= len(data):
        (length,) = unpack_from("<I", data, at + 4)
        if data[at : at + 4] == b"EXIF":
            if at + 8 + length > len(data):
                return None
            return _exif_orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return 1 if at >= size + 8 else None


def _gif(data: _Bytes) -> ImageSize | None:
    return ImageSize(*unpack_from("<HH", data, 6)) if len(data) >= 10 else None


def _bmp(data: _Bytes) -> ImageSize | None:
    if len(data) < 26:
        return None
    (header_size,) = unpack_from("<I", data, 14)
    # The header of OS/2 has two short numbers; a negative height says that the first row comes first.
    width, height = unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return ImageSize(width, abs(height))


def _tiff(data: _Bytes) -> ImageSize | None:
    """Read the first directory, that of the first page."""
    tags = _tags(data)
    if tags is None:
        return None
    if not {_WIDTH, _LENGTH} <= tags.keys():
        raise InvalidImage("The TIFF does not state its width and height.")
    return ImageSize(tags[_WIDTH], tags[_LENGTH], _valid(tags.get(_ORIENTATION, 1)))


def _exif_orientation(data: bytes) -> int:
    """Return the orientation that EXIF data state, which are built as a TIFF is; 1 where they are broken."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        return _valid((_tags(data) or {}).get(_ORIENTATION, 1))
    except InvalidImage:
        return 1  # the image is whole all the same, and viewers show it as it is stored


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _tags(data: _Bytes) -> dict[int, int] | None:
    """Return the whole numbers of a TIFF's first directory by tag; None where it ends beyond the data."""
    if len(data) < 8:
        return None
    order = "<" if data[:1] == b"I" else ">"
    (at,) = unpack_from(order + "I", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = unpack_from(order + "H", data, at)
    if count > _MOST_TAGS or at < 8:
        raise InvalidImage(f"The directory at byte {at} is broken: it states {count} entries.")
    if at + 2 + 12 * count > len(data):
        return None
    found: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = unpack_from(order + "HH", data, entry)
        if kind in (3, 4):  # 16 and 32 bits, from the left of the entry's value
            (found[tag],) = unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return found


def _pillow_size(path: str | Path) -> ImageSize:
    """Return what Pillow says of a file of another format."""
    # 60 ms, for formats that few datasets have.
    from PIL import Image

    try:
        with Image.open(path) as image:
            return ImageSize(*image.size, _valid(image.getexif().get(_ORIENTATION, 1)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidImage(
            f"It is no JPEG, PNG, GIF, BMP, WebP or TIFF, and Pillow does not read it either: {error}"
        ) from error
