"""The routes of the dashboard: its pages, and the JSON that they show."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import TypeVar
from urllib.parse import parse_qs

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from synapse_core.errors import InvalidRequest, NotFound, SynapseError, Unavailable
from synapse_mcp.dashboard.changes import Stopping, encoded, told_changes
from synapse_mcp.dashboard.files import ASSETS, page
from synapse_mcp.dashboard.gate import Access, Gate, refused
from synapse_mcp.dashboard.queries import Queries, RunList
from synapse_mcp.masking import masked

log = logging.getLogger(__name__)

T = TypeVar("T")
_MOST_FORM_BYTES = 4096
_MOST_RUNS = 200
# Reading datasets takes all of a core and much memory.
_DATASETS_AT_ONCE = 2


def create_app(queries: Queries, access: Access, stopping: Stopping | None = None) -> ASGIApp:
    """Return the dashboard as an application. stopping: set when its streams are to end."""
    pages = _Pages(queries, access, stopping or Stopping())
    routes = [
        Route("/", pages.index),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Mount("/assets", StaticFiles(directory=ASSETS)),
        Route("/api/overview", pages.overview),
        Route("/api/runs", pages.runs),
        Route("/api/runs/{run_id}", pages.run),
        Route("/api/runs/{run_id}/log", pages.run_log),
        Route("/api/changes", pages.runs_changes),
        Route("/api/changes/{run_id}", pages.run_changes),
        Route("/api/models", pages.models),
        Route("/api/deployments", pages.deployments),
        Route("/api/deployments/{name}/probe", pages.probe, methods=["POST"]),
        Route("/api/datasets", pages.datasets),
        Route("/api/datasets/summary", pages.summary),
        Route("/api/datasets/preview", pages.preview),
    ]
    app = Starlette(
        routes=routes, exception_handlers={SynapseError: _foreseen, 404: _not_there, Exception: _crashed}
    )
    return Gate(app, access)


class _Pages:
    """Every answer. What blocks is done in threads."""

    def __init__(self, queries: Queries, access: Access, stopping: Stopping) -> None:
        self._queries = queries
        self._access = access
        self._stopping = stopping
        self._datasets = anyio.CapacityLimiter(_DATASETS_AT_ONCE)

    async def index(self, request: Request) -> Response:
        return HTMLResponse(page("index.html"))

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return RedirectResponse("/", 303) if self._access.is_open else HTMLResponse(page("login.html"))
        form = b""
        async for chunk in request.stream():
            form += chunk
            if len(form) > _MOST_FORM_BYTES:
                return refused(413, "too_large", "That is no token.")
        given = parse_qs(form.decode("latin-1")).get("token", [""])[0]
        if not self._access.is_the_token(given):
            wrong = page("login.html").replace("<!-- what is wrong -->", "That is not the token.")
            return HTMLResponse(wrong, 401)
        answer = RedirectResponse("/", 303)
        answer.headers["set-cookie"] = self._access.cookie((request.scope["server"] or ("", 0))[1])
        return answer

    async def overview(self, request: Request) -> Response:
        return await _told(self._queries.overview)

    async def runs(self, request: Request) -> Response:
        asked = _asked_runs(request)
        return await _told(lambda: self._queries.run_list(*asked, request.query_params.get("cursor")))

    async def run(self, request: Request) -> Response:
        details, charts = await _read(lambda: self._queries.run_details(request.path_params["run_id"]))
        return _json({**_fields(details), "charts": charts})

    async def run_log(self, request: Request) -> Response:
        asked = request.query_params
        tail = _number(request, "tail", 400, 5000)
        cursor = _number(request, "cursor", 0, 1 << 60) if "cursor" in asked else None
        grep, level = asked.get("grep") or None, asked.get("level") or None
        run_id = request.path_params["run_id"]
        return await _told(lambda: self._queries.log(run_id, tail, grep, level, cursor))

    async def runs_changes(self, request: Request) -> Response:
        asked = _asked_runs(request)
        shown: RunList | None = None

        async def snapshot() -> tuple[dict[str, object], bool]:
            nonlocal shown
            shown = await _read(lambda: self._queries.run_list(*asked, None))
            return {"runs": shown}, False

        await snapshot()  # what is wrong with the question is told before the stream begins
        return _stream(told_changes(snapshot, lambda: self._queries.files_of_list(shown), self._stopping))

    async def run_changes(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]

        async def snapshot() -> tuple[dict[str, object], bool]:
            details, charts = await _read(lambda: self._queries.run_details(run_id))
            return {"run": details, "charts": charts}, bool(details.run.done)

        await snapshot()
        return _stream(told_changes(snapshot, lambda: self._queries.files_of_run(run_id), self._stopping))

    async def models(self, request: Request) -> Response:
        before = _number(request, "cursor", 0, 1 << 60) if "cursor" in request.query_params else None
        return await _told(lambda: self._queries.models(request.query_params.get("query"), before))

    async def deployments(self, request: Request) -> Response:
        return await _told(lambda: {"deployments": self._queries.deployments()})

    async def probe(self, request: Request) -> Response:
        return await _told(lambda: self._queries.probe(request.path_params["name"]))

    async def datasets(self, request: Request) -> Response:
        return await _told(lambda: {"datasets": self._queries.datasets()})

    async def summary(self, request: Request) -> Response:
        path = _path(request)
        return await _told(lambda: self._queries.inspection(path), self._datasets)

    async def preview(self, request: Request) -> Response:
        path, count = _path(request), _number(request, "count", 9, 36)
        split = request.query_params.get("split") or None
        png = await _read(lambda: self._queries.preview(path, count, split), self._datasets)
        return Response(png, media_type="image/png")


async def _read(work: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
    return await to_thread.run_sync(work, limiter=limiter)


async def _told(work: Callable[[], object], limiter: anyio.CapacityLimiter | None = None) -> Response:
    return _json(await _read(work, limiter))


def _json(record: object) -> Response:
    return Response(encoded(record), media_type="application/json")


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]


def _stream(events: AsyncIterator[bytes]) -> Response:
    # A proxy that gathers what it passes on would hold the news back.
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _asked_runs(request: Request) -> tuple[str | None, str | None, int]:
    asked = request.query_params
    return asked.get("state") or None, asked.get("plugin") or None, _number(request, "limit", 50, _MOST_RUNS)


def _number(request: Request, name: str, default: int, most: int) -> int:
    """Return a number of the question. Raises InvalidRequest where it is none, or out of reach."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= most):
        raise InvalidRequest(f"{name} is {given[:40]!r}; it is a number from 0 to {most}.")
    return int(given)


def _path(request: Request) -> str:
    path = request.query_params.get("path", "")
    if not path:
        raise InvalidRequest("It is not said which dataset.", hint="Give the path of a folder or file.")
    return path


async def _foreseen(request: Request, error: Exception) -> Response:
    assert isinstance(error, SynapseError), "it is registered for these"
    status = 404 if isinstance(error, NotFound) else 503 if isinstance(error, Unavailable) else 400
    return refused(status, error.code, masked(error.message), masked(error.hint) if error.hint else None)


async def _not_there(request: Request, error: Exception) -> Response:
    return refused(404, "not_found", "There is nothing at this address.")


async def _crashed(request: Request, error: Exception) -> Response:
    return refused(500, "internal", "The dashboard failed at this; its terminal has the details.")
