"""What can be read without calling a tool: resources, their links and completions, in both eras."""

from __future__ import annotations

import json

import pytest
from mcp import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
)
from tool_calls import call

from synapse_mcp.completions import SOURCES
from synapse_mcp.links import link, without_links
from synapse_mcp.resources import RESOURCES
from synapse_mcp.tools import TOOLS

pytestmark = pytest.mark.anyio


async def read(client, uri):
    return (await client.read_resource(uri)).contents[0]


async def read_json(client, uri):
    content = await read(client, uri)
    assert content.mime_type == "application/json"
    assert len(content.text) <= 40_000
    return json.loads(content.text)


async def finished(client, **params):
    return await call(client, "run_action", plugin="hello", action="greet", params=params, mode="local")


async def test_the_lists_are_the_table(client):
    fixed = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates

    # Besides the table there is the page of a run.
    assert [each.uri for each in fixed] == [
        *(spec.uri for spec in RESOURCES if spec.is_fixed),
        "ui://synapse/run",
    ]
    assert [each.uri_template for each in templates] == [spec.uri for spec in RESOURCES if not spec.is_fixed]
    for each in (*fixed, *templates):
        assert each.title
        assert each.description
        assert each.mime_type


async def test_the_server_tells_about_itself(client):
    assert (await read_json(client, "synapse://status"))["ok"] is True
    guides = (await read_json(client, "synapse://guides"))["guides"]
    assert {"topic": "debug_run", "title": "Debug a run", "uri": "synapse://guides/debug_run"} in guides
    for entry in guides:
        content = await read(client, entry["uri"])
        assert content.mime_type == "text/markdown"
        assert content.text.startswith(f"# {entry['title']}\n")
    schemas = await read_json(client, "synapse://schemas")
    assert set(schemas["tools"]) == {spec.handler.__name__ for spec in TOOLS} - {
        "get_run_logs",
        "preview_dataset",
        "plot_run",
    }
    run = schemas["$defs"]["RunRecord"]["properties"]
    assert {"run_id", "done", "next"} <= set(run)


async def test_a_plugin_and_the_whole_schema_of_an_action(client):
    plugin = await read_json(client, "synapse://plugins/hello")
    assert [action["name"] for action in plugin["actions"]] == ["greet", "misbehave"]

    schema = await read_json(client, "synapse://plugins/hello/actions/greet/schema")

    assert schema["params_schema"]["properties"]["repeat"]["maximum"] == 1_000_000
    assert set(schema["result_schema"]["properties"]) == {"text", "steps"}


async def test_a_run_is_its_record_its_fenced_log_and_its_events(client):
    run = await finished(client, repeat=3)
    uri = f"synapse://runs/{run['run_id']}"

    record = await read_json(client, uri)
    assert (record["run_id"], record["done"], record["result"]["steps"]) == (run["run_id"], True, 3)
    events = await read_json(client, f"{uri}/events")
    assert [events["events"][0]["kind"], events["events"][-1]["kind"]] == ["run_started", "succeeded"]
    assert events["left_out"] == 0
    log = await read(client, f"{uri}/log")
    assert log.mime_type == "text/plain"
    assert "<log nonce=" in log.text
    assert "Hello, world!" in log.text


async def test_a_huge_log_and_a_flood_of_events_are_cut_and_say_how_to_get_the_rest(client, home):
    run = await finished(client, repeat=3_000)
    with open(home / "runs" / run["run_id"] / "output.log", "a") as output:
        output.writelines(f"line {number} {'x' * 60}\n" for number in range(20_000))

    log = (await read(client, f"synapse://runs/{run['run_id']}/log")).text
    assert 30_000 < len(log) <= 40_000
    assert "truncated=true" in log
    assert f'get_run_logs(run_id="{run["run_id"]}", cursor=0)' in log
    assert "line 19999 " in log
    events = await read_json(client, f"synapse://runs/{run['run_id']}/events")
    assert events["left_out"] > 2_000
    assert events["events"][-1]["kind"] == "succeeded"


async def test_what_is_kept_on_the_backend_is_read_by_name(client, tmp_path):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    made = await client.call_tool("register_model", {"name": "digits", "source": str(weights)})
    link = made.content[1]

    by_link = await read_json(client, link.uri)
    by_id = await read_json(client, f"synapse://models/{by_link['id']}")

    assert link.type == "resource_link"
    assert by_id == by_link
    assert by_link["model"] == "digits@1"


