"""The audit log: what of each call is kept, what never is, and how it stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client
from tool_calls import call, refused

from synapse_mcp.audit import AuditLog
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings


def lines(home: Path) -> list[dict]:
    return [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]


@pytest.mark.anyio
async def test_each_call_is_a_line_that_tells_what_came_of_it(client: Client, home: Path):
    run = await call(client, "run_action", plugin="hello", action="greet", wait_seconds=50)
    await call(client, "get_run", run_id=run["run_id"])
    failed = await refused(
        client, "run_action", plugin="hello", action="misbehave", params={"way": "fail"}, wait_seconds=50
    )
    await refused(client, "lst_runs", limit=3)

    first, second, third, fourth = lines(home)
    assert (first["tool"], first["run_id"], first["client"]) == ("run_action", run["run_id"], "mcp")
    assert first["arguments"] == {"plugin": "hello", "action": "greet", "wait_seconds": 50}
    assert first["milliseconds"] > 0
    assert first["bytes"] > 100
    assert "error" not in first
    assert second["run_id"] == run["run_id"]
    assert (third["error"], third["run_id"]) == (failed["code"], failed["details"]["run_id"])
    assert (fourth["tool"], fourth["error"]) == ("lst_runs", "unknown_tool")
    assert (home / "audit.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_secrets_and_long_values_are_not_kept(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_API_KEY", "canary-of-the-environment")
    params = {
        "password": "canary-by-name",
        "nested": [{"api_key": "canary-by-name-deep"}],
        "text": "see canary-of-the-environment and ghp_" + "a" * 40,
        "long": "x" * 100_000,
        "deep": json.loads("[" * 60 + "]" * 60),
    }
    async with Client(build_server(Settings.make())) as client:
        await refused(client, "run_action", plugin="hello", action="greet", params=params)
    kept = (home / "audit.jsonl").read_text()

    assert "canary" not in kept
    assert "ghp_" not in kept
    assert "(100000 characters)" in kept
    assert len(kept) < 3_000
    assert lines(home)[0]["error"] == "invalid_params"


@pytest.mark.anyio
async def test_it_can_be_off(home: Path):
    async with Client(build_server(Settings.make(audit="off"))) as client:
        await call(client, "list_plugins")

    assert not (home / "audit.jsonl").exists()


@pytest.mark.anyio
async def test_a_call_is_answered_though_it_cannot_be_written_down(
    home: Path, caplog: pytest.LogCaptureFixture
):
    (home / "audit.jsonl").mkdir(parents=True)
    async with Client(build_server(Settings.make())) as client:
        await call(client, "list_plugins")

    assert "A call is missing in" in caplog.text


WRITER = """
import sys
from pathlib import Path
from synapse_mcp.audit import AuditLog

log = AuditLog(Path(sys.argv[1]), most_bytes=4_000, kept=50)
for number in range(200):
    log.record("tool", {"number": number}, 0.001, client=sys.argv[2])
"""


def test_servers_of_one_home_lose_no_line_while_the_file_is_rotated(tmp_path: Path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "audit.jsonl")]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = sorted(tmp_path.glob("audit.jsonl*"))
    kept = [json.loads(line) for file in files for line in file.read_text().splitlines()]

    assert len(files) > 10
    assert all(file.stat().st_size < 5_000 for file in files)
    assert sorted((line["client"], line["arguments"]["number"]) for line in kept) == [
        (name, number) for name in ("a", "b", "c") for number in range(200)
    ]


def test_only_so_many_old_files_are_kept(tmp_path: Path):
    log = AuditLog(tmp_path / "audit.jsonl", most_bytes=500, kept=2)
    for number in range(50):
        log.record("tool", {"number": number}, 0.001)

    assert sorted(file.name for file in tmp_path.glob("audit*.?")) == ["audit.jsonl.1", "audit.jsonl.2"]
    kept = "".join(file.read_text() for file in tmp_path.glob("audit.jsonl*"))
    assert '"number":49' in kept
