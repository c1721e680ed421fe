"""Whole conversions, each in a fresh process on a file system in memory, taken in turns; medians count."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

_HERE = Path(__file__).parent
_MEMORY = Path("/dev/shm")
# The data of 20,000 images in all layouts and what is made of them, files of 1 kB being 4 kB there.
_NEEDED_BYTES = 3_000_000_000
# All imports first, those of the two formats included; the line of the report is the child's last.
_OURS = """
import sys, time
begun = time.perf_counter()
source, to, output, images, workers, task, source_format = sys.argv[1:]
from synapse_core.datasets import convert
from synapse_core.datasets.formats import find_format
find_format(source_format), find_format(to)
imported = time.perf_counter() - begun
workers = int(workers) if workers.isdigit() else workers
begun = time.perf_counter()
convert(source, to=to, output=output, images=images, workers=workers, task=task)
converted = time.perf_counter() - begun
print('{"convert_seconds": %.6f, "import_seconds": %.6f}' % (converted, imported))
"""


class ConversionFailed(Exception):
    """A converter ended with an error, or lost boxes; the text says which and why."""


@dataclass(frozen=True)
class Taken:
    """What one conversion took. wall_seconds: of the whole process; convert_seconds: after its imports.

    import_seconds: told by ours alone, 0 for the rest.
    """

    wall_seconds: float
    peak_bytes: int
    convert_seconds: float
    import_seconds: float


class _Launched(msgspec.Struct):
    wall_seconds: float
    peak_bytes: int
    exit_code: int


class _Told(msgspec.Struct):
    convert_seconds: float = 0.0
    import_seconds: float = 0.0


# Converts into the folder it is given and returns what that took.
Converter = Callable[[Path], Taken]


@contextmanager
def work_folder() -> Iterator[tuple[Path, str]]:
    """Give a folder, in memory where the machine has room, and say where it is; it is deleted again."""
    is_memory = (
        _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED_BYTES
    )
    folder = Path(tempfile.mkdtemp(prefix="synapse-bench-", dir=_MEMORY if is_memory else None))
    try:
        yield folder, "in memory" if is_memory else "on disk, which distorts: /dev/shm has no room"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ours(
    source: Path,
    target_format: str,
    source_format: str,
    *,
    images: str = "none",
    workers: int | str = 1,
    task: str = "auto",
) -> Converter:
    """Return our converter as a library has it, no command line. source_format: for the imports."""

    def convert(output: Path) -> Taken:
        given = [str(source), target_format, str(output), images, str(workers), task, source_format]
        return _launch([sys.executable, "-c", _OURS, *given], output)

    return convert


def ours_by_command(source: Path, target_format: str, environment: Mapping[str, str]) -> Converter:
    """Return our converter as one calls it from a shell."""

    def convert(output: Path) -> Taken:
        given = [str(source), "--to", target_format, "--output", str(output), "--images", "none"]
        return _launch([sys.executable, "-m", "synapse_mcp", "convert", *given], output, environment)

    return convert


def prototype(name: str, source: Path) -> Converter:
    """Return the least-work converter of this name; see prototypes.py."""
    script = str(_HERE / "prototypes.py")
    return lambda output: _launch([sys.executable, "-P", script, name, str(source), str(output)], output)


def peer(python: str, tool: str, name: str, layouts: Path) -> Converter:
    """Return another tool's converter, run by the interpreter that has the tool; see peers.py."""
    script = str(_HERE / "peers.py")
    return lambda output: _launch([python, "-P", script, tool, name, str(layouts), str(output)], output)


def in_turns(converters: Mapping[str, Converter], folder: Path, rounds: int) -> dict[str, list[Taken]]:
    """Return what each took, in turns, so that a slow moment of the machine hits all of them."""
    taken: dict[str, list[Taken]] = {name: [] for name in converters}
    for _ in range(rounds):
        for name, convert in converters.items():
            taken[name].append(once(convert, folder))
    return taken


def once(convert: Converter, folder: Path, check: Callable[[Path], None] | None = None) -> Taken:
    """Convert into a new folder, let `check` look at it, and delete it. Raises ConversionFailed."""
    output = folder / "output"
    try:
        taken = convert(output)
        if check is not None:
            check(output)
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return taken


def wall_seconds(taken: Sequence[Taken]) -> float:
    """Return the median of the whole processes."""
    return statistics.median(each.wall_seconds for each in taken)


def convert_seconds(taken: Sequence[Taken]) -> float:
    """Return the median of what was told by the processes themselves."""
    return statistics.median(each.convert_seconds for each in taken)


def import_seconds(taken: Sequence[Taken]) -> float:
    """Return the median of what our imports took, as told by the processes themselves."""
    return statistics.median(each.import_seconds for each in taken)


def peak_bytes(taken: Sequence[Taken]) -> float:
    """Return the median of the most memory that was resident, mapped files included."""
    return statistics.median(each.peak_bytes for each in taken)


def _launch(command: list[str], output: Path, environment: Mapping[str, str] | None = None) -> Taken:
    """Run a command from a process that is small; see launch.py. Raises ConversionFailed."""
    told, complained = output.with_name("stdout"), output.with_name("stderr")
    # Installed packages come compiled; ours is compiled by its first run, which is not measured.
    environment = {**(os.environ if environment is None else environment)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    launcher = [sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(told), str(complained)]
    try:
        done = subprocess.run([*launcher, *command], capture_output=True, check=True, env=environment)
    except subprocess.CalledProcessError as error:
        raise ConversionFailed(f"{command[0]} cannot be started") from error
    launched = msgspec.json.decode(done.stdout, type=_Launched)
    if launched.exit_code != 0:
        raise ConversionFailed(f"exit code {launched.exit_code}: {_last_words(complained)}")
    phases = _told(told)
    return Taken(launched.wall_seconds, launched.peak_bytes, phases.convert_seconds, phases.import_seconds)


def _last_words(path: Path) -> str:
    """Return the last line that says something: tracebacks end with the reason, frames with a rule."""
    lines = path.read_text(errors="replace").splitlines()
    return next((line.strip("│ ")[:160] for line in reversed(lines) if any(map(str.isalpha, line))), "")


def _told(path: Path) -> _Told:
    """Return the seconds on the last line, none where a command prints something else."""
    last = (path.read_bytes().strip().splitlines() or [b""])[-1]
    try:
        return msgspec.json.decode(last, type=_Told)
    except msgspec.DecodeError:
        return _Told()
