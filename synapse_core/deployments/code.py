"""A plugin's code as it was deployed: a replica that starts again later must not find it edited."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from synapse_core.discovery import PASSED_OVER
from synapse_core.errors import InvalidRequest

_MOST_BYTES = 256 << 20


def keep_code(root: Path, home: Path) -> Path:
    """Return a copy of a plugin's folder below the home, made once for each content.

    It lies in a folder of the same name as the plugin's, since that may be the name of its package.
    Raises InvalidRequest where the folder is too large.
    """
    files = list(_files(root))
    total = sum(file.stat().st_size for file in files)
    if total > _MOST_BYTES:
        raise InvalidRequest(
            f"The folder {root} holds {total:,} bytes; a deployment keeps {_MOST_BYTES:,} at most.",
            hint="Keep weights and data outside of the plugin's folder; register weights as a model.",
        )
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    place = home / "serve" / "code" / digest.hexdigest()[:24] / root.name
    if not place.is_dir():
        work = place.parent.with_name(f".{place.parent.name}.{secrets.token_hex(4)}")
        for file in files:
            target = work / root.name / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        try:
            work.rename(place.parent)
        except OSError:
            shutil.rmtree(work)  # another one was faster, with the same files
            if not place.is_dir():
                raise
    return place


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in PASSED_OVER)
        for name in sorted(names):
            if (file := Path(folder, name)).is_file():
                yield file
