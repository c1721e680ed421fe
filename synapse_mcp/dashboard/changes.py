"""Waiting for changes: what a page shows is told again when it has changed, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import msgspec

from synapse_mcp.masking import masked_data

# How soon a change is seen. A look asks for the sizes of a few files, nothing else.
_LOOK_SECONDS = 0.2
# How often what no file tells is asked for: a worker that died without a word, say.
_ASK_SECONDS = 2.0
# What tells a browser, and whatever lies between, that the line still stands.
_BEAT_SECONDS = 10.0


class Stopping:
    """Whether the service is about to end; the lines to its pages end then too."""

    def __init__(self) -> None:
        self.is_asked_for = False


async def told_changes(
    snapshot: Callable[[], Awaitable[tuple[dict[str, object], bool]]],
    files: Callable[[], Sequence[Path]],
    stopping: Stopping,
) -> AsyncIterator[bytes]:
    """Yield a stream of server-sent events: each part of a snapshot at first, and again once it has changed.

    snapshot: gives the parts by name, and whether nothing can follow any more. files: those whose change
    means that there is news; asked for before each snapshot, so that none is missed.
    """
    told: dict[str, bytes] = {}
    beat = time.monotonic()
    yield b"retry: 1000\n\n"
    while not stopping.is_asked_for:
        seen = _marks(files())
        parts, is_last = await snapshot()
        for name, part in parts.items():
            data = encoded(part)
            if told.get(name) != data:
                told[name] = data
                beat = time.monotonic()
                yield b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
        if is_last:
            yield b"event: end\ndata: {}\n\n"
            return
        asked = time.monotonic()
        while not stopping.is_asked_for and time.monotonic() - asked < _ASK_SECONDS:
            await anyio.sleep(_LOOK_SECONDS)
            if _marks(files()) != seen:
                break
            if time.monotonic() - beat > _BEAT_SECONDS:
                beat = time.monotonic()
                yield b": beat\n\n"


def encoded(record: object) -> bytes:
    """Return a record as JSON on one line, without secrets."""
    return msgspec.json.encode(masked_data(msgspec.to_builtins(record, str_keys=True)))


def _marks(files: Sequence[Path]) -> list[tuple[int, int]]:
    marks = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116  # asked often, and a Path costs more than the call
            marks.append((found.st_size, found.st_mtime_ns))
        except OSError:
            marks.append((-1, 0))
    return marks
