"""What exported files are called: as they were, unless a file system minds or two have the same name."""

from __future__ import annotations

import posixpath
import re
import unicodedata

_MOST_NAME_BYTES = 200
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)")
_REFUSED = re.compile(r'[<>:"/\\|?*]')
# Control and format characters (invisible ones, and those that turn the direction of writing), line ends.
_HIDDEN_KINDS = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


def safe_file_name(name: str, fallback: str) -> str:
    """Return the last part of a path as a name that every file system takes, `fallback` where none is left.

    Its extension is kept, and what is not taken becomes `_`. At most 200 bytes of UTF-8.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join("_" if unicodedata.category(sign) in _HIDDEN_KINDS else sign for sign in last)
    plain = _REFUSED.sub("_", unicodedata.normalize("NFC", shown)).strip().rstrip(". ")
    if not plain.strip("._ "):
        return fallback
    return _shortened(f"_{plain}" if _RESERVED.match(plain) else plain)


class FileNames:
    """The names that one export has given out. Two never share a stem, because data files are named by it."""

    def __init__(self) -> None:
        # Names of the export's own reports, should they lie in the same folder.
        self._taken = {"error_file_list", "filename_collisions"}

    def take(self, wanted: str, item_id: object) -> str:
        """Return `wanted`, or `<stem>__<id><extension>` where its stem is taken."""
        stem, extension = posixpath.splitext(wanted)
        ending = f"__{item_id}"
        name, number = stem, 0
        while (key := unicodedata.normalize("NFC", name).casefold()) in self._taken:
            name = f"{stem}{ending}_{number}" if number else f"{stem}{ending}"
            number += 1
        self._taken.add(key)
        return name + extension


def _shortened(name: str) -> str:
    if len(name.encode()) <= _MOST_NAME_BYTES:
        return name
    stem, extension = posixpath.splitext(name)
    if len(extension.encode()) > 20:
        stem, extension = name, ""
    room = _MOST_NAME_BYTES - len(extension.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + extension
