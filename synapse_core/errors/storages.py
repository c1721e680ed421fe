"""Errors about storages."""

from __future__ import annotations

from collections.abc import Sequence

from synapse_core.errors.base import NotFound, SynapseError, Unavailable, did_you_mean, nearest


class StorageError(SynapseError):
    """Something is the matter with a storage. No message of these holds a secret of its configuration."""

    code = "storage_error"


class StorageConfigError(StorageError):
    """A storage's configuration cannot be used; the message names the setting and what is allowed."""

    code = "invalid_storage"


class ProviderNotFound(StorageError, NotFound):
    """There is no storage provider of this name."""

    code = "unknown_provider"

    def __init__(self, provider: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no storage provider {provider!r}; there are {', '.join(known)}."
            f"{did_you_mean(provider, known)}",
            {"asked": provider, "known": list(known), "nearest": nearest(provider, known)},
            hint="Give one of these, or add your own with register_provider of synapse_core.storage.",
        )


class InvalidStorageName(StorageError):
    """A name, or a URL, that is none of a storage, or leads out of its base. Nothing was touched.

    shown: the name, as it may stand in a message.
    """

    code = "invalid_storage_name"

    def __init__(self, shown: str, reason: str) -> None:
        super().__init__(
            f"{shown} is no name in this storage: {reason}.",
            {"asked": shown, "reason": reason},
            hint="Give a name below the storage's base, with / between its parts: 'labels/0001.json'.",
        )


class StorageNotFound(StorageError, NotFound):
    """Nothing is stored under this name."""

    code = "storage_not_found"


class StoragePermissionError(StorageError):
    """The storage does not let this user do that."""

    code = "storage_permission"


class UploadError(StorageError):
    """A file could not be stored, or not as it was; where the provider can tell, no part of it is there."""

    code = "upload_failed"


class CapabilityError(StorageError):
    """The storage's provider cannot do what was asked; see its `capabilities`."""

    code = "storage_capability"


class StorageConnectionError(StorageError, Unavailable):
    """The storage does not answer, or not in time; trying again later can help."""

    code = "storage_unavailable"
    retryable = True
