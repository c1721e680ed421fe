"""Objects in a bucket of Google Cloud Storage.

Google's own library and not gcsfs on top of it, which puts a fixed mark around the content of a request: a
file that holds the mark is cut there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import google.auth.exceptions
import requests
from google.api_core.exceptions import GoogleAPICallError
from google.api_core.exceptions import NotFound as NoSuchObject
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.service_account import Credentials

from synapse_core.errors import (
    StorageConfigError,
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
)
from synapse_core.storage.configuration import Setting, bucket, word
from synapse_core.storage.files import Capabilities, Entry, Provider, kind_of_os_error
from synapse_core.storage.remote import RemoteFiles, wrong_size

_WAITS = (5, 20)  # seconds: for a connection, for an answer
_RETRY = DEFAULT_RETRY.with_timeout(30)
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
# What is larger is sent in parts of this size, so that memory does not grow with the file.
_SENT_AT_ONCE = 16 << 20
_ALLOWED = "the path of a service account's key file, its JSON text, or the mapping in it"


class GcsFiles(RemoteFiles):
    """The objects of one bucket."""

    quotes = False
    failures: tuple[type[Exception], ...] = (
        GoogleAPICallError,
        google.auth.exceptions.GoogleAuthError,
        requests.RequestException,
        DataCorruption,
        InvalidResponse,
    )

    def __init__(self, configuration: dict[str, Any]) -> None:
        key = configuration["credentials"]
        try:
            self._credentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                key, scopes=[_SCOPE]
            )
        except (ValueError, KeyError, TypeError, google.auth.exceptions.GoogleAuthError):
            # The cause would show parts of the key.
            raise StorageConfigError(
                "The setting 'credentials' of a storage of provider 'gcs' is no key that can be used. "
                f"Allowed is {_ALLOWED}.",
                {"provider": "gcs", "key": "credentials", "allowed": _ALLOWED},
            ) from None
        self._project = configuration["project"] or key.get("project_id")
        self._name = configuration["bucket_name"]
        self._lock = threading.Lock()
        self._client: storage.Client | None = None
        self.base_url = f"gs://{self._name}/"

    def kind_of(self, error: Exception) -> type[StorageError]:
        answer = getattr(error, "response", None)
        status = getattr(error, "code", None) or getattr(answer, "status_code", 0)
        if status == 404:
            return StorageNotFound
        if status in (401, 403) or isinstance(error, google.auth.exceptions.RefreshError):
            return StoragePermissionError
        if isinstance(status, int) and (status in (408, 429) or status >= 500):
            return StorageConnectionError
        if isinstance(error, requests.RequestException | google.auth.exceptions.TransportError):
            return StorageConnectionError
        return kind_of_os_error(error)

    def info(self, name: str) -> Entry | None:
        if name and (found := self._bucket().get_blob(name, timeout=_WAITS, retry=_RETRY)) is not None:
            return Entry(name, int(found.size))
        prefix = f"{name}/" if name else ""
        below = self._bucket().list_blobs(prefix=prefix, max_results=1, timeout=_WAITS, retry=_RETRY)
        return Entry(name, None) if not name or any(True for _ in below) else None

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        blob = self._bucket().blob(name, chunk_size=_SENT_AT_ONCE)
        blob.upload_from_file(
            source,
            size=size_bytes,
            content_type="application/octet-stream",
            timeout=_WAITS,
            checksum="crc32c",
            retry=_RETRY,
        )
        if blob.size != size_bytes:
            raise wrong_size(name, blob.size, size_bytes)

    def read(self, name: str) -> bytes:
        data: bytes = self._bucket().blob(name).download_as_bytes(timeout=_WAITS, retry=_RETRY)
        return data

    def fetch(self, name: str, local: Path) -> None:
        with local.open("xb") as target:
            self._bucket().blob(name).download_to_file(target, timeout=_WAITS, retry=_RETRY)

    def open(self, name: str) -> BinaryIO:
        blob = self._bucket().get_blob(name, timeout=_WAITS, retry=_RETRY)
        if blob is None:
            raise FileNotFoundError(name)
        found: BinaryIO = blob.open("rb", timeout=_WAITS, retry=_RETRY)
        return found

    def remove(self, name: str) -> None:
        self._bucket().blob(name).delete(timeout=_WAITS, retry=_RETRY)

    def remove_tree(self, name: str) -> None:
        for each in [name, *(entry.name for entry in self.walk(name))]:
            try:
                self.remove(each)
            except NoSuchObject:
                continue  # a folder has no object of its own, mostly

    def entries(self, folder: str) -> list[Entry]:
        prefix = f"{folder}/" if folder else ""
        found = self._bucket().list_blobs(prefix=prefix, delimiter="/", timeout=_WAITS, retry=_RETRY)
        files = [Entry(blob.name, int(blob.size)) for blob in found if not blob.name.endswith("/")]
        return [*files, *(Entry(name.rstrip("/"), None) for name in found.prefixes)]

    def walk(self, folder: str) -> Iterator[Entry]:
        # Page by page, sorted by the server as names are here.
        prefix = f"{folder}/" if folder else ""
        for blob in self._bucket().list_blobs(prefix=prefix, timeout=_WAITS, retry=_RETRY):
            if not blob.name.endswith("/"):
                yield Entry(blob.name, int(blob.size))

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _bucket(self) -> storage.Bucket:
        with self._lock:
            if self._client is None:
                self._client = storage.Client(project=self._project, credentials=self._credentials)
            return self._client.bucket(self._name)


def _credentials(value: Any) -> dict[str, Any]:
    """Return the mapping of a key. Raises ValueError."""
    if isinstance(value, str):
        is_json = value.lstrip().startswith("{")
        try:
            value = json.loads(value if is_json else Path(value).expanduser().read_text())
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
