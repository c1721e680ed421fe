"""Folders on their way into a backend, which takes single files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synapse_core.archives import pack_folder
from synapse_core.errors import ArchiveError, BackendRejected


@contextmanager
def packed_folder(folder: Path) -> Iterator[Path]:
    """Give an archive of a folder, named after it, and delete it afterwards.

    Raises BackendRejected for a folder without files, or one that cannot be packed.
    """
    with tempfile.TemporaryDirectory(prefix="synapse-pack-") as place:
        archive = Path(place) / f"{folder.resolve().name or 'folder'}.zip"
        try:
            count = pack_folder(folder, archive).files
        except ArchiveError as error:
            raise BackendRejected(error.message, error.details, hint=error.hint) from error
        if not count:
            raise BackendRejected(f"The folder {str(folder)!r} holds no files.")
        yield archive
