"""A conversion in parts of a few hundred items: one after the other, in several processes, or on Ray.

Which it is changes nothing in what is written: parts are cut in the same places, and put together in their
order.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_core.datasets.checking import Checker
from synapse_core.datasets.classes import ClassChoice
from synapse_core.datasets.format import Format, Piece, Reader, Writer
from synapse_core.datasets.naming import Names
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.splits import split_of
from synapse_core.datasets.target import HeldTarget, Target
from synapse_core.errors import InvalidRequest

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Items of a part: few enough for a rising progress and little memory, enough to make the rest not matter.
PART_ITEMS = 500
# From so many items on a second process is worth its start.
_PARALLEL_ITEMS = 8_000
_MOST_PROCESSES = 8
# Parts on Ray that are under way for each CPU of the cluster.
_AHEAD = 2
# From <sys/prctl.h>: the signal that a process gets when the one that started it ends.
_PR_SET_PDEATHSIG = 1


@dataclass
class PartResult:
    """What the conversion of one part gave. held: files that the receiver has to write."""

    items: int
    piece: Piece
    losses: Losses
    held: HeldTarget | None = None


@dataclass
class Part:
    """All that converts any part of a dataset; it can be pickled."""

    reader: Reader
    writer: Writer
    target_format: Format
    options: ConvertOptions
    chosen: ClassChoice
    names: Names
    _checker: Checker = field(init=False)

    def __post_init__(self) -> None:
        self._checker = Checker(self.options, target_clips=self.target_format.clips)

    def convert(self, start: int, stop: int) -> PartResult:
        """Convert the items from start to stop."""
        losses = Losses(len(self.reader.header.classes), len(self.chosen.classes))
        check, add, name_of = self._checker.check, self.writer.add, self.names.of
        is_plain, splits = self.chosen.is_plain, self.options.splits
        for index, item in self.reader.items(start, stop, losses):
            losses.items += 1
            check(item, losses)
            if not is_plain:
                self.chosen.apply(item, losses)
            item.split = split_of(item.key, item.split, splits)
            name = name_of(index, item.key)
            if name != item.key:
                losses.tell("NAME_COLLISION", item.key, where=item.where, field="name", after=name)
            add(index, name, item, losses)
        return PartResult(stop - start, self.writer.cut(), losses)


def in_parts(part: Part, count: int, target: Target) -> Iterator[PartResult]:
    """Convert all items and yield the results of the parts, in order."""
    bounds = [(start, min(start + PART_ITEMS, count)) for start in range(0, count, PART_ITEMS)]
    if part.options.workers == "ray":
        yield from _on_ray(part, bounds, target)
        return
    processes = _processes(part.options, count)
    if processes == 1 or len(bounds) < 2:
        for start, stop in bounds:
            yield part.convert(start, stop)
        return
    yield from _in_processes(part, bounds, min(processes, len(bounds)))


def _processes(options: ConvertOptions, count: int) -> int:
    if isinstance(options.workers, int):
        return options.workers
    if count < _PARALLEL_ITEMS:
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


def _in_processes(part: Part, bounds: list[tuple[int, int]], processes: int) -> Iterator[PartResult]:
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
        import multiprocessing  # 10 ms that a small set need not wait for

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
        self._process = subprocess.Popen(
            [sys.executable, "-m", "synapse_core.datasets.parts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        pickle.dump((part, bounds), self._process.stdin)
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


def _on_ray(part: Part, bounds: list[tuple[int, int]], target: Target) -> Iterator[PartResult]:
    """Convert parts wherever the cluster has room. What they write comes back and is written here."""
    import ray  # only where it was asked for: it takes a second

    if not ray.is_initialized():
        raise InvalidRequest(
            "workers='ray' needs a process that is connected to a Ray cluster; this one is not.",
            hint="Convert in a run of mode task or job, or connect first.",
        )
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    convert = ray.remote(num_cpus=1)(_held_part)
    shared = ray.put(part)
    waiting: deque[Any] = deque()
    ahead = iter(bounds)
    for start, stop in ahead:
        waiting.append(convert.remote(shared, start, stop))
        if len(waiting) >= _AHEAD * cpus:
            break
    while waiting:
        result: PartResult = ray.get(waiting.popleft())
        if (following := next(ahead, None)) is not None:
            waiting.append(convert.remote(shared, *following))
        if result.held is not None:
            for path, data in result.held.files:
                target.write(path, data)
            for image, path, is_linked in result.held.images:
                target.place(part.reader.source, image, path, is_linked=is_linked)
        yield result


def _held_part(part: Part, start: int, stop: int) -> PartResult:
    held = HeldTarget()
    part.writer.target = held
    result = part.convert(start, stop)
    result.held = held
    return result


if __name__ == "__main__":
    _serve()
