"""The switches of the server: what each does, where it may stand, and what a wrong value is answered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mcp import Client
from tool_calls import call, refused

from synapse_core.errors import InvalidRequest
from synapse_core.profile import SWITCH_KEYS
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings, parse_arguments
from synapse_mcp.switches import SWITCHES
from synapse_mcp.tools import TOOLS

# For each switch: a value in the profile, one of the environment, an argument, and what is then set.
EXAMPLES = {
    "read_only": (True, "no", ["--read-only"], "read_only", [True, False, True]),
    "toolsets": (
        ["core"],
        "data",
        ["--toolsets", "core,data"],
        "toolsets",
        [{"core"}, {"data"}, {"core", "data"}],
    ),
    "tools": ("get_run", "get_status,get_run", ["--tools", "get_status"], "tools", [1, 2, 1]),
    "exclude_tools": (["get_run"], "a,b", ["--exclude-tools", "c,d,e"], "exclude_tools", [1, 2, 3]),
    "allow_path": (["/a"], "/b:/c", ["--allow-path", "/d", "--allow-path", "/e"], "allowed_paths", [1, 2, 2]),
    "output_schemas": (True, "0", ["--output-schemas"], "output_schemas", [True, False, True]),
    "confirm": (False, "token", ["--confirm", "auto"], "confirm", ["off", "token", "auto"]),
    "audit": (False, "on", ["--audit", "off"], "audits", [False, True, False]),
    "otel": (True, "0", ["--otel"], "otel", [True, False, True]),
    "http": ("127.0.0.1:1", "127.0.0.1:2", ["--http", "127.0.0.1:3"], "http.port", [1, 2, 3]),
    "token_file": (
        "/a",
        "/b",
        ["--token-file", "/c"],
        "http.token_file",
        [Path("/a"), Path("/b"), Path("/c")],
    ),
    "allowed_host": (["a"], "b,c", ["--allowed-host", "d"], "http.allowed_hosts", [1, 2, 1]),
    "allowed_origin": (["a"], "b,c", ["--allowed-origin", "d"], "http.allowed_origins", [1, 2, 1]),
    "rate_limit": (1, "2", ["--rate-limit", "3"], "http.rate_limit", [1.0, 2.0, 3.0]),
}


def test_there_is_an_example_for_every_switch():
    assert set(EXAMPLES) == {switch.name for switch in SWITCHES} == set(SWITCH_KEYS)


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
def test_an_argument_goes_before_the_environment_and_that_before_the_profile(
    switch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    of_profile, of_environment, arguments, path, expected = EXAMPLES[switch.name]
    others = {"http": "127.0.0.1:0"} if path.startswith("http.") and switch.name != "http" else {}
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps({"default_profile": "lab", "profiles": {"lab": {**others, switch.name: of_profile}}})
    )
    config.chmod(0o600)

    def value(given: list[str]) -> object:
        found = parse_arguments(given)
        for name in path.split("."):
            found = getattr(found, name)
        return len(found) if isinstance(found, tuple) and isinstance(expected[0], int) else found

    found = [value([])]
    monkeypatch.setenv(switch.variable, of_environment)
    found += [value([]), value(arguments)]

    # Over HTTP the home is among the allowed paths, and nowhere else.
    assert found == expected


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        (
            "SYNAPSE_CONFIRM",
            "tokn",
            "SYNAPSE_CONFIRM is 'tokn'. Did you mean token, auto? It is one of auto, token, off.",
        ),
        ("SYNAPSE_READ_ONLY", "maybe", "SYNAPSE_READ_ONLY is 'maybe'. It is one of true, 1, yes, on"),
        ("SYNAPSE_RATE_LIMIT", "-1", "SYNAPSE_RATE_LIMIT is '-1'; it should be a number, 0 or more."),
        ("SYNAPSE_TOOLSETS", "cor", "There is no toolset 'cor'. Did you mean core?"),
        ("SYNAPSE_HTTP", "127.0.0.1", "'127.0.0.1' is no address to listen at. Give HOST:PORT"),
    ],
)
def test_a_wrong_value_ends_the_start_and_says_what_is_right(
    variable: str,
    value: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit) as ended:
        parse_arguments([])

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_tool_that_is_not_there_comes_with_the_nearest():
    with pytest.raises(InvalidRequest) as caught:
        build_server(Settings.make(tools="get_run,lst_runs"))
    assert "no tool 'lst_runs'" in caught.value.message
    assert "list_runs" in caught.value.hint
    assert caught.value.hint.count(",") <= 2
    with pytest.raises(InvalidRequest, match="leave no tool"):
        build_server(Settings.make(tools="stop_run", read_only=True))


@pytest.mark.anyio
async def test_the_switches_choose_the_tools():
    async def names(**switches: object) -> list[str]:
        async with Client(build_server(Settings.make(**switches))) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    reading = [spec.name for spec in TOOLS if spec.reads_only]
    assert await names(read_only=True) == reading
    assert await names(tools="stop_run,publish_plugin,get_run") == ["get_run", "stop_run", "publish_plugin"]
    assert await names(toolsets="core", read_only=True, exclude_tools="get_status") == [
        name for name in reading if name in await names(toolsets="core") and name != "get_status"
    ]


@pytest.mark.anyio
async def test_a_tool_that_is_not_shown_cannot_be_called_and_the_status_names_the_switches():
    async with Client(build_server(Settings.make(read_only=True, exclude_tools="list_models"))) as client:
        error = await refused(client, "run_action", plugin="hello", action="greet")
        status = await call(client, "get_status")
    async with Client(build_server(Settings.make())) as client:
        plain = await call(client, "get_status")

    assert error["code"] == "unknown_tool"
    assert status["switches"] == ["read_only", "exclude_tools=list_models"]
    assert "switches" not in plain


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_answers_fit_the_schemas_that_are_shown_on_request(mode: str):
    """The SDK's client checks every structured answer against the schema that the list had."""
    async with Client(build_server(Settings.make(output_schemas=True, toolsets="all")), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        await call(client, "get_status")
        await call(client, "list_plugins")
        await call(client, "describe_plugin", plugin="hello")
        await call(client, "describe_plugin", plugin="hello", action="greet")
        run = await call(client, "run_action", plugin="hello", action="greet", wait_seconds=50)
        await call(client, "run_action", plugin="hello", action="greet", dry_run=True)
        await call(client, "get_run", run_id=run["run_id"])
        await call(client, "list_runs")
        assert not (await client.call_tool("get_run_logs", {"run_id": run["run_id"]})).is_error
        await refused(client, "get_run", run_id="no-such-run")

    without = {name for name, tool in tools.items() if tool.output_schema is None}
    assert without >= {"get_run_logs", "preview_dataset"}
    assert not without & {"get_status", "run_action", "run_pipeline", "list_models", "deploy_model"}
    assert all(tool.output_schema["type"] == "object" for name, tool in tools.items() if name not in without)


def test_the_tests_run_without_the_users_switches():
    assert not [switch.variable for switch in SWITCHES if switch.variable in os.environ]
