"""What an agent meets when it runs several actions as one run."""

from __future__ import annotations

import json

import anyio
import pytest
from pipeline_plugins import write_plugins
from tool_calls import call, refused, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def plugins(home):
    return write_plugins(home / "plugins")


async def test_training_and_evaluating_is_one_run_with_an_entry_for_each(client):
    run = await call(
        client,
        "run_pipeline",
        actions=["digits_classifier/train", "digits_classifier/evaluate"],
        params={"epochs": 2},
        mode="local",
        wait_seconds=50,
    )

    assert (run["state"], run["done"], run["mode"]) == ("succeeded", True, "local")
    assert [(action["name"], action["state"]) for action in run["actions"]] == [
        ("train", "succeeded"),
        ("evaluate", "succeeded"),
    ]
    assert run["result"]["accuracy"] > 0.8
    assert run["result"]["accuracy"] == run["metrics"]["train/test"]["accuracy"], "on the same scans"
    assert {artifact["name"] for artifact in run["artifacts"]} == {"model.pkl", "confusion.csv"}
    assert run["metrics"]["evaluate/test"]["accuracy"] == run["result"]["accuracy"]
    listed = (await call(client, "list_runs", plugin="digits_classifier"))["runs"]
    assert [(line["action"], line["run_id"]) for line in listed] == [("train+evaluate", run["run_id"])]


async def test_a_graph_is_given_as_objects_and_a_dry_run_shows_the_plan_and_makes_nothing(client):
    actions = [
        {"action": "parts/add", "name": "a"},
        {"action": "others/double", "name": "left", "after": ["a"]},
        {"action": "parts/add", "name": "right", "after": ["a"], "params": {"by": 5}, "max_attempts": 2},
    ]
    plan = await call(client, "run_pipeline", actions=actions, params={"total": 1}, dry_run=True)

    assert (plan["dry_run"], plan["mode"], plan["params"]) == (True, "local", {"total": 1})
    assert plan["actions"] == [
        {"name": "a", "action": "parts/add"},
        {"name": "left", "action": "others/double", "after": ["a"]},
        {"name": "right", "action": "parts/add", "after": ["a"], "params": {"by": 5}, "max_attempts": 2},
    ]
    assert (await call(client, "list_runs"))["runs"] == []

    run = await call(client, "run_pipeline", actions=actions, params={"total": 1}, wait_seconds=50)
    assert run["result"] == {"left": {"total": 4}, "right": {"total": 7}}


@pytest.mark.parametrize(
    ("actions", "code", "words"),
    [
        (["prts/add"], "unknown_plugin", "Did you mean parts"),
        (["parts/ad"], "unknown_action", "it has add"),
        (["add"], "invalid_request", "'plugin/action'"),
        ([], "invalid_request", "at least one"),
        ([3], "invalid_request", "3 is no action"),
        ([{"actin": "parts/add"}], "invalid_request", "Did you mean action"),
        ([{"action": "parts/add", "after": "x"}], "invalid_request", "array"),
        ([{"action": "parts/add", "max_attempts": "x"}], "invalid_request", "max_attempts"),
        (["parts/make", "parts/take_model"], "incompatible_types", "takes model"),
        (["parts/make", "parts/add"], "invalid_params", "add.total"),
        ("parts/add", "invalid_arguments", "list"),
    ],
)
async def test_a_wrong_pipeline_is_told_what_is_true_and_makes_nothing(client, actions, code, words):
    error = await refused(client, "run_pipeline", actions=actions)

    assert error["code"] == code
    assert words in error["message"]
    assert (await call(client, "list_runs"))["runs"] == []


async def test_a_failed_pipeline_names_the_action_and_is_resumed_from_there(client):
    actions = ["parts/add", "parts/fail", "parts/add"]
    reply = await client.call_tool(
        "run_pipeline", {"actions": actions, "params": {"total": 1}, "wait_seconds": 50}
    )

    assert reply.is_error
    assert "Action 'fail' failed: ValueError: not repaired yet" in text_of(reply)
    run = reply.structured_content["run"]
    assert f'resume_from="{run["run_id"]}"' in text_of(reply)
    assert f'resume_from="{run["run_id"]}"' in run["next"]
    assert [action["state"] for action in run["actions"]] == ["succeeded", "failed", "pending"]
    assert run["actions"][1]["failure"].startswith("execution_failed: ")
    resumed = {"actions": actions, "params": {"repaired": True}, "resume_from": run["run_id"]}
    plan = await call(client, "run_pipeline", **resumed, dry_run=True)
    assert [action.get("is_skipped", False) for action in plan["actions"]] == [True, False, False]
    done = await call(client, "run_pipeline", **resumed, wait_seconds=50)
    assert [action["state"] for action in done["actions"]] == ["skipped", "succeeded", "succeeded"]
    assert done["result"] == {"total": 3}


async def test_another_run_cannot_be_resumed(client):
    single = await call(client, "run_action", plugin="parts", action="add", params={"total": 1})

    for run_id, code, words in (
        ("run-nothing", "unknown_run", "no run"),
        (single["run_id"], "invalid_request", "not a pipeline"),
    ):
        error = await refused(
            client, "run_pipeline", actions=["parts/add"], params={"total": 1}, resume_from=run_id
        )
        assert (error["code"], words in error["message"]) == (code, True)


async def test_the_same_run_key_returns_the_same_pipeline(client):
    arguments = {"actions": ["parts/add", "parts/add"], "run_key": "k"}
    first = await call(client, "run_pipeline", **arguments, params={"total": 1}, wait_seconds=50)
    again = await call(client, "run_pipeline", **arguments, params={"total": 1}, wait_seconds=50)

    assert first["run_id"] == again["run_id"]
    error = await refused(client, "run_pipeline", **arguments, params={"total": 2})
    assert error["code"] == "conflict"


async def test_progress_names_the_action_that_is_under_way_and_rises(client):
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, message))

    reply = await client.call_tool(
        "run_pipeline",
        {
            "actions": ["parts/add", {"action": "parts/sleep", "params": {"seconds": 1}}],
            "params": {"total": 1},
            "wait_seconds": 50,
        },
        progress_callback=on_progress,
    )

    assert not reply.is_error, text_of(reply)
    values = [value for value, _ in seen]
    assert values == sorted(set(values))
    assert any(" sleep 1/2" in message for _, message in seen), seen


async def test_a_pipeline_that_goes_on_is_stopped_with_all_its_actions(client):
    run = await call(
        client, "run_pipeline", actions=["parts/add", "parts/sleep"], params={"total": 1}, wait_seconds=0.2
    )
    assert run["done"] is False
    with anyio.fail_after(60):
        while run["actions"][1]["state"] != "running":
            run = await call(client, "get_run", run_id=run["run_id"])

    stopped = await call(client, "stop_run", run_id=run["run_id"])

    assert stopped["state"] == "stopped"
    assert [action["state"] for action in stopped["actions"]] == ["succeeded", "stopped"]


async def test_a_pipeline_of_very_many_actions_gives_a_small_answer(client):
    plan = await client.call_tool(
        "run_pipeline", {"actions": ["parts/add"] * 60, "params": {"total": 1}, "dry_run": True}
    )
    assert not plan.is_error
    run = await call(client, "run_pipeline", actions=["parts/add"] * 60, params={"total": 1}, wait_seconds=50)

    assert len(run["actions"]) + run["actions_left_out"] == 60
    assert run["result"] == {"total": 61}
    assert len(json.dumps(run)) <= 4096
