"""What converting a dataset costs: against other tools, and against the least work that it can be.

The other tools run in environments of their own, whose interpreters two variables name: SYNAPSE_BENCH_PEERS
has the extra `bench`, SYNAPSE_BENCH_SDK has synapse-sdk, which wants Python 3.12 or later. Without them their
lines say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.conversion import generate, measure
from benchmarks.conversion.measure import ConversionFailed, Converter, Taken
from benchmarks.conversion.outputs import count_boxes
from benchmarks.measure import Figure
from benchmarks.world import World

_MEDIUM, _BIG = 5_000, 20_000
# Images -> rounds. The small sets are for two workers alone.
_ROUNDS = {500: 9, 2_000: 7, _MEDIUM: 5, _BIG: 3}
_LARGE_ROUNDS = 3
_LEAST_SPEEDUP = {_MEDIUM: 4.0, _BIG: 6.0}
_MOST_OF_PROTOTYPE = 2.0
_MOST_MEDIUM_BYTES = 60e6
_MOST_LARGE_BYTES = 80e6
_MOST_OF_LARGE_READ = 2.5
_MOST_BYTES_PER_BOX = 60.0
_LEAST_BY_TWO_WORKERS = 1.5
_MOST_OF_ONE_WORKER = 1.1
# A tool that takes so many times as long as the fastest is not the fastest on another try.
_SLOW = 1.5

_PEERS = "SYNAPSE_BENCH_PEERS"
_SDK = "SYNAPSE_BENCH_SDK"


@dataclass(frozen=True)
class _Conversion:
    """source, target: formats. tools: those to compare with, run by the interpreter that `variable` names.

    peer_images: what becomes of the images, as these tools give no choice; ours does the same beside them.
    """

    source: str
    target: str
    tools: tuple[str, ...]
    variable: str
    peer_images: str = "none"

    @property
    def name(self) -> str:
        return f"{_short(self.source)}2{_short(self.target)}"

    def titled(self, count: int) -> str:
        return f"{self.source} -> {self.target}, {count:,} images"


def _short(name: str) -> str:
    return name.removesuffix("_v2")


_LABEL_TOOLS = ("datumaro", "supervision", "globox")
_CONVERSIONS = (
    _Conversion("coco", "yolo", _LABEL_TOOLS, _PEERS),
    _Conversion("yolo", "coco", _LABEL_TOOLS, _PEERS),
    _Conversion("coco", "voc", _LABEL_TOOLS, _PEERS),
    _Conversion("voc", "coco", _LABEL_TOOLS, _PEERS),
    _Conversion("dm_v2", "yolo", ("synapse-sdk",), _SDK, "copy"),
    _Conversion("yolo", "dm_v2", ("synapse-sdk",), _SDK, "copy"),
    _Conversion("coco", "dm_v2", ("synapse-sdk",), _SDK, "copy"),
    _Conversion("dm_v2", "coco", ("synapse-sdk",), _SDK),
)


def figures(world: World) -> Iterator[Figure]:
    """A short run has no sets of 20,000 images. Without the other tools it takes half as long."""
    with measure.work_folder() as (folder, where):
        yield Figure("where datasets are read and written", where)
        peaks: dict[str, float] = {}
        for count in _ROUNDS:
            if count == _BIG and world.is_short:
                continue
            layouts = folder / f"{count}"
            generate.make_dataset(layouts, count)
            for conversion in _CONVERSIONS:
                yield from _Measured(world, folder, layouts, conversion, count).figures(peaks)
            shutil.rmtree(layouts)
        yield from _large_figures(folder, _rounds(world, _LARGE_ROUNDS))


class _Measured:
    """One conversion of one size."""

    def __init__(
        self, world: World, folder: Path, layouts: Path, conversion: _Conversion, count: int
    ) -> None:
        self._conversion = conversion
        self._count = count
        self._title = conversion.titled(count)
        self._rounds = _rounds(world, _ROUNDS[count])
        self._folder = folder
        self._failures: dict[str, str] = {}
        boxes = count * generate.BOXES_PER_IMAGE
        converters = _converters(world, layouts, conversion, count)
        first = _tried(converters, folder, conversion.target, boxes, self._failures)
        tools = [name for name in first if name in conversion.tools]
        fastest = min((first[name].wall_seconds for name in tools), default=0.0)
        kept = {
            name: converters[name]
            for name, taken in first.items()
            if name not in tools or taken.wall_seconds <= _SLOW * fastest
        }
        self._taken = measure.in_turns(kept, folder, self._rounds)
        found = [name for name in tools if name in kept]
        self._tool = min(found, key=lambda name: measure.wall_seconds(self._taken[name]), default=None)

    def figures(self, peaks: dict[str, float]) -> Iterator[Figure]:
        """peaks: the memory of each conversion of the medium size, which the big one's is compared with."""
        if "ours" not in self._taken:
            yield _failed(self._title, self._failures["ours"])
            return
        if self._count in _LEAST_SPEEDUP:
            yield self._against_peer()
        if self._count == _MEDIUM:
            peaks[self._conversion.name] = measure.peak_bytes(self._taken["ours"])
            yield self._against_prototype()
            yield _memory(f"{self._title}, peak memory", peaks[self._conversion.name], _MOST_MEDIUM_BYTES)
        if self._count == _BIG and (medium := peaks.get(self._conversion.name)) is not None:
            yield self._growth(medium)
        yield self._two_workers()
        name = f"{self._title}, from a shell (as a library)"
        if "command" in self._taken:
            shell, library = (measure.wall_seconds(self._taken[which]) for which in ("command", "ours"))
            yield Figure(name, _seconds(shell), _seconds(library), shell / library)
        elif "command" in self._failures:
            yield _failed(name, self._failures["command"])

    def _against_peer(self) -> Figure:
        least = _LEAST_SPEEDUP[self._count]
        beside = next(name for name in ("ours, images too", "by default", "ours") if name in self._taken)
        mine = measure.wall_seconds(self._taken[beside])
        name, target = f"{self._title}, whole process", f">= {least:g} x"
        lost = "".join(
            f"; {tool}: {self._failures[tool]}" for tool in self._conversion.tools if tool in self._failures
        )
        if self._tool is None:
            why = lost.removeprefix("; ") or f"{self._conversion.variable} names no interpreter that has them"
            return Figure(name, _seconds(mine), target=target, of=f"(not measured: {why})")
        theirs = measure.wall_seconds(self._taken[self._tool])
        images = ", images copied" if beside == "ours, images too" else ""
        of = f"({self._tool}{images}, {self._rounds} rounds{lost})"
        return Figure(
            name, _seconds(mine), _seconds(theirs), theirs / mine, target, theirs >= least * mine, of
        )

    def _against_prototype(self) -> Figure:
        mine, least = (measure.convert_seconds(self._taken[name]) for name in ("ours", "prototype"))
        return Figure(
            f"{self._title}, convert phase (least work)",
            _seconds(mine),
            _seconds(least),
            mine / least,
            f"<= {_MOST_OF_PROTOTYPE:g} x",
            mine <= _MOST_OF_PROTOTYPE * least,
            f"(our imports {_seconds(measure.import_seconds(self._taken['ours']))})",
        )

    def _growth(self, medium: float) -> Figure:
        boxes = (_BIG - _MEDIUM) * generate.BOXES_PER_IMAGE
        big = measure.peak_bytes(self._taken["ours"])
        each = (big - medium) / boxes
        return Figure(
            f"{self._title}, memory a box more",
            f"{each:.0f} bytes",
            target=f"<= {_MOST_BYTES_PER_BOX:g}",
            is_met=each <= _MOST_BYTES_PER_BOX,
            of=f"({medium / 1e6:.0f} MB at {_MEDIUM:,} images, {big / 1e6:.0f} MB at {_BIG:,})",
        )

    def _two_workers(self) -> Figure:
        name = f"{self._title}, two workers (one)"
        if "two" not in self._taken:
            return Figure(
                name, "-", of=f"(not measured: {self._failures.get('two', 'the machine has one core')})"
            )
        two, one = (measure.wall_seconds(self._taken[which]) for which in ("two", "ours"))
        if self._count == _BIG:
            least = _LEAST_BY_TWO_WORKERS
            return Figure(
                name, _seconds(two), _seconds(one), one / two, f">= {least:g} x faster", one >= least * two
            )
        most = _MOST_OF_ONE_WORKER
        return Figure(name, _seconds(two), _seconds(one), two / one, f"<= {most:g} x", two <= most * one)


