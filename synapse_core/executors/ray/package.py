"""Folders that are shipped to a cluster: packed so that the same files give the same name."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from synapse_core.discovery import PASSED_OVER
from synapse_core.errors import InvalidRequest

# Ray keeps packages in the memory of its head, and takes 512 MiB at most.
_MOST_BYTES = 256 << 20


def package_name(root: Path) -> str:
    """Return the name of a folder's package, by its content: equal files, equal name.

    Everything in the folder counts, what .gitignore names included; caches and environments do not.
    Raises InvalidRequest where the folder is too large.
    """
    digest = hashlib.sha256()
    total = 0
    for file in _files(root):
        content = file.read_bytes()
        total += len(content)
        if total > _MOST_BYTES:
            raise InvalidRequest(
                f"The folder {root} holds more than {_MOST_BYTES >> 20} MiB, which is too much to ship.",
                hint="Keep weights and data outside of the plugin's folder.",
            )
        name = f"{root.name}/{file.relative_to(root).as_posix()}"
        digest.update(f"{name}\0{file.stat().st_mode & 0o777}\0{len(content)}\0".encode())
        digest.update(content)
    return f"_ray_pkg_{digest.hexdigest()[:32]}.zip"


def pack(root: Path) -> bytes:
    """Return the folder as an archive in which it is the only entry at the top."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(root):
            entry = zipfile.ZipInfo(f"{root.name}/{file.relative_to(root).as_posix()}")
            entry.external_attr = (file.stat().st_mode & 0o777) << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in PASSED_OVER)
        for name in sorted(names):
            if (file := Path(folder, name)).is_file():
                yield file
