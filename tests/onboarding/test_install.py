"""`synapse-mcp install`: the settings of each client, and that nothing in them is lost."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from synapse_mcp.cli import app
from synapse_mcp.client_config import CLIENTS, client_kind, entry_of, installed, uninstalled
from synapse_mcp.commented_json import NotJson, read_document, with_member, without_member

WITH_COMMENTS = """\
// my servers
{
    /* keep these */
    "SECTION": {
        "other": {"command": "x", "args": ["a//b", "/* no comment */"]}, // the other one
        "last": {
            "url": "https://example.test", // a comma too many follows
        },
    }, // end of servers
    "theme": "dark"
}
"""
TOML = """\
# my settings
model = "some-model"   # the usual one

[mcp_servers.other]
command = "x"
args = ["a"]

[profiles.fast]
model = "y"  # quick
"""


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder and a project in it, the present folder."""
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "person"
    (folder / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(folder / "project")
    return folder


USER_FILES = {
    "claude-code": ".claude.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
}
PROJECT_FILES = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
}
PLACES = [
    *((name, "user", path) for name, path in USER_FILES.items()),
    *((name, "project", f"project/{path}") for name, path in PROJECT_FILES.items()),
]


def install(*arguments: str):
    return CliRunner().invoke(app, ["install", *arguments], catch_exceptions=False)


def present(file: Path) -> str:
    """Return settings as such a client's user may have them."""
    if file.suffix == ".toml":
        return TOML
    section = "servers" if "vscode" in str(file) or "Code" in str(file) else "mcpServers"
    if "claude" in str(file).lower() or file.name == ".mcp.json":
        return json.dumps({"numStartups": 4, section: {"other": {"command": "x"}}, "é": "ü"}, indent=2)
    return WITH_COMMENTS.replace("SECTION", section)


def servers_in(file: Path) -> dict:
    if file.suffix == ".toml":
        return tomllib.loads(file.read_text())["mcp_servers"]
    value = read_document(file.read_text()).value
    return value["servers" if "vscode" in str(file) or "Code" in str(file) else "mcpServers"]


