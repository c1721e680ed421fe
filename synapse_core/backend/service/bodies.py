"""What a call sends: JSON, or JSON beside a file. Files are on the disk before a handler sees them."""

from __future__ import annotations

import inspect
import secrets
import shutil
import typing
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from synapse_core.backend.protocol import Backend
from synapse_core.backend.service.uploads import Uploads
from synapse_core.decoding import decoded
from synapse_core.errors import BackendRejected

T = TypeVar("T")
_MOST_NAME_BYTES = 200


@dataclass
class Posted:
    """A body. content: its JSON. part: the file that came with it, not on the disk under a name yet."""

    content: bytes
    part: UploadFile | None = None

    def decoded(self, kind: type[T]) -> T:
        """Return the JSON as `kind`. Raises BackendRejected telling what does not fit."""
        try:
            return decoded(self.content or b"{}", kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BackendRejected(f"The body cannot be taken: {error}") from error

    @contextmanager
    def file(self, folder: Path, uploads: Uploads) -> Iterator[Path]:
        """Give the file that came with the body, or in parts before it, under the name that it says."""
        told = self.decoded(dict[str, Any])
        name = safe_name(told.get("file_name"))
        upload = told.get("chunked_upload")
        if isinstance(upload, str):
            with uploads.taken(upload, name) as path:
                yield path
            return
        if self.part is None:
            raise BackendRejected(
                "A file is missing.", hint="Send it as the part 'file' of a form, or as 'chunked_upload'."
            )
        own = folder / secrets.token_hex(16)
        own.mkdir(parents=True)
        try:
            with open(own / name, "wb") as file:
                shutil.copyfileobj(self.part.file, file, 1 << 20)
            yield own / name
        finally:
            shutil.rmtree(own)


async def posted(request: Request) -> AsyncIterator[Posted]:
    """Read a body whole: a form with the parts `request` (JSON) and `file`, or JSON alone."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        yield Posted(await request.body())
        return
    async with request.form(max_files=1, max_fields=4, max_part_size=16 * 1024 * 1024) as form:
        fields, part = form.get("request"), form.get("file")
        content = fields.encode() if isinstance(fields, str) else b"{}"
        yield Posted(content, part if isinstance(part, UploadFile) else None)


async def spooled(request: Request) -> AsyncIterator[Path]:
    """Write a body into a file of the service's folder, which is gone after the call."""
    folder: Path = request.app.state.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"put-{secrets.token_hex(16)}"
    try:
        with open(path, "wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


# Cleared away before the answer goes out, not some time after it.
Body = Annotated[Posted, Depends(posted, scope="function")]
Spooled = Annotated[Path, Depends(spooled, scope="function")]


def safe_name(told: object) -> str:
    """Return the last part of a name that a caller told, 'file' where it cannot be one."""
    name = told.rpartition("/")[2] if isinstance(told, str) else ""
    if name in ("", ".", "..") or not name.isprintable() or len(name.encode()) > _MOST_NAME_BYTES:
        return "file"
    return name


def arguments_of(call: str, *, without: set[str], renamed: Mapping[str, str]) -> type[msgspec.Struct]:
    """Return the shape of the body of a call: the arguments that `Backend` has it take.

    without: arguments that come from elsewhere. renamed: argument -> what the REST API calls it.
    """
    function = getattr(Backend, call)
    types = typing.get_type_hints(function)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self" or name in without:
            continue
        default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
        field = msgspec.field(default=default, name=renamed.get(name, name))
        fields.append((name, types[name], field))
    return msgspec.defstruct(call, fields, kw_only=True)
