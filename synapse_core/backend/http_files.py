"""A storage that only the service's machine can reach, used through the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

import msgspec

from synapse_core.backend.http_transfers import fetch
from synapse_core.backend.http_wire import Wire
from synapse_core.backend.records import StorageRecord
from synapse_core.errors import (
    BackendError,
    BackendUnauthorized,
    BackendUnavailable,
    RecordNotFound,
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
)
from synapse_core.storage import Storage, get_registered_providers, get_storage
from synapse_core.storage.files import Capabilities, Entry, Provider, walk_entries
from synapse_core.storage.remote import RemoteFiles

# Providers whose files are those of one machine, or of one process.
_OF_THE_SERVICE = ("local", "file_system", "memory")


class StoredEntry(msgspec.Struct, frozen=True):
    """What a folder of a storage holds. size_bytes: None for a folder."""

    name: str
    size_bytes: int | None


class StoredEntries(msgspec.Struct, frozen=True):
    """What a whole folder of a storage holds itself."""

    results: list[StoredEntry]


class ServiceFiles(RemoteFiles):
    """The files of one storage of the service, as `Storage` uses them."""

    failures: tuple[type[Exception], ...] = (BackendError,)

    def __init__(self, wire: Wire, storage_id: int) -> None:
        self._wire = wire
        self._path = f"storages/{storage_id}/files/"
        self.base_url = f"{wire.base}{self._path}"

    def kind_of(self, error: Exception) -> type[StorageError]:
        for kind, ours in (
            (RecordNotFound, StorageNotFound),
            (BackendUnauthorized, StoragePermissionError),
            (BackendUnavailable, StorageConnectionError),
        ):
            if isinstance(error, kind):
                return ours
        return StorageNotFound if isinstance(error, FileNotFoundError) else StorageError

    def info(self, name: str) -> Entry | None:
        try:
            answer = self._wire.send("HEAD", self._at(name))
        except RecordNotFound:
            return None
        size = answer.headers.get("content-length", "")
        is_folder = answer.headers.get("synapse-entry") == "folder"
        return Entry(name, None if is_folder or not size.isdigit() else int(size))

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        @contextmanager
        def body() -> Iterator[Mapping[str, Any]]:
            source.seek(0)
            yield {"content": source}

        self._wire.send(
            "PUT", self._at(name), body=body, headers={"Content-Type": "application/octet-stream"}
        )

    def read(self, name: str) -> bytes:
        return self._wire.send("GET", self._at(name)).body

    def fetch(self, name: str, local: Path) -> None:
        fetch(self._wire, self._at(name), local)

    def remove(self, name: str) -> None:
        self._wire.send("DELETE", self._at(name))

    def remove_tree(self, name: str) -> None:
        self._wire.send("DELETE", self._at(name), params={"tree": "true"})

    def entries(self, folder: str) -> list[Entry]:
        found = self._wire.send("GET", self._at(folder), params={"list": "true"}).decoded(StoredEntries)
        return [Entry(entry.name, entry.size_bytes) for entry in found.results]

    def walk(self, folder: str) -> Iterator[Entry]:
        return walk_entries(self, folder)

    def close(self) -> None:
        """The connections belong to the backend."""

    def _at(self, name: str) -> str:
        return self._path + quote(name, safe="/~")


class _ServiceConnection:
    """Makes the files of a storage out of the backend that it was opened by."""

    def __init__(self, wire: Wire, storage_id: int) -> None:
        self._wire = wire
        self._storage_id = storage_id

    def __call__(self, _configuration: dict[str, Any]) -> ServiceFiles:
        return ServiceFiles(self._wire, self._storage_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A storage that is reached through a service cannot be sent to another process: it would "
            "carry the service's token. Open it there, with open_storage() of that process's backend."
        )


def open_stored(wire: Wire, record: StorageRecord) -> Storage:
    """Return a storage: itself where this process can reach it, else through the service that keeps it.

    record: with its configuration.
    """
    provider = record.provider.lower()
    if provider in _OF_THE_SERVICE or provider not in get_registered_providers():
        return open_through_service(wire, record.id)
    return get_storage({"provider": record.provider, "configuration": record.configuration})


def open_through_service(wire: Wire, storage_id: int) -> Storage:
    """Return the storage of an id, used through the service that keeps it."""
    capabilities = Capabilities(lists=True, deletes=True, renames=True)
    return Storage(Provider("service", (), capabilities, _ServiceConnection(wire, storage_id)), {})
