"""Whole files over HTTP: sent from the disk, large ones in parts that a lost connection does not undo."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import msgspec

from synapse_core.backend.http_answers import Answer
from synapse_core.backend.http_wire import USUAL_READ_SECONDS, Body, Wire
from synapse_core.backend.packing import packed_folder
from synapse_core.errors import BackendError, BackendRejected, InvalidAnswer

# Larger files travel in parts.
MOST_WHOLE_BYTES = 50_000_000
PART_BYTES = 16 * 1024 * 1024
# So much a service takes in at least, before it answers.
_BYTES_A_SECOND = 20_000_000


class Upload(msgspec.Struct, frozen=True):
    """How far an upload in parts is. url: where its next part goes. offset: bytes that are there."""

    id: str
    url: str
    offset: int


def json_body(value: object) -> Body:
    """Return a body of JSON. Raises BackendRejected for what is none."""
    sent = {"content": encoded_json(value)}
    return lambda: contextlib.nullcontext(sent)


def encoded_json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise BackendRejected(
            f"This cannot be sent as JSON: {error}",
            hint="Give plain values: texts, numbers, lists and mappings with texts for keys.",
        ) from error


def post_with_file(
    wire: Wire, path: str, fields: Mapping[str, Any], file: Path, *, is_repeatable: bool
) -> Answer:
    """Post fields together with a file, or a folder as an archive. Raises BackendRejected for neither."""
    if file.is_dir():
        with packed_folder(file) as archive:
            return post_with_file(wire, path, fields, archive, is_repeatable=is_repeatable)
    if not file.is_file():
        raise BackendRejected(f"There is no file {str(file)!r}.", hint="Give the path of a file that exists.")
    fields = {**fields, "file_name": file.name}
    size_bytes = file.stat().st_size
    read_seconds = USUAL_READ_SECONDS + size_bytes / _BYTES_A_SECOND
    with wire.within():
        if size_bytes > MOST_WHOLE_BYTES:
            fields = {**fields, "chunked_upload": send_in_parts(wire, file, size_bytes)}
            return wire.send(
                *("POST", path),
                body=json_body(fields),
                headers={"Content-Type": "application/json"},
                is_repeatable=is_repeatable,
                read_seconds=read_seconds,
            )
        encoded = encoded_json(fields)

        @contextmanager
        def body() -> Iterator[Mapping[str, Any]]:
            with file.open("rb") as content:
                yield {
                    "files": {
                        "request": (None, encoded, "application/json"),
                        "file": ("file", content, "application/octet-stream"),
                    }
                }

        return wire.send("POST", path, body=body, is_repeatable=is_repeatable, read_seconds=read_seconds)


def send_in_parts(wire: Wire, file: Path, size_bytes: int) -> str:
    """Send a file in parts and have its MD5 compared. Returns the id of the upload."""
    digest = hashlib.md5(usedforsecurity=False)
    state: Upload | None = None
    with file.open("rb") as content:
        while state is None or state.offset < size_bytes:
            start = state.offset if state is not None else 0
            stop = min(start + PART_BYTES, size_bytes)
            state = _send_part(wire, file, state, start, stop, size_bytes)
            if state.offset != stop:
                raise InvalidAnswer(
                    f"{wire.address(state.url)} has {state.offset} bytes of the upload, not {stop}."
                )
            content.seek(start)
            digest.update(content.read(stop - start))
    answer = wire.send(
        *("POST", wire.address(state.url)),
        body=json_body({"md5": digest.hexdigest()}),
        headers={"Content-Type": "application/json"},
        is_repeatable=True,
        read_seconds=USUAL_READ_SECONDS + size_bytes / _BYTES_A_SECOND,
    )
    return answer.decoded(Upload).id


def _send_part(
    wire: Wire, file: Path, state: Upload | None, start: int, stop: int, size_bytes: int
) -> Upload:
    @contextmanager
    def body() -> Iterator[Mapping[str, Any]]:
        with file.open("rb") as content:
            part = _Part(content, start, stop - start)
            yield {"files": {"file": ("file", part, "application/octet-stream")}}

    try:
        answer = wire.send(
            *("PUT", wire.address(state.url) if state is not None else "chunked_upload/"),
            body=body,
            headers={"Content-Range": f"bytes {start}-{stop - 1}/{size_bytes}"},
        )
    except BackendError:
        if state is None:
            raise
        # The part can be there although the answer was lost, and refused when it came a second time.
        reached = wire.send("GET", wire.address(state.url)).decoded(Upload)
        if reached.offset != stop:
            raise
        return reached
    return answer.decoded(Upload)


class _Part:
    """A piece of a file, read like one. offset, size_bytes: where it lies."""

    def __init__(self, content: BinaryIO, offset: int, size_bytes: int) -> None:
        self._content = content
        self._offset = offset
        self._size_bytes = size_bytes
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        left = self._size_bytes - self._at
        self._content.seek(self._offset + self._at)
        data = self._content.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


def fetch(wire: Wire, path: str, target: Path) -> None:
    """Write what an address gives into a file, from the start at each attempt."""

    def receive(_response: httpx.Response, chunks: Iterator[bytes]) -> bytes:
        with target.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        return b""

    wire.send("GET", path, receive=receive)
