"""Files in a store of fsspec: a name is the key of an object, and folders are only seen in names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from synapse_core.errors import StorageError
from synapse_core.storage.files import Entry, kind_of_os_error
from synapse_core.storage.remote import RemoteFiles, wrong_size

# What is larger is sent in parts of this size, at most 10,000, so that memory does not grow with it.
_SENT_AT_ONCE = 16 << 20


class ObjectFiles(RemoteFiles):
    """Objects whose keys begin with `root`. files: the file system of fsspec; it caches no listings."""

    quotes = False
    failures: tuple[type[Exception], ...] = ()

    def __init__(self, files: Any, root: str, base_url: str) -> None:
        self._files = files
        self._root = root
        self.base_url = base_url

    def kind_of(self, error: Exception) -> type[StorageError]:
        return kind_of_os_error(error)

    def info(self, name: str) -> Entry | None:
        try:
            found = self._files.info(self._key(name))
        except FileNotFoundError:
            return None
        return Entry(name, None if found["type"] == "directory" else int(found["size"]))

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        if size_bytes <= _SENT_AT_ONCE:
            self._files.pipe_file(self._key(name), source.read())
        else:
            self._send_in_parts(name, source)
        stored = self.info(name)
        if stored is None or stored.size_bytes != size_bytes:
            raise wrong_size(name, stored.size_bytes if stored else None, size_bytes)

    def _send_in_parts(self, name: str, source: BinaryIO) -> None:
        target = self._files.open(self._key(name), "wb", block_size=_SENT_AT_ONCE)
        is_sent = False
        try:
            while data := source.read(_SENT_AT_ONCE):
                target.write(data)
            is_sent = True
        finally:
            if is_sent:
                target.close()
            else:
                # Closing it would store what was sent so far.
                target.discard()
                target.closed = True

    def read(self, name: str) -> bytes:
        data: bytes = self._files.cat_file(self._key(name))
        return data

    def fetch(self, name: str, local: Path) -> None:
        self._files.get_file(self._key(name), str(local))

    def open(self, name: str) -> BinaryIO:
        found: BinaryIO = self._files.open(self._key(name), "rb")
        return found

    def remove(self, name: str) -> None:
        found = self.info(name)
        if found is None or found.is_folder:
            raise FileNotFoundError(name)
        self._files.rm_file(self._key(name))

    def remove_tree(self, name: str) -> None:
        # One by one: the store's own way takes a name for a pattern.
        for entry in [*self.walk(name), *self._itself(name)]:
            self._files.rm_file(self._key(entry.name))

    def entries(self, folder: str) -> list[Entry]:
        try:
            found = self._files.ls(self._key(folder), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return list(self._below(folder, found))

    def walk(self, folder: str) -> Iterator[Entry]:
        found = self._files.find(self._key(folder), detail=True)
        yield from sorted(self._below(folder, found.values()), key=lambda entry: entry.name)

    def close(self) -> None:
        """Nothing is kept open."""

    def _itself(self, name: str) -> list[Entry]:
        found = self.info(name)
        return [] if found is None or found.is_folder else [found]

    def _below(self, folder: str, found: Any) -> Iterator[Entry]:
        """Yield entries for what fsspec found below a folder, without the marks that stand for folders."""
        prefix = self._key(folder) + "/" if folder else self._root
        for row in found:
            is_folder = row["type"] == "directory"
            key = row["name"]
            if key.startswith(prefix) and len(key) > len(prefix) and (is_folder or not key.endswith("/")):
                yield Entry(key[len(self._root) :].rstrip("/"), None if is_folder else int(row["size"]))

    def _key(self, name: str) -> str:
        return self._root + name
