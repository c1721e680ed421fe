"""Subscriptions to runs: a client is told when a run that it reads has changed, in both eras of the protocol.

Another process may be the one that changes it: the run's record is watched, as long as somebody listens.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler, ResourceUpdated
from mcp.types import (
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from synapse_core.errors import SynapseError
from synapse_core.runs import Runs, follow
from synapse_core.runs.tail import size_of
from synapse_mcp.app import App
from synapse_mcp.reading import ReadingServer, unknown_uri, unreadable

log = logging.getLogger(__name__)

# A client is told of one resource at most so often; what changed meanwhile is told once.
_GAP_SECONDS = 0.25
# What a run prints is no event: its log is looked at so often.
_LOG_SECONDS = 0.25
_RUN_ID = "run_id"

Tell = Callable[[], Awaitable[None]]


@dataclass
class Watches:
    """What is watched in one server, and by how many listeners. Each URI is watched once.

    publish: what is called with a URI when its resource has changed, for listeners of the modern era.
    """

    app: App
    tasks: TaskGroup
    publish: Callable[[str], Awaitable[None]]
    # Of the legacy era: who is to be told of a URI.
    connections: dict[str, list[Connection]] = field(default_factory=dict)
    _scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)
    _listeners: dict[str, int] = field(default_factory=dict)

    @property
    def watched(self) -> list[str]:
        """The URIs that are watched now."""
        return list(self._scopes)

    def begin(self, uri: str, run_id: str) -> None:
        """Watch a run for one more listener."""
        self._listeners[uri] = self._listeners.get(uri, 0) + 1
        if uri not in self._scopes:
            scope = self._scopes[uri] = anyio.CancelScope()
            self.tasks.start_soon(self._watch, uri, run_id, scope)

    def end(self, uri: str) -> None:
        """Take back one `begin`; without any listener left, nothing is watched."""
        left = self._listeners.pop(uri, 0) - 1
        if left > 0:
            self._listeners[uri] = left
        elif (scope := self._scopes.pop(uri, None)) is not None:
            scope.cancel()

    def subscribe(self, uri: str, run_id: str, connection: Connection) -> None:
        """Tell a connection of a run from now on, until it unsubscribes or closes. Twice is once."""
        told = self.connections.setdefault(uri, [])
        if connection not in told:
            told.append(connection)
            self.begin(uri, run_id)
            connection.exit_stack.callback(self.unsubscribe, uri, connection)

    def unsubscribe(self, uri: str, connection: Connection) -> None:
        """Take back a `subscribe`, where there was one."""
        told = self.connections.get(uri, [])
        if connection in told:
            told.remove(connection)
            self.end(uri)
        if not told:
            self.connections.pop(uri, None)

    async def tell(self, uri: str) -> None:
        """Tell everybody who listens that a resource has changed."""
        await self.publish(uri)
        for connection in self.connections.get(uri, [])[:]:
            await connection.send_resource_updated(uri)

    async def _watch(self, uri: str, run_id: str, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                runs = await self.app.call(lambda home: home.runs)
                await tell_of_changes(runs, run_id, lambda: self.tell(uri), with_log=uri.endswith("/log"))
            except SynapseError:
                pass  # what is not there can be subscribed to, and never changes
            except Exception:  # a watch that fails must not take the server with it
                log.exception("Watching %s failed; its listeners are told nothing more.", uri)
        if self._scopes.get(uri) is scope:
            del self._scopes[uri]


async def tell_of_changes(runs: Runs, run_id: str, tell: Tell, *, with_log: bool = False) -> None:
    """Call `tell` after each change of a run, until it has ended; several in a short time are one.

    with_log: also where its log has grown. A run that had ended before never changes.
    Raises RunNotFound.
    """
    output = runs.folder(run_id).output
    news, is_over = anyio.Event(), anyio.Event()

    async def take_events() -> None:
        nonlocal news
        states = 0
        async for _ in follow(runs, run_id):
            states += 1
            if states > 1:
                news.set()
        is_over.set()
        news.set()

    async def take_log() -> None:
        seen = size_of(output)
        while not is_over.is_set():
            await anyio.sleep(_LOG_SECONDS)
            if (size := size_of(output)) != seen:
                seen = size
                news.set()

    async def talk() -> None:
        nonlocal news
        while True:
            await news.wait()
            news = anyio.Event()
            was_over = is_over.is_set()
            await tell()
            if was_over:
                return
            await anyio.sleep(_GAP_SECONDS)

    if (await anyio.to_thread.run_sync(runs.get, run_id)).is_done:
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_events)
        if with_log:
            tasks.start_soon(take_log)
        await talk()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def watching(server: ReadingServer, app: App) -> AsyncIterator[None]:
    """Let runs be watched while the block runs."""

    async def publish(uri: str) -> None:
        # The bus that the SDK made for this server: what tools tell of goes to the same listeners.
        await server._subscriptions.publish(ResourceUpdated(uri=uri))

    async with anyio.create_task_group() as tasks:
        app.watches = Watches(app, tasks, publish)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


def register_subscriptions(server: ReadingServer) -> None:
    """Serve `subscriptions/listen`, `resources/subscribe` and `resources/unsubscribe`."""
    listen = ListenHandler(server._subscriptions)

    async def listening(
        ctx: ServerRequestContext[App], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        watches = _watches(ctx)
        asked = [str(uri) for uri in params.notifications.resource_subscriptions or []]
        runs = {uri: run_id for uri in asked if (run_id := _run_of(server, uri)) is not None}
        # What is not there, or another's, is left out of what is acknowledged.
        unknown = {uri for uri, run_id in runs.items() if not await ctx.lifespan_context.has_run(run_id)}
        if unknown:
            runs = {uri: run_id for uri, run_id in runs.items() if uri not in unknown}
            left = [uri for uri in asked if uri not in unknown]
            wanted = params.notifications.model_copy(update={"resource_subscriptions": left})
            params = params.model_copy(update={"notifications": wanted})
        for uri, run_id in runs.items():
            watches.begin(uri, run_id)
        try:
            return await listen(ctx, params)
        finally:
            for uri in runs:
                watches.end(uri)

    async def subscribe(ctx: ServerRequestContext[App], params: SubscribeRequestParams) -> EmptyResult:
        uri = str(params.uri)
        known = server.find_resource(uri) is not None
        if not known and uri not in {each.uri for each in await server.list_resources()}:
            raise unknown_uri(uri, [spec.uri for spec in server.resource_table])
        run_id = _run_of(server, uri)
        if run_id is not None:
            try:
                await ctx.lifespan_context.call(lambda home: home.runs.row(run_id))
            except SynapseError as error:
                raise unreadable(uri, error) from error
            _watches(ctx).subscribe(uri, run_id, _connection(ctx))
        return EmptyResult()

    async def unsubscribe(ctx: ServerRequestContext[App], params: UnsubscribeRequestParams) -> EmptyResult:
        _watches(ctx).unsubscribe(str(params.uri), _connection(ctx))
        return EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listening)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)


def _run_of(server: ReadingServer, uri: str) -> str | None:
    found = server.find_resource(uri)
    return None if found is None else found[1].get(_RUN_ID)


def _watches(ctx: ServerRequestContext[App, Any]) -> Watches:
    watches = ctx.lifespan_context.watches
    assert watches is not None, "the server's lifespan watches"
    return watches


def _connection(ctx: ServerRequestContext[App, Any]) -> Connection:
    # A session is made anew for every request; what lasts, and can be told something later, is behind it.
    return ctx.session._connection
