"""Objects in a bucket of Google Cloud Storage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import google.auth.exceptions
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError

from synapse_core.errors import (
    StorageConfigError,
    StorageConnectionError,
    StorageError,
    StoragePermissionError,
)
from synapse_core.storage.configuration import Setting, bucket, word
from synapse_core.storage.files import Capabilities, Provider, kind_of_os_error
from synapse_core.storage.object_files import ObjectFiles

_CONNECT_SECONDS = 5
_READ_SECONDS = 20
_ALLOWED = "the path of a key file, its JSON text, or the mapping in it"


class GcsFiles(ObjectFiles):
    """The objects of one bucket."""

    failures: tuple[type[Exception], ...] = (
        HttpError,
        aiohttp.ClientError,
        google.auth.exceptions.GoogleAuthError,
        RuntimeError,  # what gcsfs raises for an answer without words
        ValueError,  # and for a request that the service calls invalid
    )

    def __init__(self, configuration: dict[str, Any]) -> None:
        name = configuration["bucket_name"]
        credentials = configuration["credentials"]
        try:
            files = GCSFileSystem(
                project=configuration["project"] or credentials.get("project_id", ""),
                token=credentials,
                requests_timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
                ),
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        except (ValueError, KeyError, google.auth.exceptions.GoogleAuthError):
            # The cause would show parts of the key.
            raise StorageConfigError(
                "The setting 'credentials' of a storage of provider 'gcs' is no key that can be used. "
                f"Allowed is {_ALLOWED}.",
                {"provider": "gcs", "key": "credentials", "allowed": _ALLOWED},
            ) from None
        super().__init__(files, f"{name}/", f"gs://{name}/")

    def kind_of(self, error: Exception) -> type[StorageError]:
        status = getattr(error, "code", None)
        if status in (401, 403) or str(error).startswith("Forbidden"):
            return StoragePermissionError
        if isinstance(error, aiohttp.ClientError | google.auth.exceptions.TransportError):
            return StorageConnectionError
        if isinstance(error, google.auth.exceptions.GoogleAuthError):
            return StoragePermissionError
        if isinstance(status, int) and (status == 429 or status >= 500):
            return StorageConnectionError
        return kind_of_os_error(error)

    def close(self) -> None:
        GCSFileSystem.close_session(self._files.loop, self._files._session)


def _credentials(value: Any) -> dict[str, Any]:
    """Return the mapping of a key. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = json.loads(
                value if value.lstrip().startswith("{") else Path(value).expanduser().read_text()
            )
        except OSError as error:
            raise ValueError from error
    if not isinstance(value, Mapping) or not value:
        raise ValueError
    return dict(value)


PROVIDER = Provider(
    name="gcs",
    settings=(
        Setting("bucket_name", "the name of a bucket, without a path", bucket, is_required=True),
        Setting("credentials", _ALLOWED, _credentials, is_required=True, is_secret=True),
        Setting("project", "the id of a project", word),
    ),
    capabilities=Capabilities(lists=True, deletes=True, opens=True, renames=True),
    connect=GcsFiles,
)
