"""The Ray cluster of a home: one daemon for all its processes, told truthfully, replaced when it dies.

Processes that connect are real ones, so that this one stays free of Ray and of its warnings.
"""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc  # noqa: F401  # 80 ms that are not what is measured
import pytest

from synapse_core.errors import InvalidRequest, RayUnavailable
from synapse_core.executors.ray import cluster as cluster_module
from synapse_core.executors.ray import connection as connection_module
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.head import HeadRecord, LocalHead, temp_folder
from synapse_core.executors.ray.head_processes import find_processes

# The variables of a machine whose owner has a secret, and another cluster in mind.
FOREIGN = {
    "SOME_API_KEY": "hush",
    "RAY_ADDRESS": "203.0.113.1:6379",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "1000000",
}

CONNECT = """
import json, sys
from pathlib import Path
from synapse_core.executors.ray.cluster import RayCluster

cluster = RayCluster(Path(sys.argv[1]), num_cpus=2)
for _ in sys.stdin:
    told = []
    status = cluster.connect(told.append)
    import ray
    answer = ray.get(ray.remote(lambda: 42).remote(), timeout=30)
    sys.__stdout__.write(json.dumps({"address": status.address, "told": told, "answer": answer}) + "\\n")
    sys.__stdout__.flush()
"""

pytestmark = pytest.mark.usefixtures("unconnected")


