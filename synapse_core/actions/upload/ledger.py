"""What an upload does to storage and backend, written down before it is done, and how it is undone."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from synapse_core.actions.upload.retries import persistently
from synapse_core.backend import Backend
from synapse_core.errors import BackendError, BackendRejected, StorageError, SynapseError
from synapse_core.storage import Storage

# Meta of a data unit that tells which upload made it.
UPLOAD_ID = "upload_id"
_RETRIES = 3
_AT_ONCE = 500
# A storage that refuses as many in a row is not asked for the rest.
_MOST_REFUSALS = 10


@dataclass
class Ledger:
    """Safe for several threads.

    files: name in the storage -> checksum, of names that nothing stood under before. keys: of data units that
    were, or may have been, made. A name or key is in it before anything happens.
    """

    files: dict[str, str] = field(default_factory=dict)
    keys: dict[str, None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin_file(self, name: str, checksum: str) -> None:
        with self._lock:
            self.files[name] = checksum

    def begin_units(self, keys: Iterable[str]) -> None:
        with self._lock:
            self.keys.update(dict.fromkeys(keys))

    def has(self, name: str) -> bool:
        """Return True where this upload wrote, or began to write, what stands under a name."""
        return name in self.files

    def forget_files(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                self.files.pop(name, None)


@dataclass
class Undoing:
    """Takes back what a ledger holds. What could not be is told in `left`, one line each."""

    client: Backend
    storage: Storage
    collection: int
    upload_id: str
    left: list[str] = field(default_factory=list)
    _waiting: threading.Event = field(default_factory=threading.Event, repr=False)

    def undo(self, ledger: Ledger) -> None:
        """Delete the data units of this upload, and then its files, except what others use by now."""
        if not self._delete_units(list(ledger.keys)):
            self.left += [
                f"file {name}: a data unit that is still there may need it" for name in ledger.files
            ]
            return
        ledger.keys.clear()
        self.delete_files(ledger, list(ledger.files))

    def delete_files(self, ledger: Ledger, names: Sequence[str]) -> None:
        """Delete some of the ledger's files that no data unit needs."""
        try:
            used = self._used([ledger.files[name] for name in names])
        except BackendError as error:
            self.left += [
                f"file {name}: whether others need it is not known: {error.message}" for name in names
            ]
            return
        refusals = 0
        emptied: dict[str, None] = {}
        for name in names:
            if ledger.files[name] in used:
                continue
            if refusals >= _MOST_REFUSALS:
                self.left.append(f"file {name}: the storage refused the ones before it")
                continue
            try:
                persistently(partial(self.storage.delete, name, missing_ok=True), _RETRIES, self._pause)
                refusals = 0
                emptied[name.rpartition("/")[0]] = None
            except StorageError as error:
                refusals += 1
                self.left.append(f"file {name}: {error.message}")
        for folder in emptied:
            self.storage.delete_empty_folders(folder)
        ledger.forget_files(names)

    def _delete_units(self, keys: Sequence[str]) -> bool:
        """Return True where no data unit of this upload is left."""
        before = len(self.left)
        for start in range(0, len(keys), _AT_ONCE):
            some = list(keys[start : start + _AT_ONCE])
            ids: list[int] = []
            try:
                # Asked for by key: of some only the backend knows whether they came to be.
                ids = persistently(partial(self._ids, some), _RETRIES, self._pause)
                persistently(partial(self.client.delete_data_units, ids), _RETRIES, self._pause)
            except BackendRejected:
                self._delete_one_by_one(ids)
            except SynapseError as error:
                self.left.append(f"up to {len(some)} data units: {error.message}")
        return len(self.left) == before

    def _ids(self, keys: Sequence[str]) -> list[int]:
        found = self.client.list_data_units({"data_collection": self.collection, "key": list(keys)})
        return [unit.id for unit in found if unit.meta.get(UPLOAD_ID) == self.upload_id]

    def _delete_one_by_one(self, ids: Sequence[int]) -> None:
        for unit_id in ids:
            try:
                self.client.delete_data_units([unit_id])
            except BackendError as error:
                self.left.append(f"data unit {unit_id}: {error.message}")

    def _used(self, checksums: Sequence[str]) -> set[str]:
        used: set[str] = set()
        for start in range(0, len(checksums), _AT_ONCE):
            some = checksums[start : start + _AT_ONCE]
            used |= persistently(
                partial(self.client.verify_checksums, some, data_collection=self.collection),
                _RETRIES,
                self._pause,
            )
        return used

    def _pause(self, seconds: float) -> None:
        self._waiting.wait(seconds)
