"""Reading a run's log: its end, or what came after a cursor, without reading all of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from synapse_core.enums import LogLevel
from synapse_core.errors import InvalidRequest
from synapse_core.plain_text import plain

_CHUNK_BYTES = 1 << 18
_LINE_CHARS = 2_000
# A line without an end, of a plugin that floods, is held in memory only this far.
_LINE_BYTES = 1 << 16
_SEARCH_SECONDS = 3.0
_LEVEL = re.compile(rb"^\d\d:\d\d:\d\d ([A-Z]+) ")

Matches = Callable[[bytes], bool]
Shown = Callable[[str], str]
TextOf = Callable[[bytes], str | None]


class LogPage(msgspec.Struct, frozen=True):
    """Lines of a log. cursor: the byte after the last of them. is_cut: lines that match were left out."""

    lines: list[str]
    cursor: int
    is_cut: bool


def read_log(
    path: Path,
    *,
    tail: int,
    grep: str | None = None,
    level: LogLevel | None = None,
    cursor: int | None = None,
    most_chars: int = 30_000,
    shown: Shown = str,
) -> LogPage:
    """Return the last `tail` lines, or the first `tail` after byte `cursor`, that match.

    shown: makes of a line what may be seen of it, before it is cut; what it hides cannot be searched for.

    grep: a regular expression searched in each line. level: only lines that were logged at this level or a
    louder one; what a plugin merely printed counts as info. Lines are cut at 2,000 characters, the page at
    `most_chars` (the oldest lines first), and a search after 3 s.
    Raises InvalidRequest for a pattern that is none, or that takes too long.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return LogPage([], 0, False)
    matches = _matcher(grep, level)

    def text_of(line: bytes) -> str | None:
        """Return a line as it may be seen, None where it does not match, or only in what is hidden."""
        if not matches(line):
            return None
        text = shown(_decoded(line))
        return _cut(text) if grep is None or matches(text.encode("utf-8", "replace")) else None

    with open(path, "rb") as file:
        if cursor is not None:
            return _page_after(file, min(cursor, size), tail, text_of, most_chars)
        return _last_page(file, size, tail, text_of, most_chars)


def _last_page(file: BinaryIO, size: int, most: int, text_of: TextOf, most_chars: int) -> LogPage:
    kept: list[str] = []
    chars = 0
    deadline = time.monotonic() + _SEARCH_SECONDS
    for line in _backwards(file, size):
        if time.monotonic() > deadline:
            return LogPage(kept[::-1], size, True)
        text = text_of(line)
        if text is None:
            continue
        if len(kept) == most or chars + len(text) > most_chars:
            return LogPage(kept[::-1], size, True)
        kept.append(text)
        chars += len(text) + 1
    return LogPage(kept[::-1], size, False)


def _page_after(file: BinaryIO, cursor: int, most: int, text_of: TextOf, most_chars: int) -> LogPage:
    lines: list[str] = []
    chars = 0
    deadline = time.monotonic() + _SEARCH_SECONDS
    file.seek(cursor)
    while line := file.readline(_LINE_BYTES):
        text = text_of(line.rstrip(b"\n"))
        if text is not None:
            if len(lines) == most or chars + len(text) > most_chars or time.monotonic() > deadline:
                return LogPage(lines, cursor, True)
            lines.append(text)
            chars += len(text) + 1
        cursor += len(line)
    return LogPage(lines, cursor, False)


def _backwards(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the lines of a file from its end, reading no more of it than is asked for."""
    position = size
    rest = b""
    is_last = True
    while position > 0:
        length = min(_CHUNK_BYTES, position)
        position -= length
        file.seek(position)
        rest, *lines = (file.read(length) + rest).split(b"\n")
        for line in reversed(lines):
            if line or not is_last:  # what follows the last line end is no line
                yield line
            is_last = False
        rest = rest[-_LINE_BYTES:]
    if rest:
        yield rest


def _matcher(grep: str | None, level: LogLevel | None) -> Matches:
    """Return what decides whether a line is wanted."""
    if grep is None:
        return lambda line: _is_loud(line, level)
    # Unlike `re` it can give up: a pattern may take exponential time, and comes from outside.
    import regex

    try:
        pattern = regex.compile(grep.encode())
    except regex.error as error:
        raise InvalidRequest(
            f"grep={grep!r} is not a regular expression: {error}.", hint="Escape its special characters."
        ) from None

    def matches(line: bytes) -> bool:
        try:
            found = pattern.search(line[:_LINE_CHARS], timeout=_SEARCH_SECONDS, concurrent=True)
        except TimeoutError:
            raise InvalidRequest(
                f"grep={grep!r} takes too long on a line of this log.",
                hint="Use a simpler pattern, without nested repetitions.",
            ) from None
        return found is not None and _is_loud(line, level)

    return matches


def _is_loud(line: bytes, level: LogLevel | None) -> bool:
    if level is None:
        return True
    found = _LEVEL.match(line)
    words = found.group(1).decode().lower() if found else ""
    said = LogLevel(words) if words in _LEVELS else LogLevel.INFO
    return said.rank >= level.rank


_LEVELS = frozenset(level.value for level in LogLevel)


def _decoded(line: bytes) -> str:
    # More than is shown: a secret that lies across the cut has to be seen whole to be known.
    return plain(line[: 2 * _LINE_CHARS].decode("utf-8", "replace").replace("\r", ""))


def _cut(text: str) -> str:
    return text if len(text) <= _LINE_CHARS else f"{text[:_LINE_CHARS]} … (cut)"
