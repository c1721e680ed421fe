"""Records read page by page, with patience: a backend that breaks off is asked on from the last id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from synapse_core.actions.item_failures import is_away
from synapse_core.backend import Listing
from synapse_core.errors import BackendUnavailable, SynapseError

T = TypeVar("T")

MOST_RESUMPTIONS = 5
FIRST_WAIT_SECONDS = 0.2


class Patience:
    """Repeats what a backend, or a storage, could not do because it was away.

    Up to five times in a row, and waiting twice as long each time.
    failures: how often it was needed. told: called with each failure and the seconds until the next try.
    """

    def __init__(self, told: Callable[[SynapseError, float], None]) -> None:
        self.failures = 0
        self._told = told
        self._in_a_row = 0

    def wait_after(self, error: SynapseError) -> None:
        """Wait before the next try. Raises the error where there were enough."""
        self._in_a_row += 1
        self.failures += 1
        if self._in_a_row > MOST_RESUMPTIONS:
            raise error
        seconds = FIRST_WAIT_SECONDS * 2 ** (self._in_a_row - 1)
        self._told(error, seconds)
        time.sleep(seconds)

    def succeeded(self) -> None:
        """Begin to count anew."""
        self._in_a_row = 0

    def call(self, function: Callable[[], T]) -> T:
        """Return what a call returns that can be repeated. Raises what it raises at last."""
        while True:
            try:
                value = function()
            except SynapseError as error:
                # A storage that the backend serves says that it could not store, because of that.
                if not is_away(error):
                    raise
                self.wait_after(error)
            else:
                self.succeeded()
                return value


class Results:
    """The records that are to be exported, by ascending id; no more than a page of them is held.

    count: how many there were when the export began. Reading them twice asks for them twice.
    """

    def __init__(self, ask: Callable[[int | None], Listing[Any]], patience: Patience) -> None:
        self._ask = ask
        self._patience = patience
        self.count: int = patience.call(lambda: ask(None)).count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        last: int | None = None
        while True:
            try:
                for record in self._ask(last):
                    last = record.id
                    self._patience.succeeded()
                    yield record
                return
            except BackendUnavailable as error:
                self._patience.wait_after(error)
