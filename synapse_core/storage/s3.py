"""Objects in a bucket of S3, or of a server that speaks its language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from s3fs import S3FileSystem

from synapse_core.errors import (
    InvalidStorageName,
    StorageConnectionError,
    StorageError,
    StoragePermissionError,
)
from synapse_core.storage.configuration import Setting, bucket, web_url, word
from synapse_core.storage.files import Capabilities, Entry, Provider, kind_of_os_error
from synapse_core.storage.names import shown
from synapse_core.storage.object_files import ObjectFiles

_CONNECT_SECONDS = 5
_READ_SECONDS = 20
_ATTEMPTS = 3
# s3fs takes what stands before it for the key, and the rest for a version of the object.
_VERSION_MARK = "?versionId="


class S3Files(ObjectFiles):
    """The objects of one bucket."""

    failures: tuple[type[Exception], ...] = (BotoCoreError, ClientError)

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._bucket = configuration["bucket_name"]
        endpoint = configuration["endpoint_url"]
        files = S3FileSystem(
            key=configuration["access_key"],
            secret=configuration["secret_key"],
            endpoint_url=endpoint,
            client_kwargs={"region_name": configuration["region_name"]},
            config_kwargs={
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": _READ_SECONDS,
                "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # A server of one's own seldom has a host name for each bucket.
                **({"s3": {"addressing_style": "path"}} if endpoint else {}),
            },
            # A listing is never older than the question; an instance belongs to one storage, which closes it.
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        files.retries = 1  # the library below it tries again
        super().__init__(files, f"{self._bucket}/", f"s3://{self._bucket}/")

    def kind_of(self, error: Exception) -> type[StorageError]:
        answer = error if isinstance(error, ClientError) else error.__cause__
        if isinstance(answer, ClientError):
            status = answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status in (401, 403):
                return StoragePermissionError
            if status == 429 or status >= 500:
                return StorageConnectionError
        if isinstance(error, ParamValidationError):
            return StorageError
        return StorageConnectionError if isinstance(error, BotoCoreError) else kind_of_os_error(error)

    def walk(self, folder: str) -> Iterator[Entry]:
        # Page by page, and sorted by the server as names are here: a bucket can hold more than memory does.
        start = f"{folder}/" if folder else ""
        more: dict[str, str] = {}
        while True:
            page = self._files.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=start, **more)
            for row in page.get("Contents", ()):
                if not row["Key"].endswith("/"):
                    yield Entry(row["Key"], int(row["Size"]))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def close(self) -> None:
        session = getattr(self._files, "_s3creator", None)
        if session is not None:
            S3FileSystem.close_session(self._files.loop, session)

    def _key(self, name: str) -> str:
        if _VERSION_MARK in name:
            raise InvalidStorageName(shown(name), f"{_VERSION_MARK} would name a version of an object")
        return super()._key(name)


PROVIDER = Provider(
    name="s3",
    settings=(
        Setting("bucket_name", "the name of a bucket, without a path", bucket, is_required=True),
        Setting("access_key", "an access key's id", word, is_required=True, is_secret=True),
        Setting("secret_key", "the access key's secret", word, is_required=True, is_secret=True),
        Setting("region_name", "the name of a region", word, default="us-east-1"),
        Setting("endpoint_url", "an http or https URL without user, query and '..'", web_url),
    ),
    capabilities=Capabilities(lists=True, deletes=True, opens=True, renames=True),
    connect=S3Files,
)
