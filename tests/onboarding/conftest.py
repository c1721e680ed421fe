"""What the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder for plugins of a test."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder
