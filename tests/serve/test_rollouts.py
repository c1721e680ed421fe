"""Versions of a deployment: what takes over, what does not, and what goes on answering."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from serve.conftest import Aviary, Caller, until

from synapse_core.errors import DeploymentNotFound
from synapse_core.home import Home
from synapse_core.runs import Run

pytestmark = pytest.mark.ray("own")


def test_a_version_takes_over_only_when_it_has_answered(aviary: Aviary):
    """All of it in one test: every version takes Serve some seconds."""
    first = aviary.deploy("polly", aviary.model("one"))
    assert first.result["version"] == 1, first
    assert aviary.say("polly")["says"] == "one hi"

    with Caller(aviary, "polly") as caller:
        at_its_request = aviary.deploy("polly", aviary.model("two", fails="request"))
        at_its_start = aviary.deploy("polly", aviary.model("three", fails="load"))
        before = len(caller.said)
        last = aviary.deploy("polly", aviary.model("four"))
        assert aviary.say("polly")["says"] == "four hi"
    told = {"request": at_its_request.failure, "start": at_its_start.failure}

    assert caller.errors == []
    assert set(caller.said[:before]) == {"one hi"}
    assert sorted(set(caller.said[before:]), key=caller.said.index) == ["one hi", "four hi"]
    assert {failure.code for failure in told.values()} == {"deployment_failed"}
    assert "the beak does not open" in told["request"].message
    assert "the feathers are missing" in told["start"].message
    assert all("Version 1 serves on" in failure.hint for failure in told.values())
    assert last.result["replaced"] == 1
    assert aviary.served() == [f"polly--{last.result['version']}"]
    another_server = Home(aviary.home.path).deployments.get("polly")
    assert (another_server.state, another_server.replicas) == ("running", 1)
    assert another_server.probe["seconds"] > 0
    assert another_server.run_id == last.run_id


def test_a_first_version_that_fails_leaves_nothing(aviary: Aviary):
    ended = aviary.deploy("rio", aviary.model("five", fails="request"))

    assert ended.failure.code == "deployment_failed"
    assert aviary.served() == []
    with pytest.raises(DeploymentNotFound):
        aviary.home.deployments.get("rio")


def test_what_the_cluster_has_not_is_refused_before_anything_changes(aviary: Aviary):
    aviary.deploy("polly", aviary.model("one"))
    served = aviary.served()

    ended = aviary.deploy("polly", aviary.model("two"), num_gpus=1)
    crowd = aviary.deploy("polly", aviary.model("two"), replicas=100, num_cpus=1)

    assert "1 GPUs" in ended.failure.message
    assert "100 replicas" in crowd.failure.message
    assert aviary.served() == served
    assert aviary.say("polly")["says"] == "one hi"


def test_a_killed_replica_is_missed_and_replaced(aviary: Aviary):
    aviary.deploy("polly", aviary.model("one"))
    first = aviary.say("polly")["pid"]

    os.kill(first, signal.SIGKILL)
    answer = until(aviary, "polly")

    assert answer["says"] == "one hi"
    assert answer["pid"] != first


def test_deployments_of_two_names_at_once_do_not_lose_each_other(aviary: Aviary):
    ended: dict[str, Run] = {}

    def deploy(name: str) -> None:
        ended[name] = aviary.deploy(name, aviary.model(name))

    threads = [threading.Thread(target=deploy, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: run.state.value for name, run in ended.items()} == {
        "left": "succeeded",
        "right": "succeeded",
    }
    assert aviary.say("left")["says"] == "left hi"
    assert aviary.say("right")["says"] == "right hi"
    aviary.home.deployments.delete("left")
    assert aviary.say("right")["says"] == "right hi"
    assert [each.name for each in aviary.home.deployments.list()] == ["right"]


def test_a_class_with_its_own_routes_is_deployed_where_it_wants_to_be(aviary: Aviary):
    model = aviary.model("own")

    ended = aviary.deploy("birds", model, action="deploy_own_routes", replicas=2)

    assert ended.failure is None, ended.failure
    assert ended.result["app_name"] == "birds"
    found = aviary.home.deployments.get("birds")
    assert found.url.endswith("/birds")
    assert (found.replicas, found.replicas_wanted) == (2, 2)
    assert aviary.home.deployments.call("birds", ["hi"]).results == [{"says": "own hi"}]
    assert aviary.post("birds", b'{"inputs": ["hi"]}').status_code == 401
