"""Folders as one file: a zip archive that is the same for the same content."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synapse_core.errors import BackendRejected

# The earliest that a zip archive can hold; when a file was written does not change what it holds.
_DATE = (1980, 1, 1, 0, 0, 0)


@contextmanager
def pack_folder(folder: Path) -> Iterator[Path]:
    """Give an archive of the files below a folder, named after it, and delete it afterwards.

    Links are not followed, and are not part of it. Raises BackendRejected for a folder without files.
    """
    with tempfile.TemporaryDirectory(prefix="synapse-pack-") as place:
        archive = Path(place) / f"{folder.name or 'folder'}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            count = sum(_add(packed, folder, path) for path in _files(folder))
        if not count:
            raise BackendRejected(f"The folder {str(folder)!r} holds no files.")
        yield archive


def _files(folder: Path) -> list[Path]:
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _add(packed: zipfile.ZipFile, folder: Path, path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (stat.S_IMODE(path.stat().st_mode) | stat.S_IFREG) << 16
    with open(path, "rb") as source, packed.open(entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target)
    return True
