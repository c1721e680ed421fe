"""Serving over HTTP until a signal comes, and ending so that nobody is left without an answer."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import NoReturn

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp

from synapse_core.errors import Unavailable
from synapse_mcp.boundary import SynapseServer
from synapse_mcp.http.binding import HttpBinding
from synapse_mcp.http.gate import Gate
from synapse_mcp.http.probes import add_probes
from synapse_mcp.http.rates import RateLimit
from synapse_mcp.http.tokens import TokenFile
from synapse_mcp.wire import Ending

PATH = "/mcp"
MAX_BODY_BYTES = 4 * 1024 * 1024
# What a call that is in progress has to come to its end; a stop of a run takes ten.
DRAIN_SECONDS = 15
_CLEANUP_SECONDS = 5.0
_BACKLOG = 2048


def serve_http(server: SynapseServer, binding: HttpBinding) -> NoReturn:
    """Serve until SIGTERM, SIGINT or SIGHUP comes, and end the process with 128 + n. Main thread only.

    From the signal on nothing new is taken, waiting calls are answered with the run as it stands, and others
    have DRAIN_SECONDS. Runs go on. The address is told on stderr once it answers.
    Raises InvalidConfig for a token file that cannot be used; Unavailable where it cannot listen there.
    """
    tokens = None if binding.token_file is None else TokenFile(binding.token_file)
    gate, app = guarded(server, binding, tokens)
    listening = listen(binding)
    port = listening.getsockname()[1]
    ending = Ending(DRAIN_SECONDS + _CLEANUP_SECONDS)
    http = _Http(app, f"Serving MCP at http://{binding.shown_host}:{port}{PATH}")

    def drain() -> None:
        gate.drain()
        if server.app is not None:
            server.app.end_waits()
        http.should_exit = True

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def stop(_code: int) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(drain)

        ending.watch(stop)
        await http.serve([listening])

    asyncio.run(serve())
    atexit._run_exitfuncs()  # not sys.exit: that joins worker threads first, and one may be stuck in a tool
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(ending.code)


def guarded(server: SynapseServer, binding: HttpBinding, tokens: TokenFile | None) -> tuple[Gate, ASGIApp]:
    """Return the server's application with all that stands before it, and the gate in it."""
    security = TransportSecuritySettings(allowed_hosts=binding.hosts(), allowed_origins=binding.origins())
    add_probes(server)
    inner = server.streamable_http_app(
        streamable_http_path=PATH, max_request_body_size=MAX_BODY_BYTES, transport_security=security
    )
    gate = Gate(inner, security, RateLimit(binding.rate_limit), asks_for_tokens=tokens is not None)
    if tokens is None:
        return gate, gate
    return gate, AuthenticationMiddleware(AuthContextMiddleware(gate), backend=BearerAuthBackend(tokens))


def listen(binding: HttpBinding) -> socket.socket:
    """Return a socket at the address of a binding. Raises Unavailable where that cannot be had."""
    family = socket.AF_INET6 if ":" in binding.host else socket.AF_INET
    try:
        return socket.create_server((binding.host, binding.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"Nothing can listen at {binding.shown_host}:{binding.port}: {error.strerror}.",
            hint="Give another port, or 0 for a free one.",
        ) from error


class _Http(uvicorn.Server):
    """uvicorn, with the signals left to us and a word when it answers."""

    def __init__(self, app: ASGIApp, greeting: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # Of the two parsers, the one that takes header values as the protocol wants them.
                http="h11",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._greeting = greeting

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stderr.write(f"{self._greeting}\n")
        sys.stderr.flush()
