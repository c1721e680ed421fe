"""Work in several processes of this machine, in order: forked where that is safe, else started anew."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

# From <sys/prctl.h>: the signal that a process gets when the one that started it ends.
_PR_SET_PDEATHSIG = 1
P = TypeVar("P")
R = TypeVar("R")


def can_fork() -> bool:
    """Return True where a process can be forked: one with threads can hang for ever."""
    return sys.platform == "linux" and threading.active_count() == 1


def in_processes(work: Callable[[P], R], pieces: Sequence[P], processes: int) -> Generator[R, None, None]:
    """Yield what the work makes of each piece, in order, and raise what it raises.

    Process k does the pieces k, k + n, …; they are taken in order, so that none runs far ahead. work: what
    can be pickled, as well as the pieces and what becomes of them.
    """
    start: type[_Forked] | type[_Spawned] = _Forked if can_fork() else _Spawned
    started: list[_Forked | _Spawned] = []
    try:
        for number in range(processes):
            started.append(start(work, pieces[number::processes]))  # noqa: PERF401  # all are closed
        for number in range(len(pieces)):
            result = started[number % processes].next()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for process in started:
            process.close()


def results_of(work: Callable[[Any], Any], pieces: Sequence[Any], send: Callable[[Any], None]) -> None:
    """Do pieces one after the other, in a process of its own, and send the results or what was raised."""
    if sys.platform == "linux":
        # Who outlives the process that asked goes on writing where the next conversion cleans up.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        for piece in pieces:
            send(work(piece))
    except BrokenPipeError:
        return  # whoever asked is gone
    except Exception as error:  # noqa: BLE001  # it is raised again in the process that asked
        send(error)


class _Forked:
    """A forked process that sends the results of its pieces."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_forked_main, args=(work, pieces, self._receiver, sender), daemon=True
        )
        self._process.start()
        sender.close()

    def next(self) -> Any:
        try:
            return self._receiver.recv()
        except EOFError:
            self._process.join()
            return _died(self._process.exitcode)

    def close(self) -> None:
        self._receiver.close()
        self._process.kill()
        self._process.join()


def _forked_main(
    work: Callable[[Any], Any], pieces: Sequence[Any], receiver: Connection, sender: Connection
) -> None:
    receiver.close()
    results_of(work, pieces, sender.send)


class _Spawned:
    """The same in a new interpreter."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        asked = pickle.dumps((work, pieces))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "synapse_core.datasets.part_processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(asked)
        self._process.stdin.close()

    def next(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            return _died(self._process.wait())

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        with self._process:
            pass


def _serve() -> None:
    """`python -m` this module: do the pieces that are asked for on stdin, give the results on stdout."""
    # What a library prints must not get among the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work, pieces = pickle.load(sys.stdin.buffer)

    def send(result: Any) -> None:
        pickle.dump(result, results)
        results.flush()

    results_of(work, pieces, send)


def _died(code: int | None) -> RuntimeError:
    return RuntimeError(f"A process that did a part of the work ended with {code}.")


if __name__ == "__main__":
    _serve()
