"""Real servers over HTTP for tests: started as a child on a free port of this machine, ended by the test."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

START_SECONDS = 60
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class HttpServer:
    """A server of a home as a child process."""

    def __init__(self, home: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "synapse_mcp", "--http", "127.0.0.1:0", *arguments]
        own = {"SYNAPSE_HOME": str(home), "SYNAPSE_CONFIG": str(home / "no-profiles")}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._address: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.append(line)
            if "Serving MCP at" in line:
                self._address.put(line.split()[-1])
        self._address.put("")

    def __enter__(self) -> Self:
        self.url = self._address.get(timeout=START_SECONDS)
        assert self.url, self.said
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def base(self) -> str:
        return self.url.removesuffix("/mcp")

    def end(self, with_signal: int = signal.SIGTERM) -> int:
        """Have it end. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        code = self.process.wait(START_SECONDS)
        self._reader.join()
        self.process.stderr.close()
        return code

    @asynccontextmanager
    async def client(self, token: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
        """Give a client of the Python SDK."""
        async with httpx2.AsyncClient(headers=bearer(token), timeout=60) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client

    def ask(
        self, method: str, token: str | None = None, headers: Any = None, **params: Any
    ) -> httpx.Response:
        """Send one request of the modern protocol as it goes over the wire."""
        sent = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            **({"mcp-name": params["name"]} if "name" in params else {}),
            **bearer(token),
            **(headers or {}),
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": MODERN}}
        return httpx.post(self.url, json=body, headers=sent, timeout=60)


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def write_tokens(path: Path, **scopes: list[str]) -> dict[str, str]:
    """Write a token file with a token for each name. Returns the tokens."""
    tokens = {name: f"token-of-{name}-0123456789" for name in scopes}
    entries = [{"name": name, "token": tokens[name], "scopes": scopes[name]} for name in scopes]
    path.write_text(json.dumps({"tokens": entries}))
    path.chmod(0o600)
    return tokens
