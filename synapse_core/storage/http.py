"""Files of a web server: PUT stores them, or POST where PUT is not allowed; GET, HEAD and DELETE do the rest.

httpx and not fsspec, whose file system of the web follows redirects anywhere with the headers that it was
given, and sets no limit to its waits. Here redirects are followed inside the base only, and for reading only.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from synapse_core.errors import (
    CapabilityError,
    InvalidStorageName,
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
    UploadError,
)
from synapse_core.storage.configuration import Setting, seconds, web_url
from synapse_core.storage.files import Capabilities, Entry, Provider, kind_of_os_error
from synapse_core.storage.names import join_url, shown, split_url
from synapse_core.storage.remote import RemoteFiles, wrong_size

_MOST_CONNECT_SECONDS = 10.0
_MOST_REDIRECTS = 5
_NOT_ALLOWED = frozenset([405, 501])
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
# They say where a request goes and how long it is.
_RESERVED = frozenset(["host", "content-length", "transfer-encoding", "connection"])


class HttpFiles(RemoteFiles):
    """Files below one URL."""

    failures: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL)

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.base_url = configuration["base_url"]
        wait = configuration["timeout"]
        self._method = "PUT"
        # As it is stored: sizes are compared, and nothing small grows large here.
        self._headers = {"Accept-Encoding": "identity", **configuration["headers"]}
        self._timeout = httpx.Timeout(wait, connect=min(wait, _MOST_CONNECT_SECONDS))
        self._lock = threading.Lock()
        self._opened: httpx.Client | None = None

    def kind_of(self, error: Exception) -> type[StorageError]:
        if isinstance(error, httpx.TransportError):
            return StorageConnectionError
        return StorageError if isinstance(error, self.failures) else kind_of_os_error(error)

    def info(self, name: str) -> Entry | None:
        with self._asking("HEAD", name) as answer:
            if answer.status_code not in _NOT_ALLOWED:
                return self._told(answer, name)
        with self._asking("GET", name) as answer:
            return self._told(answer, name)

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        answer = self._send(name, source, size_bytes)
        if answer.status_code == 405 and self._method == "PUT":
            self._method = "POST"
            source.seek(0)
            answer = self._send(name, source, size_bytes)
        _refuse(answer, name, UploadError)
        self._check_size(name, size_bytes)

    def read(self, name: str) -> bytes:
        with self._asking("GET", name) as answer:
            _refuse(answer, name)
            return answer.read()

    def fetch(self, name: str, local: Path) -> None:
        with self._asking("GET", name) as answer:
            _refuse(answer, name)
            with local.open("xb") as target:
                for data in answer.iter_bytes():
                    target.write(data)

    def remove(self, name: str) -> None:
        answer = self._client.delete(self._url(name))
        if answer.status_code in _NOT_ALLOWED:
            raise CapabilityError(
                f"The server of {self.base_url} deletes nothing: it answered {_said(answer)}."
            )
        _refuse(answer, name)

    def remove_tree(self, name: str) -> None:
        raise _no_listing()

    def entries(self, folder: str) -> list[Entry]:
        raise _no_listing()

    def walk(self, folder: str) -> Iterator[Entry]:
        raise _no_listing()

    def close(self) -> None:
        with self._lock:
            client, self._opened = self._opened, None
        if client is not None:
            client.close()

    @property
    def _client(self) -> httpx.Client:
        with self._lock:
            if self._opened is None:
                self._opened = httpx.Client(
                    headers=self._headers, timeout=self._timeout, follow_redirects=False
                )
            return self._opened

    def _url(self, name: str) -> str:
        return join_url(self.base_url, name, quotes=True)

    def _send(self, name: str, source: BinaryIO, size_bytes: int) -> httpx.Response:
        headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        return self._client.request(self._method, self._url(name), content=_pieces(source), headers=headers)

    @contextmanager
    def _asking(self, method: str, name: str) -> Iterator[httpx.Response]:
        """Give the answer, its content still to be read; redirects that stay in the base are followed."""
        client = self._client
        request = client.build_request(method, self._url(name))
        for _ in range(_MOST_REDIRECTS):
            answer = client.send(request, stream=True)
            following = answer.next_request
            if following is None:
                try:
                    yield answer
                finally:
                    answer.close()
                return
            answer.close()
            self._check_inside(following.url, name)
            request = client.build_request(method, following.url)
        raise StorageError(f"{shown(name)} in {self.base_url} was redirected {_MOST_REDIRECTS} times.")

    def _check_inside(self, url: httpx.URL, name: str) -> None:
        try:
            split_url(self.base_url, str(url), quotes=True)
        except InvalidStorageName as error:
            raise StorageError(
                f"{shown(name)} in {self.base_url} is redirected to {shown(url.host)}, outside the storage; "
                "that is not followed.",
                {"name": name, "storage": self.base_url},
                hint="If that place can be trusted, give it as the storage's base_url.",
            ) from error

    def _check_size(self, name: str, size_bytes: int) -> None:
        """Raise UploadError where the server tells another size; many tell none, and some take files only."""
        with self._asking("HEAD", name) as answer:
            length = answer.headers.get("Content-Length", "") if answer.is_success else ""
        if length.isdecimal() and int(length) != size_bytes:
            raise wrong_size(name, int(length), size_bytes)

    def _told(self, answer: httpx.Response, name: str) -> Entry | None:
        """Return what an answer tells of a file; where it tells no size it is -1."""
        if answer.status_code in (404, 410):
            return None
        _refuse(answer, name)
        length = answer.headers.get("Content-Length", "")
        return Entry(name, int(length) if length.isdecimal() else -1)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while data := source.read(1 << 16):
        yield data


def _refuse(answer: httpx.Response, name: str, otherwise: type[StorageError] = StorageError) -> None:
    """Raise for every answer that is not a success."""
    status = answer.status_code
    if answer.is_success:
        return
    kind = otherwise
    if status in (404, 410):
        kind = StorageNotFound
    elif status in (401, 403, 407):
        kind = StoragePermissionError
    elif status in (408, 425, 429) or status >= 500:
        kind = StorageConnectionError
    raise kind(
        f"The server answered {_said(answer)} to {answer.request.method} of {shown(name)}.",
        {"name": name, "status": status},
        hint="The headers in the storage's configuration tell the server who asks."
        if kind is StoragePermissionError
        else None,
    )


def _said(answer: httpx.Response) -> str:
    moved = " (a redirect, which is not followed with content)" if answer.is_redirect else ""
    return f"{answer.status_code}{moved}"


def _no_listing() -> CapabilityError:
    return CapabilityError("A web server does not tell what it has.")


def _headers(value: Any) -> dict[str, str]:
    """Check headers. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError
    for name, content in value.items():
        if not isinstance(name, str) or not isinstance(content, str) or name.lower() in _RESERVED:
            raise ValueError
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(content):
            raise ValueError
    return dict(value)


PROVIDER = Provider(
    name="http",
    settings=(
        Setting("base_url", "an http or https URL without user, query and '..'", web_url, is_required=True),
        Setting("timeout", "a number of seconds above 0, at most 3600", seconds, default=30.0),
        Setting(
            "headers",
            "a mapping of names to texts, without control characters, Host and Content-Length",
            _headers,
            default={},
            is_secret=True,
        ),
    ),
    capabilities=Capabilities(deletes=True),
    connect=HttpFiles,
)
