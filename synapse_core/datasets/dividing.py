"""A conversion in parts of a few hundred items: one after the other, in several processes, or on Ray.

Which it is changes nothing in what is written: parts are cut in the same places, and put together in their
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.parts import Part, PartResult
from synapse_core.datasets.target import HeldTarget, Target
from synapse_core.errors import InvalidRequest

# Items of a part: few enough for a rising progress and little memory, enough to make the rest not matter.
PART_ITEMS = 500
# From so many items on a second process is worth its start; sooner where each has an image to be put too.
_PARALLEL_ITEMS = 8_000
_PARALLEL_IMAGES = 4_000
# Parts on Ray that are under way for each CPU of the cluster.
_AHEAD = 2


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
    from synapse_core.datasets.part_processes import in_processes  # 15 ms that a small set need not wait for

    yield from in_processes(partial(_converted, part), bounds, min(processes, len(bounds)))


def _converted(part: Part, bounds: tuple[int, int]) -> PartResult:
    return part.convert(*bounds)


def _processes(options: ConvertOptions, count: int) -> int:
    least = _PARALLEL_ITEMS if options.images == "none" else _PARALLEL_IMAGES
    return 1 if options.workers == "auto" and count < least else options.most_processes()


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
