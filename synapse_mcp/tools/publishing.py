"""Publishing plugins into the backend, from where every machine that reaches it can run them."""

from __future__ import annotations

from typing import Any

import msgspec
from mcp.server.mcpserver import Context

from synapse_core.home import Home
from synapse_core.publishing import publish_plugin as publish
from synapse_mcp.app import App
from synapse_mcp.lookup import app_of

# Not for the seconds of an upload, for those of a backend that does not answer.
_ANSWER_SECONDS = 30.0


class ReleaseRecord(msgspec.Struct, kw_only=True):
    """A published version of a plugin. checksum: SHA-256 of its archive."""

    release: str
    id: int
    checksum: str
    size_bytes: int
    actions: list[str]
    next: str


async def publish_plugin(ctx: Context[App, Any], plugin: str, version: str | None = None) -> ReleaseRecord:
    """Publish a plugin into the backend as code@version, without ignored files; keys are refused. version:
    only if config.yaml says this one."""
    return await app_of(ctx).call(lambda home: release_of(home, plugin, version))


def release_of(home: Home, plugin: str, version: str | None) -> ReleaseRecord:
    """Publish a plugin of this home and return what is told of its release."""
    found, config = home.registry.usable(plugin)
    backend = home.open_backend(deadline_seconds=_ANSWER_SECONDS)
    try:
        release = publish(backend, found.root, version=version)
    finally:
        backend.close()
    actions = list(config.actions)
    first = actions[0] if actions else ""
    return ReleaseRecord(
        release=release.lookup,
        id=release.id,
        checksum=release.checksum,
        size_bytes=release.size_bytes,
        actions=actions,
        next=f"run_action(plugin={release.lookup!r}, action={first!r}) runs it wherever this backend is.",
    )
