"""The smallest server on the same SDK: what every figure of Synapse's own server is compared with."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("hello")


@server.tool()
async def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"


if __name__ == "__main__":
    server.run("stdio")
