"""Runs on a node that does not share the home's disk: everything arrives, whatever dies on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "far_node.py"
SCENARIOS = (
    "run_through",
    "flood",
    "crash",
    "stop",
    "stop_what_ignores_it",
    "ask",
    "messengers_are_killed",
    "node_is_lost",
)


def can_isolate() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], check=False).returncode == 0


pytestmark = [
    pytest.mark.ray("own"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        sys.platform != "linux" or not can_isolate(),
        reason="needs the right to make network, mount and host name namespaces (unshare), and `ip`",
    ),
]


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, dict[str, Any]]]:
    """What became of the run of every scenario, in the home."""
    # A short path: sockets lie below it.
    folder = Path(tempfile.mkdtemp(prefix="far-"))
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, str(PROGRAM), str(folder), *SCENARIOS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
    assert ended.returncode == 0, ended.stderr[-4000:]
    yield {each["scenario"]: each for each in map(json.loads, lines)}
    shutil.rmtree(folder)


def test_events_output_and_artifacts_arrive_whole(told):
    run = told["run_through"]

    assert run["host"] == "far-node"
    assert (run["state"], run["result"]) == ("succeeded", 9_000_000)
    assert run["seqs_are_whole"]
    assert "writing a file" in run["log"]
    assert run["artifacts"] == {"data.bin": 9_000_000}


def test_a_flood_of_events_arrives_whole(told):
    assert told["flood"]["state"] == "succeeded"
    assert told["flood"]["events"] > 40_000
    assert told["flood"]["seqs_are_whole"]


def test_a_worker_that_dies_leaves_what_it_had_written(told):
    run = told["crash"]

    assert (run["state"], run["failure"]) == ("failed", "worker_died")
    assert run["events"] == 5
    assert run["log"]


def test_a_stop_reaches_the_worker_and_its_rollbacks_run(told):
    assert told["stop"]["state"] == "stopped"
    assert "step prepare rolled back" in "\n".join(told["stop"]["log"])


def test_what_ignores_a_stop_is_killed_within_15_seconds(told):
    assert told["stop_what_ignores_it"]["state"] == "stopped"
    assert told["stop_what_ignores_it"]["seconds"] < 15


def test_an_answer_reaches_the_worker_and_is_not_left_behind(told):
    run = told["ask"]

    assert run["host"] == "far-node"
    assert run["result"]["data"]["name"] == "quite secret"
    assert "secret" not in run["left"]


def test_nothing_is_lost_or_doubled_when_the_messengers_are_killed(told):
    run = told["messengers_are_killed"]

    assert (run["state"], run["result"]["steps"]) == ("succeeded", 300)
    assert run["seqs_are_whole"]


def test_a_run_whose_node_died_is_lost_and_keeps_what_had_arrived(told):
    assert told["node_is_lost"]["state"] == "lost"
    assert told["node_is_lost"]["events"] == 5
