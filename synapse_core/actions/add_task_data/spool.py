"""A file that keeps what one step makes until the next one takes it: memory does not grow with the tasks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Spool:
    """Values in their order, in a file of this run's own that nobody else writes. Any object can be kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        path.write_bytes(b"")

    def add(self, value: Any) -> None:
        """Keep a value. Raises what pickle raises for one that cannot be kept; it is not counted then."""
        kept = pickle.dumps(value)
        with self._path.open("ab") as file:
            file.write(kept)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            for _ in range(self._count):
                yield pickle.load(file)
