"""Making plugins as an agent does: one call writes, its `next` runs, and the guide names what there is."""

from __future__ import annotations

import pytest
from mcp import Client
from tool_calls import call, refused

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio


async def test_one_call_writes_a_plugin_and_the_next_one_runs_it(client, home):
    made = await call(client, "create_plugin", code="word_tools", actions=["count_words"])

    assert made["root"] == str((home / "plugins" / "word_tools").resolve())
    assert set(made["files"]) >= {"config.yaml", "plugin/count_words.py", "tests/test_count_words.py"}
    assert made["next"] == 'run_action(plugin="word_tools", action="count_words")'
    run = await call(client, "run_action", plugin="word_tools", action="count_words")
    assert (run["state"], run["mode"], run["result"]["words"]) == ("succeeded", "local", 17)
    described = await call(client, "describe_plugin", plugin="word_tools")
    assert described["ok"], described


async def test_an_action_is_added_to_a_plugin_that_is_there(client):
    made = await call(client, "create_plugin", code="mine", category="data_validation")
    error = await refused(client, "create_plugin", code="mine", actions=["train"])
    assert error["code"] == "conflict"
    assert "the plugin 'Mine' with validate" in error["message"]
    assert "add=true" in error["hint"]

    added = await call(client, "create_plugin", code="mine", actions=["check_boxes=post_annotate"], add=True)

    assert added["root"] == made["root"]
    assert added["actions"] == ["check_boxes"]
    run = await call(client, "run_action", plugin="mine", action="check_boxes")
    assert run["result"]["kept"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"code": "../up"}, "invalid_request", "cannot be the code"),
        ({"code": "hello"}, "conflict", "belongs to the plugin in"),
        ({"code": "mine", "category": "neural"}, "invalid_arguments", "neural_net"),
        ({"code": "mine", "category": "neural_net", "actions": ["trian"]}, "not_found", "Did you mean train"),
        ({"code": "mine", "add": True}, "invalid_request", "the actions to put into it"),
        ({"code": "mine", "add": True, "actions": ["a"]}, "unknown_plugin", "no plugin"),
        ({"code": "hello", "add": True, "actions": ["main"]}, "invalid_request", "an example"),
    ],
)
async def test_what_cannot_be_written_is_told_and_nothing_is(client, home, arguments, code, words):
    error = await refused(client, "create_plugin", **arguments)

    assert error["code"] == code
    assert words in error["message"]
    assert not (home / "plugins" / "mine").exists()


async def test_a_plugin_is_made_where_the_server_finds_it_or_it_says_how(tmp_path):
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    mine.mkdir()
    async with Client(build_server(Settings.make([str(mine)]))) as client:
        made = await call(client, "create_plugin", code="one")
        assert made["root"] == str(mine / "one")

        made = await call(client, "create_plugin", code="two", path=str(elsewhere))
        assert made["root"] == str(elsewhere / "two")
        assert f"--plugins {elsewhere}" in made["next"]


async def test_only_allowed_folders_are_written_to(tmp_path, home):
    open_folder, closed = tmp_path / "open", tmp_path / "closed"
    open_folder.mkdir()
    closed.mkdir()
    settings = Settings.make([str(closed)], allow_paths=[str(open_folder)])
    async with Client(build_server(settings)) as client:
        error = await refused(client, "create_plugin", code="mine", path=str(closed))
        assert "outside the folders" in error["message"]
        error = await refused(client, "create_plugin", code="mine", path=str(open_folder / ".." / "closed"))
        assert "outside the folders" in error["message"]

        made = await call(client, "create_plugin", code="one", path=str(open_folder))
        assert made["root"] == str(open_folder / "one")
        made = await call(client, "create_plugin", code="two")
        assert made["root"] == str(home / "plugins" / "two")
    assert list(closed.iterdir()) == []


async def test_the_prompt_carries_the_idea_as_data_and_the_guide(client):
    reply = await client.get_prompt("create_plugin", {"idea": 'count "cats"\nand dogs'})

    text = reply.messages[0].content.text
    assert '"count \\"cats\\"\\nand dogs"' in text
    assert "create_plugin(code=…" in text