@pytest.mark.parametrize(("client", "scope", "path"), PLACES)
def test_the_server_is_put_in_beside_what_stands_there_and_taken_out_again(person, client, scope, path):
    file = person / path
    file.parent.mkdir(parents=True, exist_ok=True)
    before = present(file)
    file.write_bytes(before.encode())
    file.chmod(0o640)

    done = install("--client", client, "--scope", scope, "--", "--toolsets", "core", "--plugins", "mine")

    assert done.exit_code == 0, done.output
    assert "other" in servers_in(file)
    entry = servers_in(file)["synapse"]
    assert entry["command"] == sys.executable
    assert entry["args"] == [
        *("-m", "synapse_mcp", "--toolsets", "core"),
        *("--plugins", str(person / "project" / "mine")),
    ]
    assert entry["env"]["SYNAPSE_HOME"] == os.environ["SYNAPSE_HOME"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    # Every line that stood there still does.
    kept = [line.rstrip(", ") for line in before.splitlines() if line.strip()]
    text = file.read_text()
    assert all(line in text for line in kept)
    copy = file.with_name(file.name + ".before-synapse")
    assert copy.read_text() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640

    again = install("--client", client, "--scope", scope, "--", "--toolsets", "core", "--plugins", "mine")
    assert "already installed" in again.output
    assert file.read_text() == text
    assert sorted(each.name for each in file.parent.glob(f"{file.name}*")) == [file.name, copy.name]

    gone = install("--client", client, "--scope", scope, "--uninstall")
    assert gone.exit_code == 0, gone.output
    assert "synapse" not in servers_in(file)
    assert [line for line in file.read_text().splitlines() if line.strip()] == [
        line for line in before.splitlines() if line.strip()
    ]
    assert "not installed" in install("--client", client, "--scope", scope, "--uninstall").output


@pytest.mark.parametrize(("client", "scope", "path"), PLACES)
def test_where_nothing_stands_the_file_is_made_and_the_print_is_the_same(person, client, scope, path):
    printed = install("--client", client, "--scope", scope, "--print")
    shown = install("--client", client, "--scope", scope, "--dry-run")
    assert not (person / path).exists()
    assert "+" in shown.output
    assert sys.executable in shown.output

    done = install("--client", client, "--scope", scope)

    assert done.exit_code == 0, done.output
    file = person / path
    assert printed.stdout.partition("\n")[2] == file.read_text()
    assert printed.stdout.startswith(f"# {file}")
    assert stat.S_IMODE(file.stat().st_mode) == (0o600 if scope == "user" else 0o644)
    assert [each.name for each in file.parent.iterdir() if each.is_file()] == [file.name]


def test_the_entry_starts_a_server_from_anywhere(person):
    install("--client", "cursor", "--", "--toolsets", "core")
    entry = servers_in(person / ".cursor/mcp.json")["synapse"]
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    started = subprocess.Popen(
        [entry["command"], *entry["args"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        env={**os.environ, **entry["env"]},
    )
    try:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(json.dumps(hello).encode() + b"\n")
        started.stdin.flush()
        answer = json.loads(started.stdout.readline())
    finally:
        started.communicate(timeout=20)
    assert answer["result"]["serverInfo"]["name"] == "synapse-mcp"


def test_other_switches_bring_the_entry_up_to_date_and_leave_what_the_user_added(person):
    file = person / ".gemini/settings.json"
    install("--client", "gemini")
    settings_now = json.loads(file.read_text())
    settings_now["mcpServers"]["synapse"] |= {"trust": True, "env": {"HTTPS_PROXY": "http://p"}}
    file.write_text(json.dumps(settings_now))

    done = install("--client", "gemini", "--", "--toolsets", "core,data")

    assert "brought up to date" in done.output
    entry = servers_in(file)["synapse"]
    assert entry["trust"] is True
    assert entry["env"]["HTTPS_PROXY"] == "http://p"
    assert entry["args"][-1] == "core,data"


def test_a_link_stays_a_link(person):
    real = person / "dotfiles.json"
    real.write_text('{"mcpServers": {}}')
    (person / ".cursor").mkdir()
    (person / ".cursor/mcp.json").symlink_to(real)

    assert install("--client", "cursor").exit_code == 0

    assert (person / ".cursor/mcp.json").is_symlink()
    assert "synapse" in servers_in(real)


@pytest.mark.parametrize(
    ("client", "text", "words"),
    [
        ("cursor", '{"mcpServers": {,}}', "line 1"),
        ("cursor", '{"mcpServers": []}', "mcpServers should hold servers"),
        ("cursor", '{"mcpServers": {}, "mcpServers": {}}', "twice"),
        ("cursor", '{"mcpServers": {"synapse": {"command": "their-own"}}}', "another server"),
        ("cursor", "[1]", "should hold servers"),
        ("claude-desktop", '{"mcpServers": {}, // mine\n}', "Claude Desktop does not read"),
        ("codex", "a = [", "cannot be understood"),
        ("codex", "mcp_servers = 4\n", "should hold servers"),
        ("codex", '[mcp_servers.synapse]\nurl = "https://other.test"\n', "another server"),
    ],
)
def test_what_cannot_be_changed_safely_is_refused_and_stays_as_it_is(person, client, text, words):
    file = person / USER_FILES[client]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)

    done = install("--client", client)

    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert file.read_text() == text
    assert [each.name for each in file.parent.iterdir() if each.is_file()] == [file.name]


def test_a_file_that_changes_meanwhile_is_left_alone(person):
    kind = client_kind("claude-code")
    file = person / ".claude.json"
    file.write_text("{}")
    change = installed(kind, file, "synapse", entry_of(kind, [], {}))
    file.write_text('{"numStartups": 5}')

    with pytest.raises(Exception, match="changed by another program"):
        change.make()

    assert file.read_text() == '{"numStartups": 5}'
    assert sorted(each.name for each in person.iterdir() if each.is_file()) == [".claude.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "cursr"], "Did you mean cursor?"),
        (["--client", "claude-desktop", "--scope", "project"], "no settings of a project"),
        (["--client", "cursor", "--scope", "team"], "the scopes are user and project"),
        (["--client", "cursor", "--", "--toolset", "x", "--nothing"], "does not take these switches"),
        (["--client", "cursor", "--", "--toolsets", "cor"], "Did you mean core?"),
        (["--client", "cursor", "--", "--profile", "nowhere"], "has no profile"),
        (["--client", "cursor", "--", "--http", "127.0.0.1:1"], "started by you"),
        (["--client", "cursor", "--", "--profile", "ghp_" + "a" * 36], "holds a secret"),
    ],
)
def test_a_wrong_call_says_what_is_true_and_writes_nothing(person, arguments, words):
    done = install(*arguments)

    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert [each for each in person.rglob("*") if each.is_file()] == []


def test_secrets_are_neither_written_nor_shown(person, monkeypatch):
    monkeypatch.setenv("SYNAPSE_ACCESS_TOKEN", "canary-7f3a9b2c")
    file = person / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(
        '{\n  "mcpServers": {\n    "o": {"env": {"GITHUB_TOKEN": "ghp_' + "b" * 36 + '"}}\n  }\n}\n'
    )

    shown = install("--client", "cursor", "--dry-run")
    install("--client", "cursor")

    assert "ghp_" not in shown.output
    assert "canary" not in file.read_text() + shown.output


@pytest.mark.parametrize("name", list(CLIENTS))
def test_every_client_of_the_table_is_tested(name):
    assert name in USER_FILES
    assert (CLIENTS[name].project_file is None) == (name not in PROJECT_FILES)


# The editor of JSON

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), _json, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "synapse"]), _json, max_size=3),
    st.sampled_from([None, 1, 4, "\t"]),
    _json,
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_member_is_put_into_any_json_and_nothing_else_changes(top, servers, indent, value, eol):
    whole = {**top, "servers": servers}
    text = json.dumps(whole, indent=indent, ensure_ascii=False).replace("\n", eol)

    put = with_member(read_document(text), ("servers", "synapse"), value)

    assert json.loads(put) == {**whole, "servers": {**servers, "synapse": value}}
    assert "\r\n" not in text or not re.search(r"(?<!\r)\n", put)
    out = without_member(read_document(put), ("servers", "synapse"))
    left = {name: each for name, each in servers.items() if name != "synapse"}
    assert json.loads(out) == {**whole, "servers": left}
    if "synapse" not in servers and servers:
        assert out == text


@pytest.mark.parametrize(
    "text", ["{", "{'a': 1}", '{"a" 1}', '{"a": 1 "b": 2}', "[1 2]", "nul", "{} {}", '{"a": "\n"}', "/* x"]
)
def test_what_is_no_json_is_refused_with_its_line(text):
    with pytest.raises(NotJson, match="line 1"):
        read_document(text)


def test_taking_out_an_entry_keeps_the_comments_around_it():
    text = '{\n  "s": {\n    // one\n    "a": 1, // of a\n    // two\n    "b": 2 // of b\n  }\n}\n'

    assert read_document(without_member(read_document(text), ("s", "b"))).value == {"s": {"a": 1}}
    without_a = without_member(read_document(text), ("s", "a"))
    assert read_document(without_a).value == {"s": {"b": 2}}
    assert "// two" in without_a
    assert uninstalled(client_kind("cursor"), Path("/nowhere/mcp.json"), "x").new is None
