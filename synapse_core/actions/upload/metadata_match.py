"""Which row of a table of metadata belongs to which file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_NUMBERED = re.compile(r"(.+)_\d+").fullmatch


class MetadataMatch:
    """Finds a file's row: by its stem, its name, what it is a numbered part of, or a part of its path.

    used: the names of the rows that a file was found for.
    """

    def __init__(self, rows: Mapping[str, dict[str, Any]]) -> None:
        self._rows = rows
        self._names: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._by_last: dict[str, list[str]] = {}
        for name in rows:
            plain = _plain(name)
            self._names.setdefault(plain, name)
            path = PurePosixPath(plain)
            if "/" in plain:
                for last in {path.stem, path.name}:
                    self._by_last.setdefault(last, []).append(name)
            else:
                self._stems.setdefault(path.stem, name)
        self.used: set[str] = set()

    def find(self, relative: str) -> dict[str, Any]:
        """Return the values for a file, given by its path, an empty mapping where no row fits."""
        path = PurePosixPath(_plain(relative))
        name = (
            self._names.get(path.stem)
            or self._names.get(path.name)
            or self._origin(path.stem)
            or self._by_path(path)
        )
        if name is None:
            return {}
        self.used.add(name)
        return self._rows[name]

    def _origin(self, stem: str) -> str | None:
        """Return the row of `clip` or `clip.mp4` for a file `clip_12`."""
        numbered = _NUMBERED(stem)
        return None if numbered is None else self._stems.get(str(numbered[1]))

    def _by_path(self, path: PurePosixPath) -> str | None:
        """Return the row whose name is the end of the path, with or without the file's ending."""
        ends = (f"/{path}", f"/{path.with_suffix('')}")
        near: list[str] = [*self._by_last.get(path.stem, []), *self._by_last.get(path.name, [])]
        for name in near:
            asked = f"/{_plain(name).strip('/')}"
            if any(end.endswith(asked) for end in ends):
                return name
        return None


def _plain(name: str) -> str:
    """Return a name as others may have written it: accents in one piece, backslashes as slashes."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
