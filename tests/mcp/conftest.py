"""Clients for the tests of the surface: every one of them in both protocol eras."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

ERAS = ["auto", "legacy"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ERAS)
async def client(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[Client]:
    """A client and the real server in one process, over the example plugins."""
    async with Client(build_server(Settings.make()), mode=request.param) as connected:
        yield connected


@pytest.fixture
def server_command(home: Path) -> StdioServerParameters:
    """How to start the real server of this test's home as a child."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp"],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
