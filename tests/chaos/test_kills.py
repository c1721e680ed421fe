"""Whatever is killed, at any moment: nothing recorded is lost, nothing runs twice, the end is told truly."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests_support import RawServer

from synapse_core.events import RunStarted, Succeeded, is_terminal
from synapse_core.executors.ray import RayCluster
from synapse_core.executors.ray.head import HeadRecord
from synapse_core.run_folder import RunFolder
from synapse_core.runs.tail import iterate_events

pytestmark = [pytest.mark.ray("own"), pytest.mark.timeout(7200)]

# Who is killed, and in which modes the run may be.
VICTIMS = {
    "client": ("local", "task"),
    "server": ("local", "task"),
    "supervisor": ("local",),
    "worker": ("local", "task"),
    "raylet": ("task",),
    "head": ("task",),
}
# A run that goes on by itself, and so has to succeed whatever happened to who watched it.
UNHARMED = ("client", "server")
SHORT_ROUNDS = 6
LONG_ROUNDS = 200
STEPS = 40

CLIENT = """
import json
import os
import sys
import anyio
from mcp import Client, StdioServerParameters

async def main():
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "synapse_mcp"], env=dict(os.environ)
    )
    async with Client(command) as client:
        run = (await client.call_tool("run_action", json.loads(sys.argv[1]))).structured_content
        print(run["run_id"], flush=True)
        await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 50})

anyio.run(main)
"""


@pytest.fixture
def ray_stopped(home: Path) -> Iterator[None]:
    yield
    RayCluster(home).stop()


def begin(server: RawServer, arguments: dict[str, Any]) -> str:
    server.send(2, "run_action", **arguments)
    return server.answer()["run_id"]


def begin_by_client(home: Path, arguments: dict[str, Any]) -> tuple[subprocess.Popen[str], str]:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, msgspec.json.encode(arguments).decode()],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SYNAPSE_HOME": str(home)},
        stderr=subprocess.DEVNULL,
    )
    return client, client.stdout.readline().strip()


def kill(victim: str, home: Path, folder: RunFolder) -> None:
    """Kill -9 a process of the run or of the cluster, if it is there at this moment."""
    claim = folder.claimed()
    process = None
    if victim in ("raylet", "head"):
        with suppress(FileNotFoundError):
            record = msgspec.json.decode((home / "ray" / "cluster.json").read_bytes(), type=HeadRecord)
            process = record.raylet if victim == "raylet" else record.gcs
    elif claim is not None:
        process = claim.supervisor if victim == "supervisor" else claim.worker
    if process is not None:
        process.send(signal.SIGKILL)


def ended(server: RawServer, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        server.send(4, "get_run", run_id=run_id, wait_seconds=20)
        run = server.answer()
        if run["done"]:
            return run
    raise AssertionError(f"{run_id} did not end: {run}")


def one_kill(home: Path, number: int, victim: str, chance: random.Random) -> str:
    """Kill one thing at a random moment of a run, and hold the record against what happened."""
    arguments = {
        "plugin": "hello",
        "action": "greet",
        "params": {"repeat": STEPS, "sleep_seconds": 0.02, "name": f"round {number}"},
        "mode": chance.choice(VICTIMS[victim]),
        "run_key": f"round-{number}",
        "wait_seconds": 0,
    }
    server = None if victim == "client" else RawServer.started(home)
    client = None
    if server is None:
        client, run_id = begin_by_client(home, arguments)
    else:
        run_id = begin(server, arguments)
    folder = RunFolder(home / "runs" / run_id)
    time.sleep(chance.random() * 1.6)  # the moment is what is random here, nothing is waited for
    if client is not None:
        client.kill()
        client.communicate()
    elif victim == "server":
        server.kill()
    else:
        kill(victim, home, folder)
    recorded = folder.events.read_bytes() if folder.events.exists() else b""

    asked = server if server is not None and victim != "server" else RawServer.started(home)
    began = time.monotonic()
    asked.send(3, "get_run", run_id=run_id)
    told = asked.answer()
    took = time.monotonic() - began
    run = ended(asked, run_id)
    asked.send(5, "run_action", **arguments)
    again = asked.answer()
    asked.kill()

    story = f"round {number}: {victim} killed, {arguments['mode']}, {told['state']} -> {run['state']}"
    events = list(iterate_events(folder.events))
    assert took < 2.0, f"{story}: the next answer took {took:.2f} s"
    assert not recorded or folder.events.read_bytes().startswith(recorded), story
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), story
    assert sum(isinstance(event, RunStarted) for event in events) <= 1, story
    assert sum(is_terminal(event) for event in events) <= 1, story
    has_succeeded = bool(events) and isinstance(events[-1], Succeeded)
    assert (run["state"] == "succeeded") is has_succeeded, story
    assert again.get("run", again)["run_id"] == run_id, story
    if victim in UNHARMED:
        assert run["state"] == "succeeded", story
    else:
        assert run["state"] in ("succeeded", "failed", "lost"), story
    return story


@pytest.mark.usefixtures("unconnected", "ray_stopped")
def test_kills_at_random_moments(home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    # Seconds. A raylet that dies while a server joins it is waited for by Ray itself, by default for 60 s.
    monkeypatch.setenv("RAY_gcs_server_request_timeout_seconds", "20")
    is_long = request.config.getoption("--chaos-long")
    seed = 20261121
    chance = random.Random(seed)
    victims = list(VICTIMS)
    # The cluster is started beforehand, so that the first rounds kill runs and not its start.
    RayCluster(home).connect()
    RayCluster(home).disconnect()

    stories = [
        one_kill(home, number, victims[number % len(victims)], chance)
        for number in range(LONG_ROUNDS if is_long else SHORT_ROUNDS)
    ]

    print("\n".join(stories))
