"""Threads that work off a list, while the action's own thread tells how far they are and hears of a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from synapse_core.actions.pace import Pace
from synapse_core.stop import StopSignal

T = TypeVar("T")
R = TypeVar("R")
Tell = Callable[[int, int], None]
# A stop reaches the waiting thread when it wakes.
_WAKE_SECONDS = 0.1


class WorkEnded(Exception):
    """Raised inside a crew's thread that is to come to its end; nobody outside of it sees it."""


class Crew:
    """One list at a time is worked off. After an error, or a stop, no thread of it is left working."""

    def __init__(self, stop: StopSignal) -> None:
        """stop: of the run whose thread uses the crew."""
        self._stop = stop
        self._ending = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def work_off(
        self, items: Sequence[T], work: Callable[[T], R], workers: int, tell: Tell | None = None
    ) -> list[R]:
        """Return what `work` gives for each item, in their order.

        tell: called now and then in the calling thread with (begun, all). Raises the first thing that a
        `work` raises; what was begun then has ended.
        """
        if not items:
            return []
        results: list[R | None] = [None] * len(items)
        ending = self._ending = threading.Event()
        order = iter(range(len(items)))
        begun = 0
        next_lock = threading.Lock()

        def work_on() -> None:
            nonlocal begun
            while not (ending.is_set() or self._stop.is_requested):
                with next_lock:
                    index = next(order, None)
                    if index is None:
                        return
                    begun = index
                results[index] = work(items[index])

        pace = Pace(items=max(25, len(items) // 200))
        self._pool = ThreadPoolExecutor(min(workers, len(items)), thread_name_prefix="synapse-upload")
        try:
            # CPython can raise a stop in the thread that is just being started instead, which then never says
            # that it was.
            with self._stop.uninterrupted:
                left: set[Future[None]] = {
                    self._pool.submit(work_on) for _ in range(min(workers, len(items)))
                }
            while left:
                ended, left = wait(left, timeout=_WAKE_SECONDS, return_when=FIRST_EXCEPTION)
                for one in ended:
                    one.result()
                now = begun if left else len(items)
                if tell is not None and pace.is_due(now, len(items)):
                    tell(now, len(items))
        finally:
            self.settle()
        self._stop.raise_if_requested()
        return results  # type: ignore[return-value]  # all of them are there

    def check(self) -> None:
        """Called in long work: raises WorkEnded where the work is to end."""
        if self._ending.is_set() or self._stop.is_requested:
            raise WorkEnded

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the work is to end; then raise WorkEnded."""
        if self._ending.wait(seconds):
            raise WorkEnded

    def settle(self) -> None:
        """Have the threads end, and wait for what each is in the middle of."""
        self._ending.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