def _converters(world: World, layouts: Path, conversion: _Conversion, count: int) -> dict[str, Converter]:
    """Return what is measured in turns for one conversion of one size."""
    source, target = layouts / _short(conversion.source), conversion.target
    converters = {"ours": measure.ours(source, target, conversion.source)}
    if len(os.sched_getaffinity(0)) > 1:
        converters["two"] = measure.ours(source, target, conversion.source, workers=2)
    if count == _BIG:
        # From some size on our default is several processes.
        converters["by default"] = measure.ours(source, target, conversion.source, workers="auto")
    if count == _MEDIUM:
        converters["prototype"] = measure.prototype(conversion.name, source)
        if conversion is _CONVERSIONS[0]:
            converters["command"] = measure.ours_by_command(source, target, world.environment)
    if count in _LEAST_SPEEDUP and (python := os.environ.get(conversion.variable)):
        for tool in conversion.tools:
            converters[tool] = measure.peer(python, tool, conversion.name, layouts)
        if conversion.peer_images != "none":
            converters["ours, images too"] = measure.ours(
                source, target, conversion.source, images=conversion.peer_images, workers="auto"
            )
    return converters


def _tried(
    converters: Mapping[str, Converter],
    folder: Path,
    target: str,
    boxes: int,
    failures: dict[str, str],
) -> dict[str, Taken]:
    """Return what each took the first time; who fails, or does not write every box, is told in `failures`."""

    def check(output: Path) -> None:
        if (written := count_boxes(output, target)) != boxes:
            raise ConversionFailed(f"{written:,} of {boxes:,} boxes")

    taken: dict[str, Taken] = {}
    for name, convert in converters.items():
        try:
            taken[name] = measure.once(convert, folder, check)
        except ConversionFailed as error:
            failures[name] = str(error)
    return taken


