"""Reading a run's events as they grow, from a byte offset on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from synapse_core.events import AnyEvent, decode_line


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
