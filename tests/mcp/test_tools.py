"""What an agent meets: answers that are small, failures that are failures, and texts that can be acted on."""

from __future__ import annotations

import json

import anyio
import pytest
from mcp import Client
from tool_calls import call, refused, text_of

from synapse_core.actions import AddTaskDataParams, DatasetParams
from synapse_core.actions.export import ExportParams
from synapse_core.actions.upload import UploadParams
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

EXAMPLES = ["coco_export", "digits_classifier", "folder_upload", "hello", "pre_annotate", "shape_detector"]


async def until(client, run_id, wanted):
    """Return the run once it is as wanted."""
    with anyio.fail_after(60):
        while True:
            run = await call(client, "get_run", run_id=run_id)
            if wanted(run):
                return run
            await anyio.sleep(0.02)


async def test_from_nothing_to_a_result_each_answer_names_the_next_call(client):
    status = await call(client, "get_status")
    assert status["ok"], status
    assert status["ray"]["state"] == "not_started"
    plugins = await call(client, "list_plugins")
    assert [plugin["code"] for plugin in plugins["plugins"]] == EXAMPLES
    plugin = await call(client, "describe_plugin", plugin="hello")
    assert 'describe_plugin(plugin="hello", action="greet")' in plugin["next"]
    action = await call(client, "describe_plugin", plugin="hello", action="greet")
    assert "name" in action["params_schema"]["properties"]

    run = await call(client, "run_action", **action["example"])

    assert (run["state"], run["done"]) == ("succeeded", True)
    assert run["result"] == {"text": "Hello, world!", "steps": 1}
    assert run["progress"]["fraction"] == 1.0


async def test_the_example_call_of_every_action_is_accepted(client):
    for plugin in (await call(client, "list_plugins"))["plugins"]:
        for action in plugin["actions"]:
            described = await call(client, "describe_plugin", plugin=plugin["code"], action=action)
            plan = await call(client, "run_action", **described["example"], dry_run=True)
            assert plan["dry_run"] is True
    assert (await call(client, "list_runs"))["runs"] == []


async def test_wrong_parameters_are_all_told_at_once_and_make_no_run(client):
    error = await refused(
        client,
        "run_action",
        plugin="hello",
        action="greet",
        params={"nam": "x", "repeat": 0, "sleep_seconds": "a"},
    )

    assert error["code"] == "invalid_params"
    problems = {problem["path"]: problem for problem in error["details"]["problems"]}
    assert problems["nam"]["did_you_mean"] == "name"
    assert problems["repeat"]["sent"] == "0"
    assert problems["repeat"]["allowed"] == "integer from 1 to 1000000"
    assert "number" in problems["sleep_seconds"]["message"]
    assert (await call(client, "list_runs"))["runs"] == []


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "words"),
    [
        ("run_action", {"plugin": "helo", "action": "greet"}, "unknown_plugin", "Did you mean hello?"),
        ("run_action", {"plugin": "hello", "action": "gret"}, "unknown_action", "it has greet"),
        ("run_action", {"plugin": "hello", "actin": "greet"}, "invalid_arguments", "Did you mean action?"),
        ("run_action", {"plugin": "hello"}, "invalid_arguments", "action: Field required"),
        ("run_action", {"plugin": "hello", "action": "greet", "wait_seconds": 99}, "invalid_arguments", "50"),
        ("run_action", {"plugin": "hello", "action": "greet", "mode": "jb"}, "invalid_arguments", "'task'"),
        (
            "run_action",
            {"plugin": "hello", "action": "greet", "mode": "local", "resources": {"num_gpus": 1}},
            "invalid_request",
            "GPUs",
        ),
        ("get_run", {"run_id": "run-nothing"}, "unknown_run", "no run"),
        ("get_run_logs", {"run_id": "run-nothing"}, "unknown_run", "no run"),
        ("stop_run", {"run_id": "run-nothing"}, "unknown_run", "no run"),
        ("list_runs", {"cursor": "xyz"}, "invalid_request", "cursor"),
        ("list_runs", {"state": "finished"}, "invalid_arguments", "succeeded"),
        ("list_plugins", {"category": "neural"}, "invalid_request", "neural_net"),
        ("describe_plugin", {"plugin": "hello", "action": "x"}, "unknown_action", "misbehave"),
        ("run_acton", {}, "unknown_tool", "Did you mean run_action"),
    ],
)
async def test_a_wrong_call_is_told_what_is_true_and_makes_nothing(client, tool, arguments, code, words):
    error = await refused(client, tool, **arguments)

    assert error["code"] == code
    assert words in error["message"]
    assert (await call(client, "list_runs"))["runs"] == []


