"""Sizes from headers, against what Pillow wrote and what Pillow reads."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from synapse_core.datasets.image_size import ImageSize, InvalidImage, image_size, read_image_size

ORIENTATION = 0x0112
FORMATS = ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]


def encoded(kind: str, width: int = 37, height: int = 21, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), 90).save(file, kind, **options)
    return file.getvalue()


def exif_of(orientation: int, byte_order: str = ">") -> Image.Exif:
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010F] = "A maker of cameras"
    exif[ORIENTATION] = orientation
    return exif


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def read(folder: Path, data: bytes) -> ImageSize:
    path = folder / "image"
    path.write_bytes(data)
    return read_image_size(path)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (37, 21), (300, 2), (1, 4000)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"icc_profile": b"a profile of colours"}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_every_format_states_its_size(
    tmp_path: Path, kind: str, options: dict[str, Any], width: int, height: int
):
    data = encoded(kind, width, height, **options)

    assert image_size(data) == ImageSize(width, height)
    assert read(tmp_path, data) == ImageSize(width, height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_told_beside_the_stored_size(
    tmp_path: Path, kind: str, byte_order: str, orientation: int
):
    size = read(tmp_path, encoded(kind, exif=exif_of(orientation, byte_order)))

    assert size == ImageSize(37, 21, orientation)
    assert size.upright == ((21, 37) if orientation in (5, 6, 7, 8) else (37, 21))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_beginning_tells_the_truth_or_nothing(kind: str):
    whole = encoded(kind, **({} if kind in ("GIF", "BMP") else {"exif": exif_of(6)}))
    known = ImageSize(37, 21, 1 if kind in ("GIF", "BMP") else 6)

    told = [image_size(whole[:length]) for length in range(len(whole) + 1)]

    assert set(told) == {None, known}
    assert told[-1] == known


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "ICO", "PPM", "TGA"])
def test_other_formats_are_read_by_pillow(tmp_path: Path, kind: str):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    data = encoded(kind, 48, 32, **({"sizes": [(48, 32)]} if kind == "ICO" else {}))

    assert image_size(data) is None
    assert read(tmp_path, data) == ImageSize(48, 32)


def test_a_jpeg_tells_its_size_behind_a_thumbnail_and_a_profile(tmp_path: Path):
    plain = encoded("JPEG", exif=exif_of(8))
    long = plain[:2] + segment(0xE2, b"x" * 60_000) * 40 + plain[2:]

    assert image_size(long[:1024]) is None
    assert read(tmp_path, long) == ImageSize(37, 21, 8)


def test_a_jpeg_may_have_fill_bytes_and_stray_bytes_between_its_segments(tmp_path: Path):
    plain = encoded("JPEG")

    odd = plain[:2] + b"\xff\xff" + segment(0xFE, b"a comment") + b"\xff\x01" + b"stray" + plain[2:]

    assert read(tmp_path, odd) == ImageSize(37, 21)


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"nonsense" * 9]
)
def test_broken_exif_data_leave_the_image_upright(tmp_path: Path, exif: bytes):
    plain = encoded("JPEG")

    odd = plain[:2] + segment(0xE1, b"Exif\0\0" + exif) + plain[2:]

    assert read(tmp_path, odd) == ImageSize(37, 21)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(tmp_path: Path, orientation: int):
    assert read(tmp_path, encoded("JPEG", exif=exif_of(orientation))).orientation == 1


def test_a_bmp_may_store_its_first_row_first_or_be_of_the_old_kind(tmp_path: Path):
    modern = bytearray(encoded("BMP"))
    modern[22:26] = struct.pack("<i", -21)
    old = b"BM" + struct.pack("<IIIIHHHH", 26, 0, 26, 12, 37, 21, 1, 24)

    assert read(tmp_path, bytes(modern)) == ImageSize(37, 21)
    assert read(tmp_path, old) == ImageSize(37, 21)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", ["H", "I"])
def test_a_tiff_has_its_directory_anywhere_and_either_order_of_bytes(tmp_path: Path, order: str, number: str):
    kind, padding = (3, b"\0\0") if number == "H" else (4, b"")
    entries = [(256, 70), (257, 40), (274, 6)]
    directory = struct.pack(order + "H", len(entries)) + b"".join(
        struct.pack(f"{order}HHI{number}", tag, kind, 1, value) + padding for tag, value in entries
    )
    start = b"II*\0" if order == "<" else b"MM\0*"

    tiff = start + struct.pack(order + "I", 50_000) + bytes(50_000 - 8) + directory

    assert image_size(tiff[:1024]) is None
    assert read(tmp_path, tiff) == ImageSize(70, 40, 6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty"),
        (b"not an image", "no JPEG, PNG, GIF, BMP, WebP or TIFF, and Pillow"),
        (b"\xff\xd8\xff", "The image was cut off"),
        (b"\xff\xd8" + segment(0xDA, bytes(8)), "has no frame header"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "and not with its header"),
        (b"GIF89a" + bytes(4), "states a size of 0 x 0 pixels"),
        (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(20), "does not begin with a key frame"),
        (b"RIFF\x40\0\0\0WEBPVP8L" + bytes(20), "does not begin with its signature"),
        (b"RIFF\x40\0\0\0WEBPALPH" + bytes(20), "begins with b'ALPH'"),
        (b"II*\0\x08\0\0\0\0\0\0\0", "does not state its width and height"),
        (b"MM\0*\0\0\0\x08\xff\xff", "The directory at byte 8 is broken: it states 65535 entries"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(tmp_path: Path, data: bytes, said: str):
    with pytest.raises(InvalidImage) as refused:
        read(tmp_path, data)

    assert said in str(refused.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_was_cut_off_is_refused_or_tells_its_size(tmp_path: Path, kind: str):
    whole = encoded(kind)

    for length in range(1, len(whole), 7):
        try:
            size = read(tmp_path, whole[:length])
        except InvalidImage:
            continue
        assert size == ImageSize(37, 21)


def test_a_file_that_is_not_there_is_the_callers_to_answer(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_image_size(tmp_path / "missing.jpg")
    with pytest.raises(IsADirectoryError):
        read_image_size(tmp_path)
