"""Ten thousand small files into a local storage, with their data units, beside a copy of the same files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figure, interleaved, milliseconds
from benchmarks.world import World
from synapse_core.actions.upload import DefaultUploadAction
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.executors import LocalExecutor
from synapse_core.loggers import NoOpLogger

_FILES = 10_000
_FILE_BYTES = 2_000
_WORKERS = 10
_PNG = b"\x89PNG\r\n\x1a\n"


def figures(world: World) -> Iterator[Figure]:
    with TemporaryDirectory(dir=world.home) as folder:
        source = Path(folder, "pictures")
        source.mkdir()
        for number in range(_FILES):
            (source / f"{number:05}.png").write_bytes((_PNG + b"%d" % number).ljust(_FILE_BYTES, b"."))
        ours, baseline = interleaved(lambda: _upload(source), lambda: _copy(source), world.pairs(5) // 2 + 1)
    best = min(baseline) / min(ours)
    ratio = sorted(baseline)[len(baseline) // 2] / sorted(ours)[len(ours) // 2]
    yield Figure(
        f"upload of {_FILES:,} small files (parallel copy of them)",
        f"{_FILES / min(ours) * 1000:,.0f} /s",
        f"{_FILES / min(baseline) * 1000:,.0f} /s",
        ratio,
        ">= 0.5 x",
        ratio >= 0.5,
        f"({len(ours)} pairs, the fastest of each {best:.2f})",
    )


def _upload(source: Path) -> float:
    """Upload into a new home. Returns milliseconds, those of opening the backend not among them."""
    with TemporaryDirectory(dir=source.parent) as home:
        backend = LocalBackend(Path(home))
        backend.open_storage()
        context = RuntimeContext(logger=NoOpLogger(), client=backend)
        params = {"path": str(source), "upload_max_workers": _WORKERS}
        taken = milliseconds(lambda: LocalExecutor().execute(DefaultUploadAction, params, context=context))
        made = backend.list_data_units().count
        backend.close()
    if made != _FILES:
        raise RuntimeError(f"{made} data units were made of {_FILES} files")
    return taken


def _copy(source: Path) -> float:
    """Copy all files with as many threads. Returns milliseconds."""
    with TemporaryDirectory(dir=source.parent) as target, ThreadPoolExecutor(_WORKERS) as threads:

        def copy_all() -> None:
            names = os.listdir(source)  # noqa: PTH208  # what a plain copy would do
            for _ in threads.map(lambda name: shutil.copyfile(f"{source}/{name}", f"{target}/{name}"), names):
                pass

        return milliseconds(copy_all)