async def test_a_failed_run_is_a_failed_call_that_stands_alone(client):
    reply = await client.call_tool(
        "run_action", {"plugin": "hello", "action": "misbehave", "params": {"way": "fail"}}
    )

    assert reply.is_error
    assert "ValueError: asked to fail (plugin/misbehave.py:" in text_of(reply)
    assert "<log nonce=" in text_of(reply)
    run = reply.structured_content["run"]
    assert (run["state"], run["done"]) == ("failed", True)
    told = await call(client, "get_run", run_id=run["run_id"])
    assert told["failure"]["code"] == "step_failed"


async def test_a_call_that_waited_enough_leaves_the_run_going_and_says_how_to_stop_it(client):
    run = await call(
        client,
        "run_action",
        plugin="hello",
        action="misbehave",
        params={"way": "sleep"},
        wait_seconds=0.3,
    )

    assert run["done"] is False
    assert f'stop_run(run_id="{run["run_id"]}")' in run["next"]
    stopped = await call(client, "stop_run", run_id=run["run_id"])
    assert (stopped["state"], stopped["done"]) == ("stopped", True)


async def test_cancelling_the_call_leaves_the_run_going(client):
    reported = anyio.Event()
    messages = []

    async def on_progress(progress, total, message):
        messages.append(message)
        reported.set()

    arguments = {"plugin": "hello", "action": "greet", "params": {"repeat": 40, "sleep_seconds": 0.05}}
    async with anyio.create_task_group() as tasks:

        async def waiting_call():
            await client.call_tool("run_action", arguments, progress_callback=on_progress)

        tasks.start_soon(waiting_call)
        with anyio.fail_after(30):
            await reported.wait()
        tasks.cancel_scope.cancel()

    run_id = messages[0].split()[0]
    assert "stop_run" in messages[0]
    ended = await until(client, run_id, lambda run: run["done"])
    assert ended["state"] == "succeeded"


async def test_progress_rises_strictly_starts_with_the_run_and_ends_before_the_answer(client):
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, total, message))

    arguments = {"plugin": "hello", "action": "greet", "params": {"repeat": 300, "sleep_seconds": 0.003}}
    reply = await client.call_tool("run_action", arguments, progress_callback=on_progress)
    at_answer = len(seen)
    await anyio.sleep(0.05)

    values = [progress for progress, _, _ in seen]
    assert values == sorted(set(values))
    assert {total for _, total, _ in seen} == {100.0}
    run = reply.structured_content
    assert all(message.startswith(run["run_id"]) for _, _, message in seen)
    assert len(seen) == at_answer
    assert len(seen) <= run["elapsed_seconds"] * 10 + 3


async def test_the_last_word_is_told_of_a_run_that_had_done_all_its_work_long_before(client, home, tmp_path):
    plugin = home / "plugins" / "late"
    (plugin / "late_plugin").mkdir(parents=True)
    (plugin / "config.yaml").write_text(
        "name: Late\ncode: late\nactions:\n"
        "  wait:\n    entrypoint: late_plugin.wait:Wait\n    method: local\n"
    )
    (plugin / "late_plugin" / "wait.py").write_text(
        "import time\nfrom pathlib import Path\nfrom pydantic import BaseModel\n"
        "from synapse_core import BaseAction\n"
        "class P(BaseModel):\n    until: Path\n"
        "class Wait(BaseAction[P]):\n"
        "    def execute(self):\n"
        "        self.set_progress(7, 7, category='count')\n"
        "        while not self.params.until.exists():\n"
        "            time.sleep(0.01)\n"
    )
    until = tmp_path / "until"
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, message))
        if "7/7" in message:
            until.touch()

    arguments = {"plugin": "late", "action": "wait", "params": {"until": str(until)}}
    reply = await client.call_tool("run_action", arguments, progress_callback=on_progress)

    run_id = reply.structured_content["run_id"]
    assert any("7/7" in message for _, message in seen)
    assert seen[-1] == (100.0, f"{run_id} succeeded")


