"""The REST API, one line a call. Most are in the table; the few of another shape follow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from synapse_core.backend.protocol import Backend
from synapse_core.backend.records import JobLog, NewDataUnit
from synapse_core.backend.service.answers import json_answer
from synapse_core.backend.service.bodies import Body, Posted, arguments_of
from synapse_core.backend.service.keys import Keys
from synapse_core.backend.service.lists import page_of
from synapse_core.backend.service.uploads import Uploads
from synapse_core.errors import BackendRejected

_IN_PATH = re.compile(r"{(\w+)")


@dataclass(frozen=True)
class Route:
    """One call of `Backend` under an address.

    file: the argument that is a file. renamed: argument -> its name in the body. answers: the name under
    which an answer that is no record stands.
    """

    method: str
    path: str
    call: str
    file: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    answers: str = ""


ROUTES = (
    Route("POST", "storages/", "create_storage"),
    Route("POST", "data_files/", "create_data_file", file="path"),
    Route("POST", "data_files/verify_checksums/", "verify_checksums", answers="existing_checksums"),
    Route("GET", "data_collections/{collection_id:int}/", "get_data_collection"),
    Route("POST", "data_collections/", "create_data_collection"),
    Route("DELETE", "data_collections/{collection_id:int}/", "delete_data_collection"),
    Route("GET", "data_units/{unit_id:int}/", "get_data_unit"),
    Route("POST", "data_units/delete/", "delete_data_units", renamed={"unit_ids": "ids"}, answers="count"),
    Route("GET", "projects/{project_id:int}/", "get_project"),
    Route("POST", "projects/", "create_project"),
    Route("GET", "tasks/{task_id:int}/", "get_task"),
    Route("POST", "tasks/", "create_tasks", renamed={"project_id": "project", "tasks": "data"}),
    Route("POST", "tasks/set_tags/", "set_tags_tasks", renamed={"task_ids": "ids"}),
    Route("GET", "assignments/{assignment_id:int}/", "get_assignment"),
    Route("POST", "assignments/set_tags/", "set_tags_assignments", renamed={"assignment_ids": "ids"}),
    Route("GET", "ground_truth_dataset_versions/{version_id:int}/", "get_ground_truth_version"),
    Route("POST", "ground_truth_dataset_versions/", "create_ground_truth_version"),
    Route("GET", "models/{model_id:int}/", "get_model"),
    Route("POST", "models/", "create_model", file="path"),
    Route("DELETE", "models/{model_id:int}/", "delete_model"),
    Route("GET", "plugin_releases/{lookup:int}/", "get_plugin_release"),
    Route("GET", "plugin_releases/{lookup:path}/", "get_plugin_release"),
    Route("POST", "plugin_releases/", "create_plugin_release", file="archive"),
    Route("POST", "serve_applications/", "create_serve_application"),
    Route("DELETE", "serve_applications/{application_id:int}/", "delete_serve_application"),
    Route("GET", "jobs/{job_id:path}/", "get_job"),
    Route("POST", "jobs/", "create_job", renamed={"job_id": "id"}),
    Route("PATCH", "jobs/{job_id:path}/", "update_job"),
)
# Where a list is -> the call that gives it.
LISTS = {
    "storages/": "list_storages",
    "data_collections/": "list_data_collections",
    "data_units/": "list_data_units",
    "projects/": "list_projects",
    "sdk/tasks/": "list_tasks",
    "sdk/assignments/": "list_assignments",
    "ground_truth_dataset_versions/": "list_ground_truth_versions",
    "ground_truths/": "list_ground_truths",
    "models/": "list_models",
    "plugin_releases/": "list_plugin_releases",
    "serve_applications/": "list_serve_applications",
    "jobs/": "list_jobs",
}


class _Unit(NewDataUnit, frozen=True, kw_only=True):
    data_collection: int


class _Md5(msgspec.Struct, frozen=True):
    md5: str


class Api:
    """The handlers, with what they share. folder: where files lie while a call takes them."""

    def __init__(self, app: FastAPI, backend: Backend, folder: Path, uploads: Uploads) -> None:
        self._app = app
        self._backend = backend
        self._folder = folder
        self._uploads = uploads
        self._keys = Keys()

    def add_routes(self) -> None:
        """Add everything but the files of storages."""
        self._add("GET", "storages/default/", self._default_storage)
        self._add("GET", "storages/{storage_id:int}/", self._storage)
        self._add("POST", "data_units/", self._create_units)
        self._add("PUT", "tasks/{task_id:int}/annotate_task_data/", self._annotate)
        self._add("POST", "logs/", self._create_logs)
        self._add("GET", "jobs/{job_id:path}/console_logs/", self._job_logs)
        self._add("PUT", "chunked_upload/", self._begin_upload)
        self._add("PUT", "chunked_upload/{upload}/", self._add_part)
        self._add("GET", "chunked_upload/{upload}/", self._upload_state)
        self._add("POST", "chunked_upload/{upload}/", self._finish_upload)
        for path, call in LISTS.items():
            self._add("GET", path, self._lister(call))
        for route in ROUTES:
            self._add(route.method, route.path, self._handler(route))

    def _add(self, method: str, path: str, handler: Callable[..., Response]) -> None:
        self._app.add_api_route(f"/{path}", handler, methods=[method], response_model=None)

    def _handler(self, route: Route) -> Callable[..., Response]:
        """Return what carries out a call whose arguments are those of the path and of the body."""
        call = getattr(self._backend, route.call)
        in_path = set(_IN_PATH.findall(route.path))
        shape = arguments_of(route.call, without={*in_path, route.file}, renamed=route.renamed)

        def work(request: Request, body: Posted) -> Response:
            arguments = {**request.path_params, **_given(body.decoded(shape))}
            if route.file:
                with body.file(self._folder, self._uploads) as path:
                    found = call(**arguments, **{route.file: path})
            else:
                found = call(**arguments)
            if found is None:
                return Response(status_code=204)
            return json_answer({route.answers: found} if route.answers else found)

        def handle(request: Request, body: Body) -> Response:
            if request.method != "POST":
                return work(request, body)
            return self._keys.once(request.headers.get("idempotency-key"), lambda: work(request, body))

        return handle

    def _lister(self, call: str) -> Callable[..., Response]:
        listed = getattr(self._backend, call)

        def handle(request: Request) -> Response:
            return page_of(request, listed)

        return handle

    # Calls of another shape than those of the table

    def _default_storage(self, request: Request) -> Response:
        self._backend.open_storage()  # makes it where there is none yet
        found = next(iter(self._backend.list_storages({"is_default": True})))
        return self._storage(request, found.id)

    def _storage(self, request: Request, storage_id: int) -> Response:
        wants = request.query_params.get("with_configuration") == "true"
        return json_answer(self._backend.get_storage(storage_id, with_configuration=wants))

    def _create_units(self, body: Body) -> Response:
        shapes = body.decoded(list[_Unit])
        collections = {unit.data_collection for unit in shapes}
        if len(collections) != 1:
            raise BackendRejected(
                f"The units of one call are all for one data collection, not for {len(collections)}."
            )
        return json_answer(self._backend.create_data_units(collections.pop(), shapes))

    def _annotate(self, task_id: int, body: Body) -> Response:
        return json_answer(self._backend.annotate_task_data(task_id, body.decoded(dict[str, Any])))

    def _create_logs(self, request: Request, body: Body) -> Response:
        def work() -> Response:
            logs = body.decoded(list[JobLog] | JobLog)  # type: ignore[arg-type]  # one, or a list of them
            return json_answer(
                {"count": self._backend.create_logs(logs if isinstance(logs, list) else [logs])}
            )

        return self._keys.once(request.headers.get("idempotency-key"), work)

    def _job_logs(self, request: Request, job_id: str) -> Response:
        return page_of(request, self._backend.list_job_logs, job_id)

    # Files in parts

    def _begin_upload(self, request: Request, body: Body) -> Response:
        return self._add_part(request, self._uploads.begin(), body)

    def _add_part(self, request: Request, upload: str, body: Body) -> Response:
        if body.part is None or body.part.size is None:
            raise BackendRejected("A part of a file is missing; it is the part 'file' of a form.")
        content_range = request.headers.get("content-range", "")
        offset = self._uploads.add(upload, content_range, body.part.file, body.part.size)
        return self._told(upload, offset)

    def _upload_state(self, upload: str) -> Response:
        return self._told(upload, self._uploads.offset(upload))

    def _finish_upload(self, upload: str, body: Body) -> Response:
        return self._told(upload, self._uploads.finish(upload, body.decoded(_Md5).md5))

    def _told(self, upload: str, offset: int) -> Response:
        return json_answer({"id": upload, "url": f"chunked_upload/{upload}/", "offset": offset})


def _given(arguments: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in arguments.__struct_fields__}
