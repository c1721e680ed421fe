"""The smallest server whose tool calls a running actor on the home's cluster: no record, no events."""

from __future__ import annotations

import ray
from mcp.server import MCPServer

from synapse_core.environment import default_home
from synapse_core.executors.ray import RayCluster

server = MCPServer("hello-ray")


class Greeter:
    def greet(self, name: str) -> str:
        return f"Hello, {name}!"


@server.tool()
async def greet(name: str) -> str:
    """Return a greeting that was made on Ray."""
    answer: str = await greeter.greet.remote(name)
    return answer


if __name__ == "__main__":
    RayCluster(default_home()).connect()
    greeter = ray.remote(Greeter).options(num_cpus=0).remote()
    ray.get(greeter.greet.remote("world"))
    server.run("stdio")