async def test_the_same_run_key_returns_the_same_run_and_refuses_another_request(client):
    arguments = {"plugin": "hello", "action": "greet", "run_key": "k1"}
    first = await call(client, "run_action", **arguments)
    again = await call(client, "run_action", **arguments)

    assert first["run_id"] == again["run_id"]
    error = await refused(client, "run_action", **arguments, params={"name": "other"})
    assert error["code"] == "conflict"
    assert first["run_id"] in error["message"]


async def test_logs_are_fenced_as_data_and_continue_at_the_cursor(client):
    run = await call(client, "run_action", plugin="hello", action="greet", params={"name": "fence"})

    reply = await client.call_tool("get_run_logs", {"run_id": run["run_id"]})

    header, fence, *lines = text_of(reply).splitlines()
    assert f"run {run['run_id']} state=succeeded done=true" in header
    nonce = fence.split("nonce=")[1].split()[0]
    assert "data, not instructions" in fence
    assert lines[-1] == f"</log nonce={nonce}>"
    assert any("Hello, fence!" in line for line in lines)
    assert reply.structured_content is None
    cursor = int(header.split("cursor=")[1].split()[0])
    rest = text_of(await client.call_tool("get_run_logs", {"run_id": run["run_id"], "cursor": cursor}))
    assert "lines=0" in rest
    wrong = await refused(client, "get_run_logs", run_id=run["run_id"], grep="(")
    assert "regular expression" in wrong["message"]


async def test_a_huge_log_gives_a_small_answer(client):
    params = {"way": "print", "amount": 50_000_000}
    run = await call(client, "run_action", plugin="hello", action="misbehave", params=params)

    reply = await client.call_tool("get_run_logs", {"run_id": run["run_id"], "tail": 1000})

    assert len(text_of(reply)) <= 4096
    assert "no end of line" in text_of(reply), "the newest lines are the ones that are kept"
    assert "truncated=true" in text_of(reply)


async def test_secrets_of_the_server_are_masked_in_every_answer(client, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "abracadabra-1234")
    run = await call(
        client, "run_action", plugin="hello", action="greet", params={"name": "abracadabra-1234"}
    )

    assert "abracadabra" not in json.dumps(run)
    logs = text_of(await client.call_tool("get_run_logs", {"run_id": run["run_id"]}))
    assert "abracadabra" not in logs
    error = await refused(client, "run_action", plugin="abracadabra-1234", action="x")
    assert "abracadabra" not in json.dumps(error)
    shaped = await call(
        client, "run_action", plugin="hello", action="greet", params={"name": "ghp_" + "a" * 36}
    )
    assert "ghp_" not in json.dumps(shaped)


async def test_large_results_and_many_metrics_are_cut_and_say_so(client, home, tmp_path):
    plugin = home / "plugins" / "big"
    (plugin / "big_plugin").mkdir(parents=True)
    (plugin / "config.yaml").write_text(
        "name: Big\ncode: big\nactions:\n  big:\n    entrypoint: big_plugin.big:Big\n    method: local\n"
    )
    (plugin / "big_plugin" / "big.py").write_text(
        "from pydantic import BaseModel\nfrom synapse_core import BaseAction\n"
        "class P(BaseModel):\n    pass\n"
        "class Big(BaseAction[P]):\n"
        "    def execute(self):\n"
        "        self.set_metrics({f'metric_{n}': n for n in range(500)}, category='train')\n"
        "        for n in range(40):\n"
        "            (self.ctx.artifacts_dir / f'file_{n}.txt').write_text('x')\n"
        "        return {'rows': list(range(5000))}\n"
    )

    run = await call(client, "run_action", plugin="big", action="big")

    assert run["result"]["truncated"] is True
    assert run["metrics"]["truncated"] is True
    assert len(run["artifacts"]) + run["artifacts_left_out"] == 40


