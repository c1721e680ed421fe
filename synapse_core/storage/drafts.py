"""A file that is being written, and gets its name when it is closed; one that fails before leaves nothing."""

from __future__ import annotations

import io
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class Draft(io.FileIO):
    """A file that is handed on when it is closed, and removed.

    path: where it is written; nothing may stand there. finish: takes the path of the complete file.
    mode: the rights of the file that is written, less those of the umask.
    """

    def __init__(self, path: str, finish: Callable[[Path], None], mode: int) -> None:
        super().__init__(path, "x", opener=lambda path, flags: os.open(path, flags, mode))
        self._path = Path(path)
        self._finish = finish
        self._is_spoilt = False

    def spoil(self) -> None:
        """Have nothing stored when the file is closed."""
        self._is_spoilt = True

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        try:
            if not self._is_spoilt:
                self._finish(self._path)
        finally:
            self._path.unlink(missing_ok=True)


def spool_path() -> str:
    """Return a new path in the temporary folder, for a draft that is sent when it is complete."""
    return f"{tempfile.gettempdir()}/synapse-storage-{secrets.token_hex(8)}"


class _Closing:
    """Closing a writer: what was not written whole is not handed on."""

    def _spoil(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if self.closed:  # type: ignore[attr-defined]  # of the class beside this one
            return
        is_whole = False
        try:
            self.flush()  # type: ignore[attr-defined]
            is_whole = True
        finally:
            if not is_whole:
                self._spoil()
            super().close()  # type: ignore[misc]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._spoil()
        self.close()

    def __del__(self) -> None:
        # Nobody closed it, so nobody said that it is complete.
        self._spoil()
        super().__del__()  # type: ignore[misc]


class BytesWriter(_Closing, io.BufferedWriter):
    """Writes bytes into a draft."""

    def _spoil(self) -> None:
        if not self.closed:
            self.raw.spoil()  # type: ignore[attr-defined]  # a Draft


class TextWriter(_Closing, io.TextIOWrapper):
    """Writes text into a draft."""

    def _spoil(self) -> None:
        if not self.closed:
            self.buffer.raw.spoil()  # type: ignore[attr-defined]  # a BytesWriter
