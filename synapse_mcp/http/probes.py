"""What those ask who start and watch servers: /health, whether it is alive, and /ready, whether it works."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse

from synapse_core import __version__
from synapse_mcp.boundary import SynapseServer

log = logging.getLogger(__name__)


def add_probes(server: SynapseServer) -> None:
    """Add the two addresses to a server. Neither tells anything about what is in it."""

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"ok": True, "version": __version__})

    async def ready(_request: Request) -> JSONResponse:
        is_ready = await _is_ready(server)
        return JSONResponse({"ok": is_ready}, 200 if is_ready else 503)

    server.custom_route("/health", methods=["GET"])(health)
    server.custom_route("/ready", methods=["GET"])(ready)


async def _is_ready(server: SynapseServer) -> bool:
    """Return True where the records of runs can be read and the server is not about to end."""
    app = server.app
    if app is None or app.is_draining:
        return False
    try:
        await app.call(lambda home: home.runs.list(limit=1))
    except Exception:  # whatever keeps the records shut, the answer is no and the log has the reason
        log.exception("The records of runs cannot be read")
        return False
    return True
