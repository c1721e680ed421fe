"""What a zip file says of itself, looked at before anything of it is unpacked."""

from __future__ import annotations

import io
import zipfile
from typing import BinaryIO

# The list of members alone must not fill the memory: some 100,000 of them.
_MOST_LIST_BYTES = 8 << 20
_END = b"PK\x05\x06"
_LOCATOR_64 = b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES = 22, 20, 56
_MOST_COMMENT = 1 << 16


class UnsafeArchive(ValueError):
    """A zip file that would do harm where it is unpacked, or is none."""


def read_members(content: BinaryIO) -> list[zipfile.ZipInfo]:
    """Return the members of a zip file.

    Raises UnsafeArchive where it is broken, has too many, or one leads out of its folder.
    """
    if _list_bytes(content) > _MOST_LIST_BYTES:
        raise UnsafeArchive("it has too many members")
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise UnsafeArchive(f"it is no zip file that can be read: {error}") from error
    for member in members:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            raise UnsafeArchive(f"its member {ascii(member.filename)[:100]} leads out of its folder")
    return members


def _list_bytes(content: BinaryIO) -> int:
    """Return how long the list of members is, as the file's end tells."""
    size = content.seek(0, io.SEEK_END)
    content.seek(max(0, size - _MOST_COMMENT - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES))
    tail = content.read()
    end = tail.rfind(_END)
    if end < 0:
        raise UnsafeArchive("it is no zip file, or cut short")
    told = int.from_bytes(tail[end + 12 : end + 16], "little")
    locator = end - _LOCATOR_BYTES
    if locator >= _END_64_BYTES and tail[locator : locator + 4] == _LOCATOR_64:
        large = locator - _END_64_BYTES
        told = max(told % 0xFFFFFFFF, int.from_bytes(tail[large + 40 : large + 48], "little"))
    return told
