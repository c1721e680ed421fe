"""What the providers share whose files are elsewhere: a file is written here and then sent, and read from a
copy where it cannot be read in place.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

from synapse_core.errors import UploadError
from synapse_core.storage.drafts import spool_path
from synapse_core.storage.names import shown


class RemoteFiles:
    """The part of `Files` that works by sending and fetching whole files."""

    quotes = True

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        raise NotImplementedError

    def fetch(self, name: str, local: Path) -> None:
        raise NotImplementedError

    def draft_path(self, name: str) -> tuple[str, int]:
        # The folder is everybody's: what is written is for nobody else to read.
        return spool_path(), 0o600

    def adopt(self, draft: Path, name: str) -> None:
        with draft.open("rb") as source:
            self.put(name, source, draft.stat().st_size)

    def open(self, name: str) -> BinaryIO:
        with tempfile.TemporaryDirectory(prefix="synapse-storage-") as folder:
            copy = Path(folder) / "copy"
            self.fetch(name, copy)
            return copy.open("rb")  # goes on working when its name is gone

    def make_folder(self, folder: str) -> None:
        """Folders come with their files, unless a provider says otherwise."""

    def remove_folder(self, folder: str) -> None:
        """Folders go with their files, unless a provider says otherwise."""


def wrong_size(name: str, stored: int | None, sent: int) -> UploadError:
    """Return the error for a file that stands there with another size in bytes than was sent."""
    return UploadError(
        f"{shown(name)} has {stored} bytes where it is stored; {sent} were sent.",
        {"name": name, "sent": sent, "stored": stored},
        hint="Did somebody else write it at the same time? Upload it again.",
    )
