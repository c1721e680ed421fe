"""Following the log of a run as it grows."""

from __future__ import annotations

import codecs
from pathlib import Path

_MOST_BYTES = 1 << 18


class LogTail:
    """Reads a log from its beginning on. Bytes that are not UTF-8 become the replacement character."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def read(self) -> list[str]:
        """Return the whole lines of the next part, with their line ends; empty where nothing is new."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._begun = (self._begun + self._decoder.decode(data)).split("\n")
        return [f"{line}\n" for line in lines]

    def rest(self) -> list[str]:
        """Return what is left of an ended log: whole lines, and a last one that has no end."""
        lines = []
        while more := self.read():
            lines += more
        last, self._begun = self._begun + self._decoder.decode(b"", final=True), ""
        return [*lines, last] if last else lines
