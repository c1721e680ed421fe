"""`synapse-mcp doctor`: each kind of trouble, made for real, is told with what mends it."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synapse_core.home import Home
from synapse_mcp.checks import check_home
from synapse_mcp.cli import app
from synapse_mcp.running_servers import servers_of_home
from synapse_mcp.settings import Settings


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "person"
    folder.mkdir()
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder


def doctor(*arguments: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


def fix_of(told: dict, code: str) -> str:
    (problem,) = (each for each in told["problems"] if each["code"] == code)
    return problem["fix"]


def test_a_fresh_home_is_in_order_and_every_check_is_told(home):
    code, told = doctor()

    assert told["problems"] == []
    assert (code, told["ok"]) == (0, True)
    assert [each["check"] for each in told["checks"]] == [
        *("settings", "python", "packages", "home", "store", "secrets", "clients", "servers", "ports"),
        *("plugins", "ray", "backend", "runs"),
    ]
    printed = CliRunner().invoke(app, ["doctor"]).output
    assert "Everything is in order." in printed
    assert not (home / "synapse.db").exists() or (home / "synapse.db").stat().st_mode & 0o077 == 0


def test_profiles_and_tokens_that_others_can_read_are_mended_by_the_fix(tmp_path):
    config = Path(os.environ["SYNAPSE_CONFIG"])
    token = tmp_path / "a token"
    token.write_text("canary-0123456789")
    token.chmod(0o644)
    config.write_text(f"profiles:\n  lab:\n    token_path: {token}\n")
    config.chmod(0o644)

    code, told = doctor()
    assert code == 1
    subprocess.run(fix_of(told, "invalid_config"), shell=True, check=True)
    _, told = doctor()
    subprocess.run(fix_of(told, "secret_readable"), shell=True, check=True)

    assert doctor()[0] == 0
    assert "canary" not in json.dumps(told)
    token.unlink()
    assert "install -m 600" in fix_of(doctor()[1], "no_token_file")


def test_a_damaged_store_is_told_and_the_fix_makes_room_for_a_new_one(home):
    opened = Home(home)
    opened.runs.count_active()
    opened.close()
    file = home / "synapse.db"
    file.write_bytes(file.read_bytes()[:100] + os.urandom(8000))

    _, told = doctor()

    subprocess.run(fix_of(told, "store_damaged").partition(";")[0], shell=True, check=True)
    assert doctor()[0] == 0
    assert (home / "synapse.db.broken").exists()


def test_a_home_that_cannot_be_written_is_told(home):
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file, where a folder should be")

    code, told = doctor()

    assert code == 1
    assert shlex.quote(str(home)) in fix_of(told, "home_not_writable")


def test_a_full_disk_is_told(home, monkeypatch):
    monkeypatch.setattr("synapse_mcp.checks._LEAST_FREE_BYTES", 1 << 60)

    (problem,) = check_home(Settings.make()).problems

    assert problem.code == "disk_nearly_full"
    assert problem.fix.startswith("du -xh")


def test_a_broken_plugin_is_told_with_its_file_and_line(tmp_path):
    root = tmp_path / "plugins" / "broken"
    root.mkdir(parents=True)
    (root / "config.yaml").write_text("name: b\ncode: broken\nversion: 1.0.0\nactions:\n  go: 7\n")

    code, told = doctor("--plugins", str(tmp_path / "plugins"))

    assert code == 1
    (problem,) = told["problems"]
    assert problem["code"] == "broken_plugin"
    assert re.search(r"config\.yaml:5\b", problem["message"])
    assert problem["fix"]


def test_a_cluster_and_a_backend_that_are_down_are_told_within_three_seconds(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        address = "{}:{}".format(*taken.getsockname())
        config = Path(os.environ["SYNAPSE_CONFIG"])
        config.write_text(f"profiles:\n  lab:\n    backend_url: http://{address}\n")
        config.chmod(0o600)
        began = time.monotonic()
        code, told = doctor("--profile", "lab", "--ray-address", address)
        took = time.monotonic() - began

    assert code == 1
    assert {"ray_unavailable", "backend_unavailable"} <= {each["code"] for each in told["problems"]}
    assert all(each["fix"] for each in told["problems"])
    assert took < 15, "two waits of at most 1.5 s, and the checks, on a machine with other work"


def test_a_profile_that_is_not_there_is_a_finding_and_the_rest_is_told():
    code, told = doctor("--profile", "nowhere")

    assert code == 1
    assert "nowhere" in told["problems"][0]["message"]
    assert "python" in [each["check"] for each in told["checks"]]


def test_the_clients_that_know_the_server_are_named_and_a_lost_interpreter_is_told(person):
    CliRunner().invoke(app, ["install", "--client", "cursor"])
    _, told = doctor()
    (said,) = (each["said"] for each in told["checks"] if each["check"] == "clients")
    assert said == "cursor (user)"

    file = person / ".cursor/mcp.json"
    file.write_text(file.read_text().replace(sys.executable, "/gone/python"))
    code, told = doctor()

    assert code == 1
    words = shlex.split(fix_of(told, "client_command"))
    assert words[0] == "synapse-mcp"
    CliRunner().invoke(app, words[1:])
    assert doctor()[0] == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="the system does not tell of processes")
def test_a_server_that_has_lost_its_client_is_found(home):
    # The shell between ends at once; the server's input stays open by a pipe that we hold.
    reading, writing = os.pipe()
    hearing, telling = os.pipe()
    command = (
        f"exec {shlex.quote(sys.executable)} -m synapse_mcp </proc/self/fd/{reading} "
        f">/proc/self/fd/{telling} 2>/dev/null & echo $!"
    )
    shell = subprocess.run(
        ["/bin/sh", "-c", command], pass_fds=[reading, telling], stdout=subprocess.PIPE, text=True, check=True
    )
    pid = int(shell.stdout)
    try:
        os.write(writing, b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        assert os.read(hearing, 1), "it has started"
        (server,) = (each for each in servers_of_home(home) if each.pid == pid)
        status = Path(f"/proc/{pid}/status").read_text()
        assert server.is_orphan == ("PPid:\t1\n" in status)
        assert not server.is_outdated
    finally:
        for number in (reading, writing, hearing, telling):
            os.close(number)
        os.kill(pid, 15)
