"""Uploads in parts: a file below the service's folder grows until its MD5 is right, then a call takes it."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from synapse_core.errors import BackendRejected, RecordNotFound

_ID = re.compile(r"[0-9a-f]{32}")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_MOST_AGE_SECONDS = 24 * 3600.0
_PART, _WHOLE = "part", "whole"


class Uploads:
    """Files that come in parts. Safe from several threads."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = Lock()

    def begin(self) -> str:
        """Return the id of a new upload. Those that nobody has touched for a day are removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - _MOST_AGE_SECONDS
        for old in self._folder.iterdir():
            if _touched(old) < oldest:
                shutil.rmtree(old, ignore_errors=True)
        upload = secrets.token_hex(16)
        (self._folder / upload).mkdir()
        (self._folder / upload / _PART).touch()
        return upload

    def add(self, upload: str, content_range: str, part: BinaryIO, size_bytes: int) -> int:
        """Append a part. Returns how many bytes are there; one that is there already changes nothing."""
        found = _RANGE.fullmatch(content_range)
        if found is None:
            raise BackendRejected(
                f"The Content-Range {content_range[:80]!r} is not written like 'bytes 0-99/500'."
            )
        start, stop, total = int(found[1]), int(found[2]) + 1, int(found[3])
        if not start < stop <= total or stop - start != size_bytes:
            raise BackendRejected(
                f"The Content-Range {found[0]!r} does not fit a part of {size_bytes} bytes."
            )
        if total > self._most_bytes:
            raise BackendRejected(
                f"A file of {total:,} bytes is too large; {self._most_bytes:,} are the most."
            )
        with self._lock:
            offset = self.offset(upload)
            if offset >= stop:
                return offset
            if offset != start:
                raise BackendRejected(
                    f"The upload has {offset} bytes; a part from {start} cannot follow.", {"offset": offset}
                )
            with open(self._place(upload) / _PART, "r+b") as file:
                # A part that was cut off before is written over.
                file.seek(start)
                shutil.copyfileobj(part, file, 1 << 20)
                file.truncate(stop)
            return stop

    def offset(self, upload: str) -> int:
        """Return how many bytes of an upload are there. Raises RecordNotFound."""
        place = self._place(upload)
        for name in (_WHOLE, _PART):
            if (place / name).is_file():
                return (place / name).stat().st_size
        raise RecordNotFound("upload", upload)

    def finish(self, upload: str, md5: str) -> int:
        """Compare what is there with its MD5, and return its size. May be asked again."""
        with self._lock:
            size_bytes = self.offset(upload)
            part = self._place(upload) / _PART
            if part.is_file():
                with part.open("rb") as content:
                    found = hashlib.file_digest(
                        content, lambda: hashlib.md5(usedforsecurity=False)
                    ).hexdigest()
                if found != md5.lower():
                    raise BackendRejected(
                        f"The upload has the MD5 {found}, not {md5[:64]!r}.", hint="Send the file again."
                    )
                part.rename(part.with_name(_WHOLE))
            return size_bytes

    @contextmanager
    def taken(self, upload: str, name: str) -> Iterator[Path]:
        """Give the whole file under a name; it is removed when it was used without an error."""
        place = self._place(upload)
        whole = place / _WHOLE
        if not whole.is_file():
            raise RecordNotFound("finished upload", upload, hint="Send all parts and the MD5 first.")
        folder = place / secrets.token_hex(8)
        folder.mkdir()
        named = folder / name
        named.hardlink_to(whole)
        try:
            yield named
        finally:
            shutil.rmtree(folder)
        shutil.rmtree(place, ignore_errors=True)

    def _place(self, upload: str) -> Path:
        if not _ID.fullmatch(upload):
            raise RecordNotFound("upload", upload[:64])
        return self._folder / upload


def _touched(place: Path) -> float:
    """Return when something last came to an upload, in seconds since 1970; infinity where it is gone."""
    # A part that is appended changes the time of its file, and not that of the folder.
    for path in (place / _PART, place / _WHOLE, place):
        with suppress(FileNotFoundError):  # taken by another call meanwhile
            return path.stat().st_mtime
    return math.inf
