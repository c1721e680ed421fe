"""Small things that several test files need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def pid_is_alive(pid: int) -> bool:
    """Return True while a process of this pid runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def files_with(folder: Path, words: bytes) -> list[Path]:
    """Return the files below a folder that hold the words; one that goes meanwhile holds nothing."""
    found = []
    for place, _, names in os.walk(folder):  # a folder that goes is passed over
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and words in path.read_bytes():
                    found.append(path)
    return found


class RawServer:
    """A server process spoken to line by line, so that it can be killed at any moment."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "synapse_mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SYNAPSE_HOME": str(home)},
        )

    @classmethod
    def started(cls, home: Path) -> RawServer:
        """Start a server and wait until it answers."""
        server = cls(home)
        server.send(1, "list_runs", limit=1)
        server.answer()
        return server

    def send(self, number: int, tool: str, **arguments: Any) -> None:
        params = {"name": tool, "arguments": arguments, "_meta": MODERN}
        line = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the next answer, whatever notifications come before it."""
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if "id" in message:
                return message["result"]["structuredContent"]
        raise AssertionError("the server ended without an answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
