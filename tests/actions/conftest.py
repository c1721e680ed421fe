"""A backend of its own for each test of an action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backend_worlds import World, seed

from synapse_core.backend.local import LocalBackend


@pytest.fixture
def backend(home: Path) -> Iterator[LocalBackend]:
    """The embedded backend of the test's home, empty."""
    opened = LocalBackend(home)
    yield opened
    opened.close()


@pytest.fixture
def world(backend: LocalBackend, tmp_path: Path) -> World:
    """A project of six images, the first five of them annotated and submitted."""
    return seed(backend, tmp_path / "images", [f"car{number}.png" for number in range(6)], submitted=5)