@dataclass
class Driver:
    """A process that connects to its home's cluster each time it is asked to, and runs a task there."""

    process: subprocess.Popen[str]

    def ask_to_connect(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("connect\n")
        self.process.stdin.flush()

    def reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # Ray prints the raylet's complaints to the same place.
            if line.startswith("{"):
                return dict(json.loads(line))
        raise AssertionError(f"the driver ended with {self.process.wait()}")

    def connect(self) -> dict[str, Any]:
        self.ask_to_connect()
        return self.reply()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def driver(home: Path) -> Iterator[Driver]:
    process = subprocess.Popen(
        [sys.executable, "-c", CONNECT, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **FOREIGN},
    )
    started = Driver(process)
    try:
        yield started
    finally:
        started.kill()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def record_of(home: Path) -> HeadRecord:
    record = LocalHead(home, 1).record()
    assert record is not None
    return record


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for the file. Its head is started where a test needs one, and stopped at the end."""
    home = tmp_path_factory.mktemp("home")
    yield home
    RayCluster(home).stop()


@pytest.fixture
def running(home: Path) -> Path:
    """The home, with a head whose starter is dead."""
    if RayCluster(home).status().state != "running":
        with driver(home) as starter:
            starter.connect()
    return home


# What can be said without Ray


def test_a_home_without_a_head_is_not_started(tmp_path: Path) -> None:
    with within(1.5):
        status = RayCluster(tmp_path).status()

    assert (status.state, status.address, status.cpus) == ("not_started", None, None)
    assert RayCluster(tmp_path).stop() is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["auto", "6379", "http://head:8265", "ray://head:10001", "head", "a b:1"])
def test_an_address_that_is_none_is_refused_when_it_is_given(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidRequest, match="host:port is"):
        RayCluster(tmp_path, address)


def test_ray_s_files_are_where_sockets_fit(tmp_path: Path) -> None:
    assert temp_folder(Path("/home/me")) == Path("/home/me/ray/t")
    assert len(os.fsencode(temp_folder(tmp_path / ("x" * 80)))) <= 36
    assert temp_folder(tmp_path / ("x" * 80)) != temp_folder(tmp_path / ("y" * 80))


def test_a_folder_that_somebody_else_made_is_not_used(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 80)
    private = temp_folder(home).parent
    private.symlink_to(tmp_path)
    try:
        with pytest.raises(RayUnavailable, match="is a link or belongs to another user"):
            LocalHead(home, 1).ensure(print)
    finally:
        private.unlink()


def test_a_head_that_does_not_start_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no memory today\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(RayUnavailable, match=r"ended with code 3.*no memory today") as failure:
        LocalHead(tmp_path, 1).ensure(print)

    assert "head.log" in str(failure.value.hint)
    assert LocalHead(tmp_path, 1).record() is None
    LocalHead(tmp_path, 1).stop()


def test_asking_for_the_status_does_not_import_ray(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from synapse_core.executors.ray.cluster import RayCluster;"
        "RayCluster(Path(sys.argv[1])).status(); RayCluster(Path(sys.argv[1]), '127.0.0.1:1').status();"
        "sys.exit('ray' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


# A named cluster that cannot be used


class HttpPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        pass


@contextlib.contextmanager
def nothing() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port: int = once.getsockname()[1]
    yield port


@contextlib.contextmanager
def a_silent_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def a_web_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), HttpPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (nothing, "nothing answers there"),
        (a_silent_server, "nothing there answered within"),
        (a_web_server, "not Ray's control service"),
    ],
)
def test_an_address_without_a_ray_cluster_fails_in_time(
    tmp_path: Path, server: Callable[[], contextlib.AbstractContextManager[int]], words: str
) -> None:
    with server() as port:
        cluster = RayCluster(tmp_path, f"127.0.0.1:{port}")
        with within(1.5):
            status = cluster.status()
        with within(5), pytest.raises(RayUnavailable, match=words) as failure:
            cluster.connect()

    assert status.state == "unreachable"
    assert words in status.message
    assert status.fix is not None
    assert failure.value.hint is not None
    assert not (tmp_path / "ray").exists()


# The home's own head


@pytest.mark.ray("own")
def test_two_processes_that_connect_at_once_start_one_head_which_outlives_them(home: Path) -> None:
    RayCluster(home).stop()
    with driver(home) as first, driver(home) as second:
        first.ask_to_connect()
        second.ask_to_connect()
        replies = [first.reply(), second.reply()]
        with within(2):
            again = first.connect()
        pids = [first.process.pid, second.process.pid]
        first.process.send_signal(signal.SIGKILL)

    assert [reply["answer"] for reply in replies] == [42, 42]
    assert replies[0]["address"] == replies[1]["address"] == again["address"]
    assert sum("Starting a local Ray cluster" in " ".join(reply["told"]) for reply in replies) == 1
    assert again["told"] == []

    with within(1.5):
        status = RayCluster(home).status()
    assert (status.state, status.address) == ("running", again["address"])
    assert (status.cpus, status.gpus) == (2.0, 0.0)
    assert status.free_cpus is not None
    assert status.ray_version == "2.60.0"
    assert not {process.pid for process in record_of(home).processes} & set(pids)


@pytest.mark.ray("own")
def test_the_head_listens_on_loopback_only(running: Path) -> None:
    inodes = set()
    for process in find_processes(running, record_of(running).processes):
        with contextlib.suppress(FileNotFoundError):  # idle workers of Ray end by themselves
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    listening = [
        fields[1].rpartition(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in map(str.split, Path(table).read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]

    assert len(listening) > 5
    # 127.0.0.1, and the same in an IPv6 socket.
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.mark.ray("own")
def test_the_head_wants_a_token_that_only_its_owner_can_read(running: Path) -> None:
    def get(token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{record_of(running).dashboard_url}/api/version", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    token = running / "ray" / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(record_of(running).temp_dir).parent.stat().st_mode) == 0o700
    assert [get(None), get("wrong"), get(token.read_text())] == [401, 403, 200]


@pytest.mark.ray("own")
def test_the_head_inherits_no_secret_and_nothing_that_is_meant_for_drivers(running: Path) -> None:
    environment = Path(f"/proc/{record_of(running).raylet.pid}/environ").read_text().split("\0")
    names = {entry.partition("=")[0] for entry in environment}

    assert "PATH" in names
    assert not names & set(FOREIGN)


@pytest.mark.ray("own")
def test_a_cluster_of_another_ray_version_is_refused(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "version", lambda package: "2.59.1")

    status = RayCluster(running).status()
    with within(5), pytest.raises(RayUnavailable, match=r"runs Ray 2\.60\.0, this process has 2\.59\.1"):
        RayCluster(running).connect()

    assert status.state == "unreachable"
    assert "synapse-mcp ray stop" in str(status.fix)


@pytest.mark.ray("own")
def test_a_named_cluster_that_wants_a_token_is_refused_without_it(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    cluster = RayCluster(tmp_path, record_of(running).address)

    with within(1.5):
        status = cluster.status()
    with within(5), pytest.raises(RayUnavailable, match="asks for a token, and none is set") as failure:
        cluster.connect()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with within(5), pytest.raises(RayUnavailable, match="refuses the one that is set"):
        cluster.connect()

    assert status.state == "unreachable"
    assert "RAY_AUTH_TOKEN_PATH" in str(failure.value.hint)


@pytest.mark.ray("own")
def test_a_named_cluster_without_a_node_on_this_machine_is_refused(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(running / "ray" / "token"))
    monkeypatch.setattr(connection_module, "_local_nodes", set)

    with within(5), pytest.raises(RayUnavailable, match="has no node on this machine"):
        RayCluster(tmp_path, record_of(running).address).connect()


@pytest.mark.ray("own")
def test_a_named_cluster_is_joined_with_the_user_s_token_and_never_stopped(
    running: Path, tmp_path: Path
) -> None:
    script = (
        # Ray first: whoever imports it before us must not spoil the connection.
        "import sys, ray; from pathlib import Path;"
        "from synapse_core.executors.ray.cluster import RayCluster;"
        "cluster = RayCluster(Path(sys.argv[1]), sys.argv[2]); assert cluster.connect().state == 'running';"
        "assert ray.get(ray.remote(lambda: 42).remote(), timeout=30) == 42;"
        "assert cluster.stop() is False; cluster.disconnect(); assert not ray.is_initialized()"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), record_of(running).address],
        env={**os.environ, "RAY_AUTH_TOKEN_PATH": str(running / "ray" / "token")},
        check=True,
        timeout=60,
    )

    assert RayCluster(running).status().state == "running"


@pytest.mark.ray("own")
def test_a_dead_head_is_replaced_and_whoever_was_connected_lives(running: Path) -> None:
    with driver(running) as connected:
        before = connected.connect()
        record = record_of(running)
        # The rest of the head is left over, as after a crash.
        record.gcs.send(signal.SIGKILL)
        record.raylet.send(signal.SIGKILL)
        while record.gcs.is_alive or record.raylet.is_alive:
            time.sleep(0.01)
        with within(1.5):
            status = RayCluster(running).status()
        after = connected.connect()
        left = [process for process in record.processes if process.is_alive]
        sessions = list(Path(record.temp_dir).glob("session_2*"))

    assert status.state == "not_started"
    assert "has died" in status.message
    assert after["answer"] == 42
    assert record_of(running).gcs != record.gcs
    # What hung in a call to the old head got an answer.
    assert after["address"] == before["address"]
    assert left == []
    assert len(sessions) == 1


@pytest.mark.ray("own")
def test_a_stopped_head_leaves_nothing_behind(running: Path) -> None:
    record = record_of(running)
    assert find_processes(running, record.processes)

    assert RayCluster(running).stop() is True

    assert find_processes(running, record.processes) == []
    assert not any(process.is_alive for process in record.processes)
    assert not Path(record.temp_dir).parent.exists()
    assert RayCluster(running).status().state == "not_started"
    assert RayCluster(running).stop() is False
