"""What several processes of a home share: its cache, and turns at making one thing in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from synapse_core.environment import default_home

_LOOK_SECONDS = 0.1


def cache_folder(name: str) -> Path:
    """Return a folder of the home for what can be made again, which is made where it is not there."""
    folder = default_home() / "cache" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def turn_at(place: Path, check: Callable[[], None]) -> Iterator[None]:
    """Let one thread of one process at a time make what stands at `place`; the others wait for it.

    check: called while waiting; what it raises ends the wait. Who holds the turn and dies gives it up.
    """
    digest = hashlib.sha256(os.fsencode(place.absolute())).hexdigest()
    descriptor = os.open(cache_folder("turns") / digest, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check()
                time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)
