"""Threads that do an upload's work, while the action's own tells how far they are and hears of a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
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
    """Lists are worked off one after the other, and other work beside them.

    After an error, or a stop, no thread of it is left working; otherwise `settle` ends them.
    """

    def __init__(self, stop: StopSignal) -> None:
        """stop: of the run whose thread uses the crew."""
        self._stop = stop
        self._ending = threading.Event()
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def work_off(
        self, items: Sequence[T], work: Callable[[T], R], workers: int, tell: Tell | None = None
    ) -> list[R]:
        """Return what `work` gives for each item, in their order.

        tell: called now and then in the calling thread with (begun, all). Raises the first thing that a
        `work` raises; what was begun then has ended.
        """
        results: list[R | None] = [None] * len(items)
        order = iter(range(len(items)))
        begun = 0
        next_lock = threading.Lock()

        def work_on() -> None:
            nonlocal begun
            while not self._is_to_end():
                with next_lock:
                    index = next(order, None)
                    if index is None:
                        return
                    begun = index
                results[index] = work(items[index])

        threads = [self._begin("list", work_on, workers) for _ in range(min(workers, len(items)))]
        self.gather(threads, lambda: begun, len(items), tell)
        return results  # type: ignore[return-value]  # all of them are there

    def beside(self, work: Callable[[], R], workers: int) -> Future[R]:
        """Begin something that goes on while lists are worked off; `gather` waits for it."""
        return self._begin("beside", work, workers)

    def gather(
        self,
        threads: Collection[Future[R]],
        begun: Callable[[], int] = lambda: 0,
        total: int = 0,
        tell: Tell | None = None,
    ) -> None:
        """Wait for work. Raises the first thing that one raises, when all work of the crew has ended."""
        pace = Pace(items=max(25, total // 200))
        is_done = False
        try:
            left = set(threads)
            while left:
                ended, left = wait(left, timeout=_WAKE_SECONDS, return_when=FIRST_EXCEPTION)
                for one in ended:
                    one.result()
                now = begun() if left else total
                if tell is not None and pace.is_due(now, total):
                    tell(now, total)
            self._stop.raise_if_requested()
            is_done = True
        finally:
            if not is_done:
                self.settle()

    def check(self) -> None:
        """Called in long work: raises WorkEnded where the work is to end."""
        if self._is_to_end():
            raise WorkEnded

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the work is to end; then raise WorkEnded."""
        if self._ending.wait(seconds):
            raise WorkEnded

    def settle(self) -> None:
        """Have the threads end, and wait for what each is in the middle of."""
        self._ending.set()
        for name, pool in list(self._pools.items()):
            pool.shutdown(wait=True, cancel_futures=True)
            del self._pools[name]
        self._ending = threading.Event()

    def _is_to_end(self) -> bool:
        return self._ending.is_set() or self._stop.is_requested

    def _begin(self, name: str, work: Callable[[], R], workers: int) -> Future[R]:
        # CPython can raise a stop in a thread that is just being started instead, which then never says that
        # it was.
        with self._stop.uninterrupted:
            if name not in self._pools:
                self._pools[name] = ThreadPoolExecutor(workers, thread_name_prefix="synapse-upload")
            return self._pools[name].submit(work)