def _large_figures(folder: Path, rounds: int) -> Iterator[Figure]:
    """A COCO file of 160 MB with 400,000 polygons, to YOLO's boxes and to its outlines."""
    root = folder / "large"
    path = generate.make_large_coco(root)
    converters = {
        "boxes": measure.ours(root, "yolo", "coco", task="detect"),
        "boxes, all cores": measure.ours(root, "yolo", "coco", task="detect", workers="auto"),
        "outlines": measure.ours(root, "yolo", "coco", task="segment"),
        "least": measure.prototype("large2yolo", path),
    }
    title = f"coco of {path.stat().st_size / 1e6:.0f} MB -> yolo"
    failures: dict[str, str] = {}
    first = _tried(converters, folder, "yolo", generate.LARGE_BOXES, failures)
    for name in ("boxes", "outlines"):
        if name in failures:
            yield _failed(f"{title} {name}", failures[name])
    # The reader writes no boxes: it is not tried.
    reader = {"read": measure.prototype("large_read", path)}
    taken = measure.in_turns({**{name: converters[name] for name in first}, **reader}, folder, rounds)
    for name in ("boxes", "outlines"):
        if name in taken:
            peak = measure.peak_bytes(taken[name])
            yield _memory(f"{title} {name}, peak memory", peak, _MOST_LARGE_BYTES)
    read, least = (measure.convert_seconds(taken[name]) for name in ("read", "least"))
    for name in ("boxes", "boxes, all cores", "outlines"):
        if name in taken:
            mine = measure.convert_seconds(taken[name])
            is_judged = name == "boxes, all cores"
            yield Figure(
                f"{title} {name} (reading)",
                _seconds(mine),
                _seconds(read),
                mine / read,
                f"<= {_MOST_OF_LARGE_READ:g} x" if is_judged else "-",
                mine <= _MOST_OF_LARGE_READ * read if is_judged else None,
                f"(least work for boxes, one core: {_seconds(least)})",
            )


def _failed(name: str, why: str) -> Figure:
    return Figure(name, "failed", target="converts", is_met=False, of=f"({why})")


def _memory(name: str, peak: float, most: float) -> Figure:
    return Figure(name, f"{peak / 1e6:.1f} MB", target=f"<= {most / 1e6:g} MB", is_met=peak <= most)


def _rounds(world: World, usual: int) -> int:
    return min(usual, 3) if world.is_short else usual


def _seconds(value: float) -> str:
    return f"{value:.3f} s"
