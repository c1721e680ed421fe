"""A stored file that is open for reading, whose errors are the storage's."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from synapse_core.storage.translation import Translator


class Reading(io.RawIOBase):
    """A file of a provider's library, read through here."""

    def __init__(self, found: BinaryIO, name: str, translator: Translator) -> None:
        super().__init__()
        self._found = found
        self._stored = name
        self._translator = translator

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        with self._translator.doing("read", self._stored):
            data = self._found.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._translator.doing("read", self._stored):
            return self._found.seek(offset, whence)

    def tell(self) -> int:
        return self._found.tell()

    def close(self) -> None:
        if not self.closed:
            self._found.close()
        super().close()
