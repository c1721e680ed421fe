"""A file out of a storage: whole, as it was when it was stored, or not at all."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from synapse_core.backend.records import FileReference
from synapse_core.errors import BackendRejected, InvalidAnswer
from synapse_core.storage import Storage


def write_verified(storage: Storage, file: FileReference, target: Path) -> Path:
    """Write a stored file to `target`, in place of what is there. Raises InvalidAnswer if it was changed."""
    if target.is_dir():
        raise BackendRejected(f"{str(target)!r} is a folder; a file is written to the path of a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".synapse-{secrets.token_hex(8)}")
    try:
        storage.download(file.path, draft)
        with draft.open("rb") as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
        if checksum != file.checksum:
            raise InvalidAnswer(
                f"The file {file.path!r} in storage {file.storage} is not what it was: it has "
                f"{draft.stat().st_size:,} bytes and the SHA-256 {checksum}, not {file.size_bytes:,} and "
                f"{file.checksum}.",
                {"path": file.path, "storage": file.storage, "checksum": checksum},
                hint="Somebody changed it in the storage; put the right content back.",
            )
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
