"""Why a file that was there is refused: the same words wherever it is noticed."""

from __future__ import annotations

from synapse_core.actions.upload.report import FailureCode, FileRefused


def changed() -> FileRefused:
    """Another file stands there now, or another content."""
    return FileRefused(FailureCode.FILE_CORRUPTED, "it was changed while the upload ran")


def removed() -> FileRefused:
    """Nothing stands there any more."""
    return FileRefused(FailureCode.FILE_CORRUPTED, "it was removed while the upload ran")


def unreadable(error: OSError) -> FileRefused:
    """The system does not let it be read."""
    return FileRefused(FailureCode.FILE_LOCKED, f"it cannot be read: {error.strerror}")
