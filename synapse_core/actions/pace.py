"""How often something long tells how far it is."""

from __future__ import annotations

import time


class Pace:
    """Is due at every so many items or after a time, whichever comes first, and at the last item."""

    def __init__(self, items: int = 25, seconds: float = 0.5) -> None:
        self._items = items
        self._seconds = seconds
        self._done = 0
        self._at = time.monotonic()

    def is_due(self, done: int, total: int) -> bool:
        """Return True where `done` of `total` should be told now."""
        now = time.monotonic()
        if done < total and done - self._done < self._items and now - self._at < self._seconds:
            return False
        self._done, self._at = done, now
        return True
