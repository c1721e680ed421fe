"""A server process spoken to line by line: what a client adds is next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmarks", "version": "1"},
}
HERE = Path(__file__).parent
HELLO = [sys.executable, str(HERE / "hello_server.py")]
HELLO_ON_RAY = [sys.executable, str(HERE / "hello_ray_server.py")]
SYNAPSE = [sys.executable, "-m", "synapse_mcp", "--plugins", str(HERE / "plugins")]


class StdioServer:
    """A server as a child of this process, ended when the block is left.

    is_modern: which era of the protocol the client speaks.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        is_modern: bool = True,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=dict(environment)
        )
        self._is_modern = is_modern
        self._number = 0
        if not is_modern:
            self.ask("initialize", _INITIALIZE)
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> StdioServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the result of a request. Raises RuntimeError for an error, or where the server ended."""
        number = self.send(method, params)
        answered, result = self.receive()
        assert answered == number, "one request at a time"
        return result

    def send(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request and return its number."""
        self._number += 1
        if self._is_modern:
            params = {**(params or {}), "_meta": MODERN}
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params or {}})
        return self._number

    def receive(self) -> tuple[int, Any]:
        """Return the next answer, as the number of its request and its result."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "error" in message:
                raise RuntimeError(f"the server answered {message['error']}")
            if "id" in message:
                return message["id"], message["result"]
        raise RuntimeError("the server ended without an answer")

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool and return its structure. Raises RuntimeError where the call failed."""
        return structure_of(self.ask("tools/call", {"name": tool, "arguments": arguments}))

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()


def structure_of(result: Mapping[str, Any]) -> Any:
    """Return the structure of a tool's answer. Raises RuntimeError for an error or an unfinished run."""
    structure = result.get("structuredContent")
    if result.get("isError") or (structure and structure.get("done") is False):
        raise RuntimeError(f"the tool answered {result}")
    return structure
