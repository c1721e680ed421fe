"""Real server processes over real pipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server_command(home: Path) -> StdioServerParameters:
    """How to start a server of this test's home as a child."""
    environment = {**os.environ, "SYNAPSE_HOME": str(home)}
    return StdioServerParameters(command=sys.executable, args=["-m", "synapse_mcp"], env=environment)
