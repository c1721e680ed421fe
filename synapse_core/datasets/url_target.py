"""Writing to a URL that fsspec opens: made beside nothing here first, and sent when it is complete.

There a folder cannot appear in one step. What is opened first, the file of the classes or the annotations,
and the card of the conversion come last; what was sent is removed where sending fails.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synapse_core.datasets.source import open_files
from synapse_core.datasets.target import FolderTarget, refuse_taken
from synapse_core.errors import InvalidRequest, Unavailable


class UrlTarget(FolderTarget):
    """A folder elsewhere that is written here and sent with `finish`."""

    def __init__(self, url: str) -> None:
        """Raises Conflict where something stands there, InvalidRequest where nothing opens such a URL."""
        if url.lower().startswith(("http://", "https://")):
            raise _read_only(url)
        refuse_taken(url)
        self._files, self._root = open_files(url)
        self._stage = tempfile.mkdtemp(prefix="synapse-dataset-")
        super().__init__(Path(self._stage) / "output")
        self.shown = url.rstrip("/")

    def finish(self, last: tuple[str, ...] = ()) -> None:
        """Send everything, `last` at the end."""
        there = sorted(
            str(path.relative_to(self.work)) for path in Path(self.work).rglob("*") if path.is_file()
        )
        with _sending(self._files, self._root, self.shown):
            self._files.makedirs(self._root, exist_ok=True)
            for path in sorted(
                there, key=lambda path: (path in last, last.index(path) if path in last else 0)
            ):
                remote = f"{self._root}/{path}"
                self._files.makedirs(remote.rpartition("/")[0], exist_ok=True)
                self._files.put_file(f"{self.work}/{path}", remote)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._stage, ignore_errors=True)


@contextmanager
def _sending(files: Any, root: str, shown: str) -> Iterator[None]:
    """Remove what was sent where not everything could be."""
    is_sent = False
    try:
        yield
        is_sent = True
    except NotImplementedError as error:
        raise _read_only(shown) from error
    except OSError as error:
        raise Unavailable(f"The dataset could not be sent to {shown}: {error}.") from error
    finally:
        if not is_sent:
            with suppress(OSError, NotImplementedError):
                files.rm(root, recursive=True)


def _read_only(url: str) -> InvalidRequest:
    return InvalidRequest(
        f"Nothing can be written to {url}: files there can only be read.",
        hint="Give a local output, or a URL of a store that takes files.",
    )