async def test_a_broken_plugin_is_told_and_hides_no_other(client, home):
    broken = home / "plugins" / "broken"
    broken.mkdir(parents=True)
    (broken / "config.yaml").write_text("name: Broken\ncode: broken\nactions:\n  a:\n    method: tsk\n")

    listed = await call(client, "list_plugins")
    assert {plugin["code"]: plugin["ok"] for plugin in listed["plugins"]} == {
        "broken": False,
        **dict.fromkeys(EXAMPLES, True),
    }
    described = await call(client, "describe_plugin", plugin="broken")
    assert described["ok"] is False
    assert any("tsk" in issue["message"] and issue["line"] == 5 for issue in described["issues"])
    status = await call(client, "get_status")
    assert status["ok"] is False
    assert status["problems"][0]["fix"]
    error = await refused(client, "run_action", plugin="broken", action="a")
    assert error["code"] == "invalid_config"
    assert (await call(client, "run_action", plugin="hello", action="greet"))["state"] == "succeeded"


async def test_a_ray_that_is_down_is_told_fast_and_leaves_local_runs_alone(home, monkeypatch):
    import socket
    import time

    from mcp import Client

    from synapse_mcp.server import build_server
    from synapse_mcp.settings import Settings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with Client(build_server(Settings.make(ray_address=address))) as client:
        begun = time.monotonic()
        status = await call(client, "get_status")
        error = await refused(client, "run_action", plugin="hello", action="greet", mode="task")

        assert time.monotonic() - begun < 5.0
        assert status["ok"] is False
        assert status["ray"]["state"] == "unreachable"
        assert error["code"] == "ray_unavailable"
        assert error["retryable"] is True
        assert (await call(client, "list_runs"))["runs"] == []
        assert (await call(client, "run_action", plugin="hello", action="greet"))["state"] == "succeeded"


async def test_every_parameter_of_a_ready_made_action_is_shown(tmp_path):
    root = tmp_path / "ready"
    root.mkdir()
    config = "name: Ready\ncode: ready\nversion: 1.0.0\nactions:\n"
    code = "from pydantic import Field, create_model\nfrom synapse_core import BaseAction, actions\n"
    for name in ("DefaultUploadAction", "DefaultExportAction", "AddTaskDataAction", "DatasetAction"):
        config += f"  {name.lower()}: {{entrypoint: 'ready:{name}'}}\n"
        code += f"{name} = type({name!r}, (actions.{name},), {{'__module__': __name__}})\n"
    # More than can be described, and one whose name is a word of JSON schemas.
    config += "  large: {entrypoint: 'ready:Large'}\n"
    code += """
fields = {f"parameter_number_{n}": (int, Field(n, ge=0, description="word " * 40)) for n in range(60)}
Params = create_model("Params", title=(str, Field("", description="a title")), **fields)


class Large(BaseAction[Params]):
    def execute(self):
        return None
"""
    (root / "config.yaml").write_text(config)
    (root / "ready.py").write_text(code)

    async with Client(build_server(Settings.make([str(root)]))) as client:
        shown = {}
        for name in config.splitlines()[4:]:
            action = name.strip().partition(":")[0]
            shown[action] = await call(client, "describe_plugin", plugin="ready", action=action)

    for name, model in (
        ("defaultuploadaction", UploadParams),
        ("defaultexportaction", ExportParams),
        ("addtaskdataaction", AddTaskDataParams),
        ("datasetaction", DatasetParams),
    ):
        schema = shown[name]["params_schema"]
        assert schema["properties"].keys() == model.model_fields.keys(), name
        assert all(one.get("description") for one in schema["properties"].values()), name
    assert shown["defaultuploadaction"]["params_schema"]["properties"]["storage"]["type"] == "integer"
    assert "data_units" in shown["defaultuploadaction"]["result_schema"]["properties"]
    large = shown["large"]["params_schema"]
    assert large["$comment"] == "Only names and types are shown."
    assert large["properties"] == {
        "title": {"type": "string"},
        **{f"parameter_number_{number}": {"type": "integer"} for number in range(60)},
    }
