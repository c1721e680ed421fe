"""The resources: facts that an agent can read without calling a tool."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer

from synapse_mcp.app import App


def register_resources(server: MCPServer[App]) -> None:
    """Add every resource."""

    @server.resource("synapse://formats", title="Dataset formats", mime_type="application/json")
    def formats() -> list[dict[str, Any]]:
        """The dataset formats: what each can hold, and whether it is written."""
        from synapse_core.datasets.formats import formats as known  # with the modules of all formats

        return [entry.card() for entry in known()]
