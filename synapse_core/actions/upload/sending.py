"""Files into the storage. Each lies there under its content, below its collection, and is sent once."""

from __future__ import annotations

import threading
from contextlib import suppress

from synapse_core.actions.upload.context import UploadContext
from synapse_core.actions.upload.crew import Tell
from synapse_core.actions.upload.refusals import changed
from synapse_core.actions.upload.report import FailureCode, FileRefused
from synapse_core.actions.upload.retries import delays
from synapse_core.actions.upload.screening import HEAD_BYTES, read_unchanged
from synapse_core.actions.upload.sources import SourceFile, check_unchanged
from synapse_core.backend import DataCollection, FileReference
from synapse_core.errors import CapabilityError, StorageError, StorageNotFound
from synapse_core.storage import Storage

# So many lost in a row, and the storage is not there for the rest either.
_MOST_LOST_IN_A_ROW = 20


class Sender:
    """Sends the files of an upload to the storage of its collection."""

    def __init__(self, context: UploadContext, storage: Storage, collection: DataCollection) -> None:
        self._context = context
        self._storage = storage
        self._collection = collection
        self._lost_in_a_row = 0
        self._lock = threading.Lock()

    def send_all(self, files: list[SourceFile], tell: Tell) -> dict[str, FileReference]:
        """Return checksum -> where that content lies now, for all that could be sent.

        Raises StorageError where the storage does not answer for many in a row.
        """
        once = list({file.checksum: file for file in files}.values())
        workers = self._context.settings.upload_max_workers
        sent = self._context.crew.work_off(once, self._send, workers, tell)
        return {reference.checksum: reference for reference in sent if reference is not None}

    def path_of(self, checksum: str) -> str:
        """Return the name of a content in the storage."""
        return f"collections/{self._collection.id}/{checksum[:2]}/{checksum}"

    def _send(self, file: SourceFile) -> FileReference | None:
        """Return where a file lies now, None where it could not be sent."""
        context = self._context
        waits = delays(context.settings.upload_max_retries)
        while True:
            try:
                reference = self._try(file)
                self._lost_in_a_row = 0
                return reference
            except FileRefused as refused:
                self._lose(file, refused.code, refused.message)
                return None
            except StorageError as error:
                # A folder can go with another upload's last file just before this one is put there.
                can_help = error.retryable or isinstance(error, StorageNotFound)
                seconds = next(waits, None) if can_help else None
                if seconds is None:
                    self._give_up(file, error)
                    return None
            context.crew.pause(seconds)

    def _try(self, file: SourceFile) -> FileReference:
        target = self.path_of(file.checksum)
        if self._context.ledger.has(target) or not self._is_there(target, file.size_bytes):
            self._store(file, target)
        return FileReference(
            storage=self._collection.storage,
            path=target,
            checksum=file.checksum,
            size_bytes=file.size_bytes,
            name=file.name,
        )

    def _store(self, file: SourceFile, target: str) -> None:
        """Store what the file's checksum was taken of, and nothing else. Raises FileRefused, StorageError."""
        if file.size_bytes <= HEAD_BYTES:
            self._storage.write_bytes(target, read_unchanged(file))
            return
        check_unchanged(file)
        try:
            self._storage.upload(file.path, target, sha256=file.checksum)
        except StorageError as error:
            check_unchanged(file)  # the reason that matters, if it is one
            if "sha256" in error.details:
                raise changed() from error
            raise

    def _is_there(self, target: str, size_bytes: int) -> bool:
        """Return True where the content lies there. Where nothing does, it is this upload's from now on."""
        found = None
        # In a collection that this upload made nothing can lie yet.
        if not self._context.has_made_collection:
            with suppress(CapabilityError):
                found = self._storage.stat(target)
        if found is None:
            self._context.ledger.begin_file(target, target.rpartition("/")[2])
            return False
        # What broke off in another run is written again, and stays another run's.
        return found.size_bytes == size_bytes

    def _give_up(self, file: SourceFile, error: StorageError) -> None:
        with self._lock:
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= _MOST_LOST_IN_A_ROW:
                raise error
        self._lose(file, FailureCode.UPLOAD_FAILED, error.message)

    def _lose(self, file: SourceFile, code: FailureCode, message: str) -> None:
        self._context.outcome.fail(file.relative, code, message)
        self._context.outcome.lose(file.relative)
