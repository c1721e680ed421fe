"""The application: the gate, the routes, and how errors are told."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

from synapse_core.backend.protocol import Backend
from synapse_core.backend.service.answers import json_answer, tell_error, tell_failure, tell_http_error
from synapse_core.backend.service.gate import MOST_BODY_BYTES, MOST_FILE_BYTES, Gate
from synapse_core.backend.service.long_queries import LongQueries
from synapse_core.backend.service.routes import Api
from synapse_core.backend.service.stored import add_file_routes
from synapse_core.backend.service.uploads import Uploads
from synapse_core.errors import SynapseError


def create_app(
    backend: Backend,
    token: str,
    folder: Path,
    *,
    most_body_bytes: int = MOST_BODY_BYTES,
    most_file_bytes: int = MOST_FILE_BYTES,
) -> FastAPI:
    """Return the service of a backend, as an ASGI application.

    token: what every caller has to know. folder: for files that are on their way; of this service alone.
    """

    @asynccontextmanager
    async def living(_app: FastAPI) -> AsyncIterator[None]:
        yield
        # Uploads in parts stay: they can be gone on with.
        shutil.rmtree(folder / "passing", ignore_errors=True)

    app = FastAPI(
        title="Synapse backend",
        # A description of the API would be readable without a token.
        openapi_url=None,
        redirect_slashes=False,
        lifespan=living,
        exception_handlers={
            SynapseError: tell_error,
            HTTPException: tell_http_error,
            Exception: tell_failure,
        },
    )
    app.state.folder = folder / "passing"
    app.add_middleware(LongQueries)
    # The last that is added is the first that is passed.
    app.add_middleware(Gate, token=token, most_body_bytes=most_body_bytes, most_file_bytes=most_file_bytes)

    def health() -> Response:
        return json_answer({"status": "ok", "version": version("synapse-mcp")})

    app.add_api_route("/health", health, methods=["GET"], response_model=None)
    add_file_routes(app, backend)
    Api(app, backend, folder / "passing", Uploads(folder / "uploads", most_file_bytes)).add_routes()
    return app
