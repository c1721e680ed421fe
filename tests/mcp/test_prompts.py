"""Prompts, guides and skills: the same texts by every door, with the state of a run as it is now."""

from __future__ import annotations

import hashlib
import json

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND, Request, RequestParams, Result
from tool_calls import call, refused, text_of

from synapse_mcp.guides import guide, topics
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings
from synapse_mcp.skills import SKILLS

pytestmark = pytest.mark.anyio

ARGUMENTS = {
    "create_plugin": {"idea": "count the cats in a picture and say so"},
    "convert_dataset": {"path": "/data/cats", "to": "yolo"},
    "train_and_deploy": {"dataset": "/data/cats", "plugin": "digits_classifier"},
    "annotate_tasks": {"plugin": "pre_annotate"},
    "publish_plugin": {"plugin": "mine"},
    "setup": {"profile": "lab"},
}
MOST_BYTES = 1_536


async def test_every_prompt_is_short_and_carries_what_was_given_and_its_guide(client):
    prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
    assert prompts == {*ARGUMENTS, "debug_run"} == set(topics())

    for name, arguments in ARGUMENTS.items():
        reply = await client.get_prompt(name, arguments)
        text = reply.messages[0].content.text
        assert guide(name) in text
        for value in arguments.values():
            assert json.dumps(value) in text, name
        assert len(text.encode()) <= MOST_BYTES, name


async def test_a_run_is_debugged_from_how_it_stands_now(client):
    reply = await client.call_tool(
        "run_action", {"plugin": "hello", "action": "misbehave", "params": {"way": "fail"}, "mode": "local"}
    )
    run_id = reply.structured_content["run"]["run_id"]

    text = (await client.get_prompt("debug_run", {"run_id": run_id})).messages[0].content.text

    assert f"run {run_id} hello/misbehave mode=local state=failed done=true" in text
    assert "asked to fail" in text
    nonce = text.partition("<log nonce=")[2].partition(" ")[0]
    assert f"</log nonce={nonce}>" in text
    assert guide("debug_run") in text
    assert len(text.encode()) <= MOST_BYTES


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("create_plugin", {}, "it needs idea. It takes: idea."),
        ("convert_dataset", {"path": "/x"}, "it needs to."),
        ("convert_dataset", {"path": "/x", "to": "yolo", "form": "x"}, "it has no argument 'form'"),
        ("annotate_tasks", {"plugn": "x"}, "Did you mean plugin"),
        ("debug_run", {"run_id": "run-nothing"}, "There is no run 'run-nothing'"),
        ("debug", {}, "Did you mean debug_run"),
    ],
)
async def test_a_wrong_argument_of_a_prompt_is_told(client, name, arguments, words):
    with pytest.raises(MCPError) as caught:
        await client.get_prompt(name, arguments)

    assert caught.value.code == INVALID_PARAMS
    assert words in caught.value.message


async def test_get_guide_tells_the_topics_and_each_of_them(client):
    listed = await call(client, "get_guide")
    assert tuple(listed["topics"]) == topics()

    for topic in topics():
        assert text_of(await client.call_tool("get_guide", {"topic": topic})) == guide(topic)

    error = await refused(client, "get_guide", topic="debugging run")
    assert "Did you mean debug_run" in error["message"]


class Params(RequestParams, extra="allow"):
    """What a request of the extension takes."""


class Told(Result, extra="allow"):
    """What it answers."""


async def ask(client, method, **params):
    request = Request[Params, str](method=method, params=Params(**params))
    return (await client.session.send_request(request, Told)).model_dump(by_alias=True)


async def test_the_guides_are_skills_whose_files_are_what_their_digests_say():
    async with Client(build_server(Settings.make())) as client:
        assert client.server_capabilities.extensions["io.modelcontextprotocol/skills"] == {
            "directoryRead": True
        }
        listed = (await ask(client, "skills/list"))["skills"]
        assert [skill["frontmatter"]["name"] for skill in listed] == list(SKILLS)
        for skill in listed:
            for file in skill["resources"]:
                text = (await client.read_resource(file["uri"])).contents[0].text.encode()
                assert file["digest"] == f"sha256:{hashlib.sha256(text).hexdigest()}"
                assert file["size"] == len(text)
        body = (await client.read_resource("skill://debug-run/SKILL.md")).contents[0].text
        assert body.startswith("---\nname: debug-run\ndescription: ")
        assert body.endswith(guide("debug_run"))

        assert (await ask(client, "skills/get", uri=listed[0]["uri"]))["skill"] == listed[0]
        inside = (await ask(client, "resources/directory/read", uri="skill://convert-dataset"))["resources"]
        assert [entry["name"] for entry in inside] == ["SKILL.md", "references"]
        deeper = (await ask(client, "resources/directory/read", uri=inside[1]["uri"]))["resources"]
        assert [entry["name"] for entry in deeper] == ["formats.md", "losses.md"]

        with pytest.raises(MCPError) as caught:
            await ask(client, "skills/get", uri="skill://debug-rum/SKILL.md")
        assert caught.value.data["nearest"][0] == "skill://debug-run/SKILL.md"


async def test_the_legacy_era_has_no_requests_about_skills():
    async with Client(build_server(Settings.make()), mode="legacy") as client:
        with pytest.raises(MCPError) as caught:
            await ask(client, "skills/list")

    assert caught.value.code == METHOD_NOT_FOUND
