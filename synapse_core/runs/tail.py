"""Reading a run's files as they grow: events from a byte offset, and the end of the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from synapse_core.enums import LogLevel
from synapse_core.events import AnyEvent, decode_line

_CHUNK_BYTES = 1 << 18
_LEVEL = re.compile(rb"^\d\d:\d\d:\d\d ([A-Z]+) ")


def read_events(path: Path, offset: int, most_bytes: int = 1 << 20) -> tuple[list[AnyEvent], int]:
    """Return the whole events from byte `offset` on and the offset after them.

    A last line without its end is left for the next call; a torn line is passed over.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(most_bytes)
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    events: list[AnyEvent] = []
    for line in data[:end].splitlines():
        try:
            events.append(decode_line(line))
        except msgspec.MsgspecError:
            continue  # a write that a full disk cut short; the event after it stands whole
    return events, offset + end


def iterate_events(path: Path, offset: int = 0) -> Iterator[AnyEvent]:
    """Yield every event that the file holds now."""
    while True:
        events, offset = read_events(path, offset)
        if not events:
            return
        yield from events


class LogPage(msgspec.Struct, frozen=True):
    """Lines of a log. cursor: the byte after the last of them. is_cut: older lines were left out."""

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
) -> LogPage:
    """Return the last `tail` lines, or the first `tail` after byte `cursor`, that match.

    grep: a regular expression searched in each line. level: only lines that were logged at this level or a
    louder one; what a plugin merely printed counts as info. Lines are cut at 2,000 characters and the page
    at `most_chars`, the oldest lines first.
    Raises re.error for a pattern that is none.
    """
    wanted = None if grep is None else re.compile(grep.encode())
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return LogPage([], 0, False)

    def matches(line: bytes) -> bool:
        return (wanted is None or wanted.search(line) is not None) and _is_loud(line, level)

    if cursor is not None:
        return _read_on(path, min(cursor, size), tail, matches, most_chars)
    kept: list[str] = []
    chars = 0
    with open(path, "rb") as file:
        for line in _backwards(file, size):
            if not matches(line):
                continue
            text = _shown(line)
            if len(kept) == tail or chars + len(text) > most_chars:
                return LogPage(kept[::-1], size, True)
            kept.append(text)
            chars += len(text) + 1
    return LogPage(kept[::-1], size, False)


def _read_on(path: Path, cursor: int, most: int, matches: object, most_chars: int) -> LogPage:
    lines: list[str] = []
    chars = 0
    with open(path, "rb") as file:
        file.seek(cursor)
        for line in file:
            if matches(line.rstrip(b"\n")):  # type: ignore[operator]
                text = _shown(line.rstrip(b"\n"))
                if len(lines) == most or chars + len(text) > most_chars:
                    break
                lines.append(text)
                chars += len(text) + 1
            cursor += len(line)
    return LogPage(lines, cursor, False)


def _backwards(file: object, size: int) -> Iterable[bytes]:
    """Yield the lines of a file from its end, reading no more of it than is asked for."""
    position = size
    rest = b""
    is_first = True
    while position > 0:
        length = min(_CHUNK_BYTES, position)
        position -= length
        file.seek(position)  # type: ignore[attr-defined]
        parts = (file.read(length) + rest).split(b"\n")  # type: ignore[attr-defined]
        rest = parts.pop(0)
        for line in reversed(parts):
            if is_first and not line:
                is_first = False
                continue
            is_first = False
            yield line
        if len(rest) > _CHUNK_BYTES * 4:
            yield rest  # one endless line: its head is not worth reading
            return
    if rest:
        yield rest


def _is_loud(line: bytes, level: LogLevel | None) -> bool:
    if level is None:
        return True
    found = _LEVEL.match(line)
    if found is None:
        return level.rank <= LogLevel.INFO.rank
    try:
        return LogLevel.parse(found.group(1).decode().lower()).rank >= level.rank
    except ValueError:
        return level.rank <= LogLevel.INFO.rank


def _shown(line: bytes) -> str:
    text = line[:2000].decode("utf-8", "replace").replace("\r", "")
    return text if len(line) <= 2000 else text + f" … ({len(line):,} bytes)"