async def test_answers_link_to_what_they_are_about_and_stay_small(client):
    reply = await client.call_tool("run_action", {"plugin": "hello", "action": "greet", "mode": "local"})
    run_id = reply.structured_content["run_id"]

    assert [part.uri for part in reply.content[1:]] == [
        f"synapse://runs/{run_id}",
        f"synapse://runs/{run_id}/log",
    ]
    size = sum(len(part.model_dump_json(by_alias=True, exclude_none=True)) for part in reply.content[1:])
    assert size < 400
    for part in reply.content[1:]:
        assert (await read(client, part.uri)).text
    failed = await client.call_tool(
        "run_action", {"plugin": "hello", "action": "misbehave", "params": {"way": "fail"}, "mode": "local"}
    )
    assert failed.is_error
    assert failed.content[2].uri.endswith("/log")


@pytest.mark.parametrize(
    ("uri", "nearest"),
    [
        ("synapse://plugins/helo", "hello"),
        ("synapse://plugins/hello/actions/gret/schema", "greet"),
        ("synapse://guides/debug", "debug_run"),
        ("synapse://plugins/..%2F..%2Fetc", None),
        ("synapse://runs/..%2F..%2Fetc%2Fpasswd", None),
        ("synapse://runs/run-nothing/log", None),
        ("synapse://models/nothing", None),
        ("synapse://deployments/nothing", None),
        ("synapse://statu", "synapse://status"),
        ("synapse://runs/a/b/c", "synapse://runs/{run_id}"),
        ("skill://debug-rum/SKILL.md", "debug-run"),
    ],
)
async def test_what_is_not_there_is_told_with_the_nearest(client, uri, nearest):
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)

    assert caught.value.code == INVALID_PARAMS
    assert caught.value.data["uri"] == uri
    assert isinstance(caught.value.data["nearest"], list)
    if nearest is not None:
        assert nearest in caught.value.data["nearest"]


async def test_an_unknown_run_is_told_with_the_ids_of_runs(client):
    run = await finished(client)

    with pytest.raises(MCPError) as caught:
        await client.read_resource(f"synapse://runs/{run['run_id'][:-1]}!")

    assert caught.value.data["nearest"] == [run["run_id"]]
    assert run["run_id"] in caught.value.message


async def test_secrets_are_masked_here_too(client, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "canary-4711-canary")
    run = await finished(client, name="canary-4711-canary")

    for part in ("", "/log", "/events"):
        text = (await read(client, f"synapse://runs/{run['run_id']}{part}")).text
        assert "canary" not in text
        assert "***" in text


async def test_each_resource_says_how_long_it_keeps(client):
    guides = await client.read_resource("synapse://guides")
    status = await client.read_resource("synapse://status")
    tools = await client.list_tools()

    if client.protocol_version >= "2026":
        assert (guides.ttl_ms, guides.cache_scope) == (3_600_000, "public")
        assert (status.ttl_ms, status.cache_scope) == (1_000, "private")
        assert tools.ttl_ms == 300_000


async def test_every_variable_and_argument_can_be_completed(client):
    run = await finished(client)
    variables = {name for spec in RESOURCES for name in spec.template.variable_names}
    prompts = (await client.list_prompts()).prompts
    arguments = {argument.name for prompt in prompts for argument in prompt.arguments or ()}
    assert variables | arguments == set(SOURCES)

    async def completed(ref, name, value, **others):
        reply = await client.complete(ref, {"name": name, "value": value}, context_arguments=others or None)
        return reply.completion.values

    def template(uri):
        return ResourceTemplateReference(type="ref/resource", uri=uri)

    def prompt(name):
        return PromptReference(type="ref/prompt", name=name)

    assert await completed(template("synapse://plugins/{code}"), "code", "hel") == ["hello"]
    assert await completed(template("synapse://plugins/{code}"), "code", "HELLP") == ["hello"]
    schema = template("synapse://plugins/{code}/actions/{action}/schema")
    assert await completed(schema, "action", "", code="hello") == ["greet", "misbehave"]
    assert await completed(schema, "action", "") == []
    assert await completed(schema, "action", "", code="nothing") == []
    runs = template("synapse://runs/{run_id}/log")
    assert await completed(runs, "run_id", run["run_id"][:8]) == [run["run_id"]]
    assert await completed(template("synapse://guides/{topic}"), "topic", "de") == ["debug_run"]
    assert await completed(template("synapse://models/{id}"), "id", "") == []
    assert await completed(template("synapse://deployments/{name}"), "name", "") == []
    assert await completed(prompt("debug_run"), "run_id", "run-") == [run["run_id"]]
    assert await completed(prompt("convert_dataset"), "to", "yol") == ["yolo"]
    assert await completed(prompt("convert_dataset"), "path", "/") == []
    assert await completed(prompt("nothing"), "path", "") == []
    assert await completed(template("synapse://nothing/{id}"), "id", "") == []


def test_a_client_of_a_time_before_links_gets_none():
    content = [TextContent(type="text", text="{}"), link("runs", "run-1", "log")]
    answer = CallToolResult(content=content)

    assert without_links(answer, "2025-06-18") == answer
    assert [part.type for part in without_links(answer, "2025-03-26").content] == ["text"]
