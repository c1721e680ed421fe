"""The smallest server on the same SDK: what every figure of Synapse's own server is compared with."""

from __future__ import annotations

from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("hello")
# What Synapse's own tool of this name answers with.
_GUIDE = (Path(__file__).parents[1] / "synapse_mcp" / "guides" / "setup.md").read_text()


@server.tool()
async def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"


@server.tool(structured_output=False)
async def get_guide(topic: str | None = None) -> str:
    """Return the guide of this topic."""
    return _GUIDE


if __name__ == "__main__":
    server.run("stdio")
