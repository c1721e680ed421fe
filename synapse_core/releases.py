"""Published plugins on this machine: fetched once, unpacked safely, used like any other folder."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from synapse_core.archives import unpack
from synapse_core.backend import Backend
from synapse_core.config import CONFIG_NAME
from synapse_core.errors import ArchiveError, InvalidRequest
from synapse_core.publishing import MOST_BYTES, MOST_FILES

_LOOKUP = re.compile(r"[A-Za-z0-9_.-]{1,100}@[A-Za-z0-9_.+-]{1,100}")
# Compressed archives of other clients may unpack to more than is packed here.
_MOST_UNPACKED_BYTES = 4 * MOST_BYTES


class Releases:
    """The releases that this home has fetched, each in a folder that its content names.

    folder: where they are kept. opener: gives the backend to fetch from.
    """

    def __init__(self, folder: Path, opener: Callable[[], Backend]) -> None:
        self._folder = folder
        self._opener = opener

    def root(self, lookup: str) -> Path:
        """Return the folder of a published plugin, `code@version`, fetching it where it is not here.

        The backend is asked each time what the release is, so that nothing else is run under its name.
        Raises InvalidRequest for what is no lookup; RecordNotFound, ArchiveError or another BackendError.
        """
        if not _LOOKUP.fullmatch(lookup):
            raise InvalidRequest(
                f"{lookup!r} names no release.", hint="Ask for code@version, word_count@0.1.0 for example."
            )
        backend = self._opener()
        try:
            release = backend.get_plugin_release(lookup)
            place = self._folder / release.checksum[:32] / release.plugin
            if not (place / CONFIG_NAME).is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place.parent) as work:
                    archive = backend.download_file(release.file, Path(work, "plugin.zip"))
                    unpacked = Path(work, "plugin")
                    unpack(archive, unpacked, most_files=MOST_FILES, most_bytes=_MOST_UNPACKED_BYTES)
                    _put(unpacked, place)
        finally:
            backend.close()
        if not (place / CONFIG_NAME).is_file():
            raise ArchiveError(
                f"The release {lookup} holds no {CONFIG_NAME}.", hint="Publish it again from its folder."
            )
        return place


def _put(unpacked: Path, place: Path) -> None:
    """Rename a folder into its place; another process may have been faster with the same content."""
    try:
        unpacked.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(unpacked)
