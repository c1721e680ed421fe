"""The request to stop a run, and its delivery into the thread that does the work."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from synapse_core.errors import RunStopped


class StopSignal:
    """Raises RunStopped, once, in the thread whose work was asked to stop.

    It is raised in an `armed` thread at its next bytecode, even if that thread reports nothing; a call into
    native code has to return first. In a `shielded` block (rollbacks) it is never raised; in an
    `uninterrupted` one (writing an event) only at the end of the block.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._holds = 0
        self._shields = 0
        self._is_requested = False
        self._is_delivered = False
        self._is_pending = False
        self._exception = self._marking_exception()
        self.uninterrupted = _Uninterrupted(self)

    @property
    def is_requested(self) -> bool:
        """True once a stop was asked for."""
        return self._is_requested

    def request(self) -> None:
        """Ask for a stop. From the armed thread itself (a signal handler) RunStopped is raised here."""
        self._is_requested = True
        self._deliver()

    def raise_if_requested(self) -> None:
        """Raise RunStopped where a stop was asked for and not yet delivered."""
        if not self._is_requested:
            return
        with self._lock:
            if self._is_delivered or self._shields:
                return
            self._withdraw()
        raise self._exception("The run was asked to stop.")

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Let a request reach the calling thread at any bytecode while the block runs."""
        with self._lock:
            self._thread = threading.get_ident()
        try:
            self.raise_if_requested()
            yield
        finally:
            with self._lock:
                self._withdraw()
                self._thread = None

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let the block run to its end, whatever is requested meanwhile."""
        with self._lock:
            self._withdraw()
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1

    def hold(self) -> None:
        """Begin a short block that must not be torn; see `uninterrupted`."""
        with self._lock:
            self._withdraw()
            self._holds += 1

    def release(self) -> None:
        """End such a block, and deliver what was requested during it."""
        with self._lock:
            self._holds -= 1
        if self._is_requested:
            self._deliver()

    def _deliver(self) -> None:
        with self._lock:
            if self._is_delivered or self._holds or self._shields or self._thread is None:
                return
            if self._thread != threading.get_ident():
                self._is_pending = True
                _raise_in_thread(self._thread, self._exception)
                return
        raise self._exception("The run was asked to stop.")

    def _withdraw(self) -> None:
        """Take back an exception that was set for the armed thread and not raised yet."""
        if self._is_pending and not self._is_delivered and self._thread is not None:
            _raise_in_thread(self._thread, None)
        self._is_pending = False

    def _marking_exception(self) -> type[RunStopped]:
        """Return a RunStopped that tells this signal when it is really raised.

        What is set for another thread is raised some time later; only its construction shows when.
        """
        signal = self

        class Stopped(RunStopped):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*(arguments or ("The run was asked to stop.",)))
                signal._is_delivered = True

            def __reduce__(self) -> tuple[type[RunStopped], tuple[object, ...]]:
                return RunStopped, self.args  # what travels belongs to no signal any more

        return Stopped


class _Uninterrupted:
    """The reusable context manager behind `StopSignal.uninterrupted`; entered for every event."""

    def __init__(self, signal: StopSignal) -> None:
        self._signal = signal

    def __enter__(self) -> None:
        self._signal.hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal.release()


def _raise_in_thread(thread: int, exception: type[BaseException] | None) -> None:
    """Set, or with None clear, the exception that `thread` raises at its next bytecode."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(exception) if exception is not None else None
    )
