"""Reading a run's events as they grow, from a byte offset on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from synapse_core.events import AnyEvent, decode_line

# How soon a worker that died without a word is seen.
RECONCILE_SECONDS = 0.4
# How soon an event is seen, half of it on the average: at first, so that a trivial run is over when it has
# ended, and later.
_FIRST_LOOK_SECONDS = 0.001
_LOOK_SECONDS = 0.015


def look_after(began: float) -> float:
    """Return in how many seconds to look again at a run that has been followed since `began` (monotonic)."""
    return min(max((time.monotonic() - began) / 10, _FIRST_LOOK_SECONDS), _LOOK_SECONDS)


def read_events(path: Path, offset: int, most_bytes: int = 1 << 20) -> tuple[list[AnyEvent], int]:
    """Return the whole events of about `most_bytes` from byte `offset` on, and the offset after them.

    A last line without its end is left for the next call; a torn line is passed over.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(most_bytes)
            if not data.endswith(b"\n"):
                data += file.readline()  # the rest of its last line, which may be longer than was asked for
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
        events, end = read_events(path, offset)
        if end == offset:
            return
        offset = end
        yield from events


def size_of(path: Path) -> int:
    """Return how many bytes a file holds, 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  # asked often, and a Path costs more than the call
    except FileNotFoundError:
        return 0
