"""Calls that are repeated after a while where what failed says that this can help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from synapse_core.errors import SynapseError

T = TypeVar("T")
_FIRST_SECONDS = 0.2
_MOST_SECONDS = 10.0


def delays(retries: int) -> Iterator[float]:
    """Yield how long to wait before each retry, in seconds: twice as long each time."""
    for number in range(retries):
        yield min(_FIRST_SECONDS * 2**number, _MOST_SECONDS)


def persistently(call: Callable[[], T], retries: int, pause: Callable[[float], None]) -> T:
    """Return what a call gives. Raises its error once it is no retryable one, or was met too often."""
    for delay in delays(retries):
        try:
            return call()
        except SynapseError as error:
            if not error.retryable:
                raise
        pause(delay)
    return call()
