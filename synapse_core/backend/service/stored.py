"""The files of a storage over HTTP, for who cannot reach it otherwise. The storage confines names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from synapse_core.backend.protocol import Backend
from synapse_core.backend.service.answers import json_answer
from synapse_core.backend.service.bodies import Spooled
from synapse_core.errors import StorageNotFound
from synapse_core.storage import Storage
from synapse_core.storage.files import Entry

_PATH = "/storages/{storage_id:int}/files/{name:path}"
_PIECE_BYTES = 1 << 20
_TYPE = "application/octet-stream"


def add_file_routes(app: FastAPI, backend: Backend) -> None:
    """Add GET, HEAD, PUT and DELETE of what lies in a storage."""

    def get(request: Request, storage_id: int, name: str) -> Response:
        storage = backend.open_storage(storage_id)
        if request.query_params.get("list") == "true":
            entries = storage.entries(name)
            return json_answer(
                {"results": [{"name": entry.name, "size_bytes": entry.size_bytes} for entry in entries]}
            )
        entry = _entry(storage, name)
        if entry.is_folder:
            raise StorageNotFound(f"{name!r} is a folder of storage {storage_id}, not a file.")
        headers = {} if entry.size_bytes is None else {"Content-Length": str(entry.size_bytes)}
        return StreamingResponse(_pieces(storage.open(name)), headers=headers, media_type=_TYPE)

    def head(storage_id: int, name: str) -> Response:
        entry = _entry(backend.open_storage(storage_id), name)
        headers = {"Synapse-Entry": "folder" if entry.is_folder else "file"}
        if entry.size_bytes is not None:
            headers["Content-Length"] = str(entry.size_bytes)
        return Response(headers=headers, media_type=_TYPE)

    def put(storage_id: int, name: str, body: Spooled) -> Response:
        backend.open_storage(storage_id).upload(body, name)
        return json_answer({"name": name, "size_bytes": body.stat().st_size}, 201)

    def delete(request: Request, storage_id: int, name: str) -> Response:
        storage = backend.open_storage(storage_id)
        if request.query_params.get("tree") == "true":
            storage.delete_tree(name)
        else:
            storage.delete(name)
        # Over HTTP folders come with their files, and so they go with them.
        storage.delete_empty_folders(name.rpartition("/")[0])
        return Response(status_code=204)

    handlers: tuple[tuple[str, Callable[..., Response]], ...] = (
        ("GET", get),
        ("HEAD", head),
        ("PUT", put),
        ("DELETE", delete),
    )
    for method, handler in handlers:
        app.add_api_route(_PATH, handler, methods=[method], response_model=None)


def _entry(storage: Storage, name: str) -> Entry:
    entry = storage.stat(name)
    if entry is None:
        raise StorageNotFound(f"There is no {name!r} in {storage.base_url}.")
    return entry


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    with content:
        while piece := content.read(_PIECE_BYTES):
            yield piece
