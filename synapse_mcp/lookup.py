"""How a tool finds its server's state."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context

from synapse_mcp.app import App


def app_of(context: Context[App, Any]) -> App:
    """Return the state of the server that the call came to."""
    app = context.request_context.lifespan_context
    assert isinstance(app, App), "the server's lifespan yields its App"
    return app
