"""get_status about a backend that is named: there, down, silent, or not to be entered with this token."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend_services import TOKEN, serving
from mcp import Client

from synapse_core.profile import config_path
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "far") as (url, _behind):
        yield url


def use(tmp_path: Path, url: str, token: str = TOKEN) -> None:
    """Write a profile `lab` for a backend."""
    file = tmp_path / "lab.token"
    file.write_text(token)
    file.chmod(0o600)
    config_path().write_text(f"profiles:\n  lab: {{backend_url: '{url}', token_path: '{file}'}}\n")
    config_path().chmod(0o600)


async def status() -> dict[str, Any]:
    async with Client(build_server(Settings.make(profile="lab"))) as client:
        started = time.monotonic()
        reply = await client.call_tool("get_status", {})
        assert time.monotonic() - started < 3
        assert not reply.is_error, reply.content
        assert TOKEN not in reply.content[0].text
        found: dict[str, Any] = reply.structured_content
        return found


def problems(found: dict[str, Any]) -> dict[str, str]:
    return {problem["code"]: problem["fix"] for problem in found["problems"]}


async def test_a_backend_that_answers_is_no_problem(service: str, tmp_path: Path):
    use(tmp_path, service)

    found = await status()

    assert (found["profile"], found["backend"]) == ("lab", service)
    assert found["problems"] == []


async def test_a_wrong_token_is_told_without_showing_it(service: str, tmp_path: Path):
    use(tmp_path, service, "another-token-of-nobody")

    found = await status()

    assert list(problems(found)) == ["unauthorized"]
    assert "another-token" not in str(found)


async def test_a_token_that_others_can_read_comes_with_the_command_that_mends_it(
    service: str, tmp_path: Path
):
    use(tmp_path, service)
    (tmp_path / "lab.token").chmod(0o644)

    assert problems(await status()) == {"secret_readable": f"chmod 600 {tmp_path / 'lab.token'}"}


async def test_a_backend_that_is_down_is_told_in_time(tmp_path: Path):
    use(tmp_path, "http://127.0.0.1:9")

    assert list(problems(await status())) == ["backend_unavailable"]


async def test_a_backend_that_never_answers_is_told_in_time(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")

        assert list(problems(await status())) == ["backend_unavailable"]
