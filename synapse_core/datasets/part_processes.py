"""Converting parts in several processes of this machine: forked where that is safe, else started anew."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from synapse_core.datasets.parts import Part, PartResult

# From <sys/prctl.h>: the signal that a process gets when the one that started it ends.
_PR_SET_PDEATHSIG = 1


def in_processes(part: Part, bounds: list[tuple[int, int]], processes: int) -> Iterator[PartResult]:
    """Process k converts the parts k, k + n, …; they are taken in order, so that none runs far ahead."""
    # A fork of a process with threads can hang for ever.
    start: type[_Forked | _Spawned] = (
        _Forked if sys.platform == "linux" and threading.active_count() == 1 else _Spawned
    )
    started: list[_Forked | _Spawned] = []
    try:
        for number in range(processes):
            started.append(start(part, bounds[number::processes]))  # noqa: PERF401  # all are closed
        for number in range(len(bounds)):
            result = started[number % processes].next()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for process in started:
            process.close()


def results_of(part: Part, bounds: list[tuple[int, int]], send: Callable[[Any], None]) -> None:
    """Convert parts one after the other, in a process of its own, and send the results or what was raised."""
    if sys.platform == "linux":
        # Who outlives the process that asked goes on writing where the next conversion cleans up.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        for start, stop in bounds:
            send(part.convert(start, stop))
    except BrokenPipeError:
        return  # whoever asked is gone
    except Exception as error:  # noqa: BLE001  # it is raised again in the process that asked
        send(error)


class _Forked:
    """A forked process that sends the results of its parts."""

    def __init__(self, part: Part, bounds: list[tuple[int, int]]) -> None:
        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_forked_main, args=(part, bounds, self._receiver, sender), daemon=True
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


def _forked_main(part: Part, bounds: list[tuple[int, int]], receiver: Connection, sender: Connection) -> None:
    receiver.close()
    results_of(part, bounds, sender.send)


class _Spawned:
    """The same in a new interpreter."""

    def __init__(self, part: Part, bounds: list[tuple[int, int]]) -> None:
        asked = pickle.dumps((part, bounds))
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
    """`python -m` this module: convert the parts that are asked for on stdin, give the results on stdout."""
    # What a library prints must not get among the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    part, bounds = pickle.load(sys.stdin.buffer)

    def send(result: Any) -> None:
        pickle.dump(result, results)
        results.flush()

    results_of(part, bounds, send)


def _died(code: int | None) -> RuntimeError:
    return RuntimeError(f"A process that converted a part of the dataset ended with {code}.")


if __name__ == "__main__":
    _serve()
