"""A cluster of two nodes in a network of its own, of which the second does not have the home's disk.

`python far_node.py FOLDER SCENARIO` is run in a network namespace; it prints one line of JSON. The nodes are
this machine's, but the second lives in a mount namespace where the home and the plugins are empty folders,
and under a host name of its own. It has all the CPUs, so every run goes there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asking_plugin import write_asking

WAIT_SECONDS = 60.0
HERE = Path(__file__).resolve()


@contextmanager
def two_nodes(folder: Path) -> Iterator[str]:
    """Start both nodes and yield the cluster's address."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_JOB_STOP_WAIT_TIME_S": "10",
    }
    temp, far = folder / "ray", folder / "far"
    for each in (temp, far):
        each.mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], name: str, **variables: str) -> None:
        with open(folder / f"{name}.log", "wb") as log:
            processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**environment, **variables},
                    start_new_session=True,
                )
            )

    ray = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", "--block"]
    try:
        start(
            [
                *ray,
                "--head",
                "--num-cpus=0",
                "--port=6399",
                "--dashboard-host=127.0.0.1",
                f"--temp-dir={temp}",
            ],
            "head",
        )
        wait_for(lambda: _listens(6399), "the head listens", folder / "head.log")
        hidden = " && ".join(f"mount -t tmpfs none {folder / name}" for name in ("home", "plugins"))
        join = " ".join([*ray, "--address=127.0.0.1:6399", "--num-cpus=2"])
        start(
            ["unshare", "--mount", "--uts", "sh", "-c", f"hostname far-node && {hidden} && exec {join}"],
            "node",
            TMPDIR=str(far),
        )
        wait_for(
            lambda: b"started" in (folder / "node.log").read_bytes(), "the node runs", folder / "node.log"
        )
        yield "127.0.0.1:6399"
    finally:
        for process in reversed(processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(is_so: Callable[[], bool], what: str, log: Path | None = None) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {WAIT_SECONDS:g} s. {log.read_text() if log else ''}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class World:
    """Runs from a home that only the first node has."""

    def __init__(self, folder: Path, address: str) -> None:
        from synapse_core.executors.ray import RayActorExecutor, RayCluster
        from synapse_core.registry import Registry
        from synapse_core.runs import Runs

        self.home = folder / "home"
        self.registry = Registry([folder / "plugins"], self.home / "cache")
        self.cluster = RayCluster(self.home, address)
        self.runs = Runs(self.home, {"task": RayActorExecutor(cluster=self.cluster)})

    def begin(self, action: str, plugin: str = "hello", **params: Any) -> str:
        from synapse_core.runs.request import make_request

        request = make_request(self.registry, plugin, action, params, mode="task", modes=["task"])
        run, _ = self.runs.submit(request)
        self.runs.start(run.run_id)
        return run.run_id

    def until(self, run_id: str, wanted: Callable[[Any], bool]) -> Any:
        wait_for(lambda: wanted(self.runs.get(run_id)), f"{run_id} as wanted")
        return self.runs.get(run_id)

    def told(self, run: Any) -> dict[str, Any]:
        events = list(self.runs.events(run.run_id))
        claim = self.runs.folder(run.run_id).claimed()
        return {
            "state": run.state.value,
            "result": run.result,
            "failure": None if run.failure is None else run.failure.code,
            "seqs_are_whole": [event.seq for event in events] == list(range(1, len(events) + 1)),
            "events": len(events),
            "host": None if claim is None else claim.host,
            "log": self.runs.log(run.run_id, tail=1000).lines,
            "artifacts": {
                artifact.name: (self.runs.folder(run.run_id).path / artifact.uri).stat().st_size
                for artifact in run.artifacts
            },
        }


def run_through(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="artifact", amount=9_000_000)
    return world.told(world.until(run_id, lambda run: run.is_done))


def flood(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="flood_events", amount=20_000)
    return world.told(world.until(run_id, lambda run: run.is_done))


def crash(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="os_exit")
    return world.told(world.until(run_id, lambda run: run.is_done))


def stop(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="sleep")
    world.until(run_id, lambda run: run.progress.current == 1)
    return world.told(world.runs.stop(run_id))


def stop_what_ignores_it(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="ignore_stop")
    world.until(run_id, lambda run: run.state.value == "running" and run.last_seq > 1)
    began = time.monotonic()
    return {**world.told(world.runs.stop(run_id)), "seconds": time.monotonic() - began}


def ask(world: World) -> dict[str, Any]:
    run_id = world.begin("ask", "asking")
    world.until(run_id, lambda run: run.questions)
    world.runs.answer(run_id, "question-1", "accept", {"count": 3, "name": "quite secret"})
    told = world.told(world.until(run_id, lambda run: run.is_done))
    left = (world.runs.folder(run_id).path / "answers" / "question-1.json").read_text()
    return {**told, "left": left}


def messengers_are_killed(world: World) -> dict[str, Any]:
    """Kill -9 both actors that carry the files, twice, while a run writes."""
    run_id = world.begin("greet", repeat=300, sleep_seconds=0.02)
    for least in (40, 120):
        world.until(run_id, lambda run, least=least: run.last_seq > least)
        killed = _kill_actors("ray::Desk", "ray::Shipper")
        assert len(killed) == 2, killed
    return world.told(world.until(run_id, lambda run: run.is_done))


def node_is_lost(world: World) -> dict[str, Any]:
    run_id = world.begin("misbehave", way="sleep")
    world.until(run_id, lambda run: run.progress.current == 1)
    # The raylet first: it would tell the cluster what became of the others.
    _kill(lambda title, entry: title.endswith("raylet") and not _shares(entry, "uts"))
    _kill_actors("ray::Shipper", "ray::TaskWorker")
    return world.told(world.until(run_id, lambda run: run.is_done))


def _kill_actors(*names: str) -> list[str]:
    return _kill(lambda title, entry: title.startswith(names))


def _kill(is_meant: Callable[[str, Path], bool]) -> list[str]:
    """Kill -9 the processes of this network that are meant, by their title and their entry in /proc."""
    killed = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            if _shares(entry, "net") and is_meant(title, entry):
                os.kill(int(entry.name), signal.SIGKILL)
                killed.append(title)
    return killed


def _shares(entry: Path, namespace: str) -> bool:
    return (entry / "ns" / namespace).readlink() == Path("/proc/self/ns", namespace).readlink()


SCENARIOS = {
    function.__name__: function
    for function in (
        run_through,
        flood,
        crash,
        stop,
        stop_what_ignores_it,
        ask,
        messengers_are_killed,
        node_is_lost,
    )
}


def main(folder: Path, names: list[str]) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    plugins = HERE.parents[1] / "plugins"
    shutil.copytree(plugins / "hello", folder / "plugins" / "hello")
    write_asking(folder / "plugins")
    (folder / "home").mkdir()
    with two_nodes(folder) as address:
        world = World(folder, address)
        try:
            for name in names:
                print(json.dumps({"scenario": name, **SCENARIOS[name](world)}), flush=True)
        finally:
            world.runs.close()
            world.registry.close()
            world.cluster.disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
