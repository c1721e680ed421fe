"""Nine works of an agent, done by one that knows how, one that guesses and one without patience.

All of them come to the same end: nothing twice, nothing damaged, nothing called done that is not. A tenth
work, a deployment that fails, is beside the other deployments.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from mcp import StdioServerParameters
from scripted_agents import Impatient, Naive, Oracle, Refused, shown

pytestmark = pytest.mark.anyio

# Longer than the patience of the impatient one.
SLOW = {"repeat": 30, "sleep_seconds": 0.1}


@dataclass
class World:
    """Where an agent works. known: the runs of the works before."""

    home: Path
    folder: Path
    known: set[str] = field(default_factory=set)

    async def new_runs(self, agent: Oracle) -> list[str]:
        listed = (await agent.call("list_runs"))["runs"]
        return [run["run_id"] for run in listed if run["run_id"] not in self.known]

    def plugin(self, code: str, source: str, config: str) -> Path:
        root = self.home / "plugins" / code
        root.mkdir(parents=True)
        (root / f"{code}.py").write_text(source)
        (root / "config.yaml").write_text(config)
        return root


@pytest.mark.parametrize("kind", [Oracle, Naive, Impatient])
async def test_nine_works_come_to_their_end(kind, home, tmp_path, capsys):
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp", "--allow-path", str(tmp_path)],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
    world = World(home, tmp_path)
    async with kind(server) as agent:
        for work in WORKS:
            agent.calls = agent.bytes = 0
            await work(agent, world)
            with capsys.disabled():
                print(shown(agent, work.__name__))
            world.known.update(await world.new_runs(agent))


async def what_is_wrong_is_found_and_mended(agent: Oracle, world: World):
    source = (
        "from synapse_core import BaseAction\n\n\n"
        "class Add(BaseAction):\n    def execute(self):\n        return 1 + 1\n"
    )
    config = "name: Adder\ncode: adder\nversion: 1.0.0\nactions:\n  add: {method: local, entrypoint: 3}\n"
    root = world.plugin("adder", source, config)
    status = await agent.call("get_status")
    assert not status["ok"]
    (problem,) = status["problems"]
    assert problem["code"] == "broken_plugin"
    assert "config.yaml:5" in problem["message"]
    assert str(root / "config.yaml") in problem["fix"]

    (root / "config.yaml").write_text(config.replace("3", "'adder:Add'"))

    assert (await agent.call("get_status"))["ok"]
    run = await agent.finished(await agent.start("adder", "add", "once"))
    assert run["result"] == 2
    assert len(await world.new_runs(agent)) == 1


async def a_plugin_is_picked_and_run(agent: Oracle, world: World):
    plugin = await agent.plugin_for("greeting")
    described = await agent.call("describe_plugin", plugin=plugin, action="greet")
    params = {name: "Ada" for name in described["params_schema"]["properties"] if name == "name"}

    run = await agent.finished(await agent.start(plugin, "greet", "ada", **params))

    assert run["result"]["text"] == "Hello, Ada!"
    assert len(await world.new_runs(agent)) == 1


async def wrong_parameters_are_repaired_from_what_the_error_says(agent: Oracle, world: World):
    params: dict[str, object] = {"nam": "Ada", "repeat": "three"}
    with pytest.raises(Refused) as refused:
        await agent.start("hello", "greet", "mended", **params)
    for problem in refused.value.details["problems"]:
        value = params.pop(problem["path"])
        if problem["type"] == "unknown_key":
            params[problem["did_you_mean"]] = value
        else:
            assert problem["allowed"].startswith("integer")
            params[problem["path"]] = 3
    assert await world.new_runs(agent) == []

    run = await agent.finished(await agent.start("hello", "greet", "mended", **params))

    assert run["result"] == {"text": "Hello, Ada!", "steps": 3}
    assert len(await world.new_runs(agent)) == 1


async def a_run_longer_than_a_client_waits_is_one_run_and_ends_as_it_ended(agent: Oracle, world: World):
    run = await agent.finished(await agent.start("hello", "greet", "long", **SLOW))

    assert run["state"] == "succeeded"
    assert run["result"]["steps"] == SLOW["repeat"]
    assert await world.new_runs(agent) == [run["run_id"]]


async def a_run_is_found_again_after_the_server_was_killed(agent: Oracle, world: World):
    params = dict(SLOW)
    run = await agent.start("hello", "greet", "reattached", **params)
    living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    (process,) = [each for each in living if "synapse_mcp" in each.cmdline()]
    os.kill(process.pid, signal.SIGKILL)
    await agent.connect()

    assert await world.new_runs(agent) == [run["run_id"]]
    ended = await agent.finished(await agent.call("get_run", run_id=run["run_id"]))

    assert ended["state"] == "succeeded"
    assert ended["result"]["steps"] == params["repeat"]


async def the_cause_is_found_in_a_huge_log(agent: Oracle, world: World):
    source = (
        "from synapse_core import BaseAction\n\n\n"
        "class Read(BaseAction):\n"
        "    def execute(self):\n"
        "        for number in range(100_000):\n"
        "            print(f'sensor {number} is fine')\n"
        "            if number == 41_007:\n"
        "                print('ERROR sensor 41007 lost: voltage 0.3')\n"
        "        raise RuntimeError('a sensor is lost')\n"
    )
    config = (
        "name: Sensors\ncode: sensors\nversion: 1.0.0\n"
        "actions:\n  read: {method: local, entrypoint: 'sensors:Read'}\n"
    )
    world.plugin("sensors", source, config)

    run = await agent.finished(await agent.start("sensors", "read", "sensors"))
    assert run["state"] == "failed"
    assert "a sensor is lost" in run["failure"]["message"]
    assert "voltage" not in str(run)

    found = await agent.call("get_run_logs", run_id=run["run_id"], grep="ERROR|lost:")

    assert "sensor 41007 lost: voltage 0.3" in found
    assert agent.bytes < 20_000


async def the_right_one_of_two_runs_is_stopped(agent: Oracle, world: World):
    kept = await agent.start("hello", "greet", "kept", name="kept", **SLOW)
    wrong = await agent.start("hello", "greet", "wrong", name="wrong", repeat=3000, sleep_seconds=0.05)

    stopped = await agent.call("stop_run", run_id=wrong["run_id"])
    assert (await agent.finished(stopped))["state"] == "stopped"
    assert (await agent.call("stop_run", run_id=wrong["run_id"]))["state"] == "stopped"

    assert (await agent.finished(kept))["result"]["text"] == "Hello, kept!"
    assert len(await world.new_runs(agent)) == 2


async def a_conversion_tells_what_it_loses_and_leaves_its_source_as_it_is(agent: Oracle, world: World):
    source = world.folder / "coco"
    source.mkdir()
    (source / "annotations.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],'
        ' "categories": [{"id": 1, "name": "cat"}],'
        ' "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 300,'
        ' "iscrowd": 0, "segmentation": [[10, 10, 30, 10, 20, 30]]}]}'
    )
    before = (source / "annotations.json").read_bytes()
    asked = {"path": str(source), "to": "yolo", "output": str(world.folder / "yolo"), "images": "none"}
    asked["options"] = {"task": "detect"}

    planned = await agent.convert(**asked, dry_run=True)
    assert not (world.folder / "yolo").exists()
    made = await agent.convert(**asked)

    assert made["state"] == "succeeded"
    assert made["result"]["reasons"] == planned["result"]["reasons"]
    assert not made["result"]["is_lossless"]
    assert len(list((world.folder / "yolo").rglob("a.txt"))) == 1
    assert (source / "annotations.json").read_bytes() == before
    with pytest.raises(Refused):
        await agent.send("convert_dataset", asked)
    assert len(list((world.folder / "yolo").rglob("a.txt"))) == 1


async def a_plugin_is_written_and_run(agent: Oracle, world: World):
    written = await agent.call("create_plugin", code="word_counter")
    assert "run_action" in written["next"]

    run = await agent.finished(await agent.start("word_counter", written["actions"][0], "first"))

    assert run["state"] == "succeeded", run
    assert len(await world.new_runs(agent)) == 1
    before = (world.home / "plugins" / "word_counter" / "config.yaml").read_bytes()
    with pytest.raises(Refused):
        await agent.call("create_plugin", code="word_counter")
    assert (world.home / "plugins" / "word_counter" / "config.yaml").read_bytes() == before


WORKS = (
    what_is_wrong_is_found_and_mended,
    a_plugin_is_picked_and_run,
    wrong_parameters_are_repaired_from_what_the_error_says,
    a_run_longer_than_a_client_waits_is_one_run_and_ends_as_it_ended,
    a_run_is_found_again_after_the_server_was_killed,
    the_cause_is_found_in_a_huge_log,
    the_right_one_of_two_runs_is_stopped,
    a_conversion_tells_what_it_loses_and_leaves_its_source_as_it_is,
    a_plugin_is_written_and_run,
)
