"""Mode 'job': what only runs on Ray's Jobs API have, and the script's way to them, RayJobExecutor."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest
from tests_support import files_with, pid_is_alive

import synapse_core
from synapse_core.enums import RunState
from synapse_core.errors import (
    ActionNotFoundError,
    Conflict,
    InvalidRequest,
    RayUnavailable,
    RunFailed,
    RunNotFound,
    ValidationError,
)
from synapse_core.events import RunStarted
from synapse_core.executors import Liveness, ProcessExecutor
from synapse_core.executors.ray import RayJobExecutor, RayJobRuns, RayJobsApiExecutor
from synapse_core.executors.ray.job_ending import exit_of_job
from synapse_core.executors.ray.job_env import NO_FOLDER, entrypoint
from synapse_core.executors.ray.job_server import Job, JobServer
from synapse_core.executors.ray.package import package_name
from synapse_core.run_folder import RunFolder, RunRequest
from synapse_core.runs import Runs
from synapse_mcp.settings import example_plugins

SECRET = "s3cret-of-the-submitter"

CONFIG = """
name: Probe
code: probe
env:
  LEVEL: "3"
  PROBE_TOKEN:
actions:
  look: {entrypoint: "inner.probe:LookAction", method: job}
  speak: {entrypoint: "inner.probe:SpeakAction", method: job}
"""

CODE = '''
import os
import sys
import time

from pydantic import BaseModel

import synapse_core
from synapse_core import BaseAction


class LookParams(BaseModel):
    module: str | None = None
    names: list[str] = []


class LookAction(BaseAction[LookParams]):
    """Tells what a run sees."""

    def execute(self):
        found = __import__(self.params.module) if self.params.module else None
        return {
            "file": __file__,
            "python": sys.executable,
            "sdk": synapse_core.__file__,
            "version": getattr(found, "VERSION", None),
            "values": {name: self.ctx.env.get_str(name) for name in self.params.names},
            "weights": os.path.exists(os.path.join(os.path.dirname(__file__), "..", "weights.bin")),
        }


class SpeakParams(BaseModel):
    lines: int = 3
    pause: float = 0.0


class SpeakAction(BaseAction[SpeakParams]):
    """Says something, slowly, and not all of it in UTF-8."""

    def execute(self):
        for number in range(self.params.lines):
            print(f"line {number}", flush=True)
            time.sleep(self.params.pause)
        sys.stdout.buffer.write(b"raw \\xff\\xfe bytes\\nno end")
        sys.stdout.flush()
        return number
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin of the test's own."""
    root = tmp_path / "probe"
    (root / "inner").mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    (root / "inner" / "probe.py").write_text(CODE)
    return root


@pytest.fixture
def server(cluster) -> JobServer:
    """The job server of the session's cluster."""
    return JobServer(cluster.connect().dashboard_url, cluster.tokens)


@pytest.fixture
def executor(cluster, plugin):
    opened = RayJobExecutor(working_dir=plugin, cluster=cluster)
    yield opened
    opened.close()


@pytest.fixture
def hello(cluster):
    opened = RayJobExecutor(working_dir=example_plugins() / "hello", cluster=cluster)
    yield opened
    opened.close()


def until(wanted, seconds: float = 60.0):
    """Return what `wanted` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
    return found


def make_wheel(folder: Path, version: str) -> Path:
    """Make the wheel of a package with one module, which nobody else can have."""
    folder.mkdir(exist_ok=True)
    name = f"synapse_probe_dependency-{version}"
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("synapse_probe_dependency.py", f"VERSION = {version!r}\n")
        info = f"{name}.dist-info"
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: synapse-probe-dependency\nVersion: {version}\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


pytestmark = pytest.mark.ray


# Handing in


def test_a_run_that_is_handed_in_twice_is_one_job_and_runs_once(executor, server, home):
    run_id = executor.submit("look", job_id="my-own-id")
    again = executor.submit("look", job_id="my-own-id")

    assert executor.wait(run_id)["file"]
    assert again == run_id == "my-own-id"
    assert server.job(run_id) is not None
    assert server.submit(run_id, {"entrypoint": "exit 1"}) is False, "Ray refuses the id"
    events = (home / "runs" / run_id / "events.jsonl").read_text()
    assert events.count('"run_started"') == 1, events


def test_another_server_that_starts_the_run_again_changes_nothing(executor, cluster, home):
    run_id = executor.submit("speak", {"lines": 5, "pause": 0.1})
    folder = RunFolder(home / "runs" / run_id)

    other = RayJobRuns(cluster)
    other.start(folder, folder.request(), folder.note_waiting)

    assert executor.wait(run_id) == 4
    assert executor.get_logs(run_id).count("line 0\n") == 1
    other.close()


def test_an_id_that_stands_for_another_request_is_refused(executor):
    run_id = executor.submit("look", {"names": ["A"]}, job_id="taken")

    with pytest.raises(Conflict, match="taken"):
        executor.submit("look", {"names": ["B"]}, job_id="taken")
    with pytest.raises(InvalidRequest, match="cannot be an id"):
        executor.submit("look", job_id="../elsewhere")
    executor.wait(run_id)


def test_a_run_whose_submitter_died_is_looked_up_at_ray_before_it_is_given_up(executor, cluster, home):
    """The submitter of a row that was made from a folder is unknown, as if it had died."""
    run_id = executor.submit("speak", {"pause": 0.5})
    looking = Runs(home, {"local": ProcessExecutor(), "job": RayJobRuns(cluster)}, adopts=False)

    seen = looking.get(run_id)

    assert seen.state in (RunState.QUEUED, RunState.RUNNING)
    assert "has died" not in (seen.waiting or "")
    assert looking.wait(run_id, 60).state is RunState.SUCCEEDED
    looking.close()


def test_what_no_node_could_ever_give_is_refused(cluster, plugin):
    greedy = RayJobExecutor(working_dir=plugin, cluster=cluster, num_gpus=1)

    with pytest.raises(InvalidRequest, match="asks for 1 GPUs"):
        greedy.submit("look")


# The script's way


def test_an_action_is_given_by_its_name_by_its_path_or_as_its_class(executor, cluster, plugin, monkeypatch):
    monkeypatch.syspath_prepend(str(plugin))
    from inner.probe import LookAction

    of_class = RayJobsApiExecutor(cluster=cluster)
    runs = [
        (executor, executor.submit("look")),
        (executor, executor.submit("inner.probe.LookAction")),
        (of_class, of_class.submit(LookAction, {"names": []})),
    ]

    for opened, run_id in runs:
        assert Path(opened.wait(run_id)["file"]) == plugin / "inner" / "probe.py", "read where it is"
    with pytest.raises(ValidationError, match="names"):
        of_class.submit(LookAction, {"names": 3})
    with pytest.raises(ActionNotFoundError, match="it has look, speak"):
        executor.submit("lok")


def test_the_status_goes_from_pending_to_succeeded_and_the_result_comes_from_the_record(
    executor, cluster, home
):
    run_id = executor.submit("speak", {"lines": 2, "pause": 0.3})
    seen = set()
    until(lambda: seen.add(executor.get_status(run_id)) or "SUCCEEDED" in seen)

    assert seen <= {"PENDING", "RUNNING", "SUCCEEDED"}
    assert executor.get_result(run_id) == 1
    with pytest.raises(RunNotFound):
        executor.get_status("run-nobody")
    runs = Runs(home, {"job": RayJobRuns(cluster)})
    assert runs.get(run_id).result == 1, "the command line sees it"
    assert (runs.get(run_id).plugin, runs.get(run_id).action) == ("probe", "speak")
    runs.close()


def test_a_failure_is_raised_with_its_own_code_and_a_wait_has_an_end(hello):
    failed = hello.submit("misbehave", {"way": "fail"})
    slow = hello.submit("greet", {"repeat": 6000, "sleep_seconds": 0.1})

    with pytest.raises(RunFailed, match="asked to fail") as raised:
        hello.wait(failed)
    assert raised.value.code == "step_failed"
    assert hello.get_status(failed) == "FAILED"
    with pytest.raises(TimeoutError, match="it goes on"):
        hello.wait(slow, timeout_seconds=0.2)
    assert hello.stop(slow) == "STOPPED"


def test_ray_forgets_the_job_of_an_ended_run_and_the_run_stays(executor, server):
    run_id = executor.submit("look")
    executor.wait(run_id)
    until(lambda: server.job(run_id).has_ended)

    assert executor.delete(run_id) is True
    # What watches the job on the cluster may write its state once more.
    until(lambda: executor.delete(run_id) is False and server.job(run_id) is None)
    assert executor.get_status(run_id) == "SUCCEEDED"


# Logs


def test_the_log_comes_line_by_line_as_it_is_written_whatever_the_bytes(executor, server):
    run_id = executor.submit("speak", {"lines": 4, "pause": 1.5})
    seen = [(line, executor.get_status(run_id)) for line in executor.stream_logs(run_id)]

    said = [line for line, _ in seen if line.startswith(("line", "raw", "no end"))]
    assert said == ["line 0\n", "line 1\n", "line 2\n", "line 3\n", "raw \ufffd\ufffd bytes\n", "no end"]
    assert dict(seen)["line 0\n"] == "RUNNING", "it came before the end"
    assert "".join(line for line, _ in seen) == executor.get_logs(run_id)
    until(lambda: server.job(run_id).has_ended)
    assert "output.log" in server.log(run_id), "Ray's own log says where the other one is"
    assert "line 0" not in server.log(run_id)


def test_the_log_can_be_followed_asynchronously(executor):
    run_id = executor.submit("speak", {"lines": 3, "pause": 0.2})

    async def follow() -> tuple[list[str], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        lines = [line async for line in executor.stream_logs_async(run_id)]
        ticking.cancel()
        return lines, ticks

    lines, ticks = asyncio.run(follow())
    assert "".join(lines) == executor.get_logs(run_id)
    assert ticks > 20, "the loop went on meanwhile"


# Stopping


def test_a_job_that_waits_for_room_says_so_and_is_gone_when_it_is_stopped(cluster, server, hello, home):
    cpus = cluster.status().cpus
    full = RayJobExecutor(working_dir=example_plugins() / "hello", cluster=cluster, num_cpus=cpus)
    busy = full.submit("misbehave", {"way": "sleep", "seconds": 3600})
    until(lambda: full.get_status(busy) == "RUNNING")
    queued = full.submit("greet")
    folder = RunFolder(home / "runs" / queued)
    until(lambda: "waiting for room for a Ray job" in (folder.waiting() or ""))
    begun = time.monotonic()

    # By a server that had no part in it.
    runs = Runs(home, {"job": RayJobRuns(cluster)})
    assert runs.stop(queued).state is RunState.STOPPED
    assert runs.stop(queued).state is RunState.STOPPED
    assert time.monotonic() - begun < 15
    until(lambda: server.job(queued).has_ended)
    assert runs.stop(busy).state is RunState.STOPPED
    assert not (folder.path / "events.jsonl").exists()
    runs.close()
    full.close()


def test_a_run_on_another_node_is_asked_after_and_stopped_through_ray(hello, cluster, server, home, tmp_path):
    run_id = hello.submit("misbehave", {"way": "sleep", "marker": str(tmp_path)})
    folder = RunFolder(home / "runs" / run_id)
    until(lambda: (tmp_path / "prepared").exists())
    worker = folder.claimed().worker.pid
    import msgspec

    # As a node that shares the disk would have written it.
    folder.update_claim(msgspec.structs.replace(folder.claimed(), host="another-node"))
    runs = RayJobRuns(cluster)
    assert runs.poll(folder, folder.claimed()) is Liveness.ALIVE
    begun = time.monotonic()

    assert hello.stop(run_id) == "STOPPED"

    assert time.monotonic() - begun < 15
    assert (tmp_path / "rolled_back").exists()
    assert not pid_is_alive(worker)
    until(lambda: server.job(run_id).has_ended)
    assert runs.poll(folder, folder.claimed()) is Liveness.GONE


def test_a_run_whose_processes_were_killed_is_told_as_killed_because_ray_saw_it(hello, cluster, home):
    run_id = hello.submit("misbehave", {"way": "sleep"})
    folder = RunFolder(home / "runs" / run_id)
    until(lambda: (claim := folder.claimed()) and claim.worker and folder.events.exists())
    claim = folder.claimed()
    os.kill(claim.supervisor.pid, signal.SIGKILL)
    os.kill(claim.worker.pid, signal.SIGKILL)

    with pytest.raises(RunFailed) as raised:
        hello.wait(run_id)

    assert raised.value.code == "worker_killed"


def test_a_node_that_does_not_have_the_runs_folder_says_so(tmp_path):
    """As it would be on a node that shares no disk with the home."""
    request = RunRequest(run_id="r", plugin="p", root="/p", actions=())
    command = entrypoint(RunFolder(tmp_path / "it's not here"), request, {})

    done = subprocess.run(command, shell=True, capture_output=True, text=True)

    assert done.returncode == NO_FOLDER
    assert "it's not here" in done.stdout
    told = exit_of_job(Job("FAILED", driver_exit_code=NO_FOLDER), has_begun=False)
    assert told.cause == "node_unprepared"


# Secrets


def test_no_secret_of_the_submitter_is_in_anything_that_ray_or_the_home_keeps(
    cluster, plugin, server, home, ray_home, monkeypatch
):
    monkeypatch.setenv("PROBE_TOKEN", SECRET)
    executor = RayJobExecutor(working_dir=plugin, cluster=cluster, env={"PROBE_KEY": SECRET, "LEVEL": 4})
    names = ["PROBE_TOKEN", "PROBE_KEY", "LEVEL"]
    run_id = executor.submit("look", {"names": names})
    seen = executor.wait(run_id)["values"]
    until(lambda: server.job(run_id).has_ended)

    assert seen == {"PROBE_TOKEN": SECRET, "PROBE_KEY": SECRET, "LEVEL": "4"}
    from ray.util.state import list_actors, list_jobs

    cluster.connect()
    told = [server.call("GET", f"/api/jobs/{run_id}")[1], server.call("GET", "/api/jobs/")[1]]
    every = {"address": server.url, "detail": True, "limit": 10_000}
    told += [str(lists(**every)).encode() for lists in (list_jobs, list_actors)]
    assert all(run_id.encode() in text for text in told)
    assert not [text for text in told if SECRET.encode() in text]
    session = Path(json.loads((ray_home / "ray" / "cluster.json").read_bytes())["temp_dir"])
    assert any(run_id in name for _, _, names in os.walk(session) for name in names)
    folders = session, home / "runs" / run_id
    guilty = {path.name for folder in folders for path in files_with(folder, SECRET.encode())}
    assert guilty <= {"events.jsonl"}, "the run itself returned it, nothing else may hold it"
    executor.close()


def test_variables_that_are_handed_over_can_be_read_by_this_user_alone_and_once(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.hand_over({"KEY": SECRET})
    folder.hand_over({"OTHER": "of a later submitter, who knows less"})

    (file,) = folder.path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.take_over() == {"KEY": SECRET}
    assert folder.take_over() == {}
    assert not list(folder.path.iterdir())


# Requirements and runtime environments


def test_requirements_are_installed_for_the_job_from_wheels_without_the_network(executor, plugin):
    make_wheel(plugin / "wheels", "1.2.3")
    (plugin / "requirements.txt").write_text(
        "--no-index\nsynapse-probe-dependency==1.2.3  # ours\npydantic\n"
    )

    run_id = executor.submit("look", {"module": "synapse_probe_dependency"})
    found = executor.wait(run_id, timeout_seconds=200)

    assert found["version"] == "1.2.3"
    assert "virtualenv" in found["python"]
    assert Path(found["file"]).parent.parent == plugin


def test_what_cannot_be_installed_ends_the_run_with_the_installers_own_words(executor, plugin, server):
    (plugin / "requirements.txt").write_text("--no-index\na-package-that-nobody-has==9\n")

    run_id = executor.submit("look")
    with pytest.raises(RunFailed, match="a-package-that-nobody-has") as raised:
        executor.wait(run_id, timeout_seconds=200)

    assert raised.value.code == "runtime_env_failed"
    assert "requirements" in raised.value.hint
    assert "No matching distribution" in executor.get_logs(run_id)


def test_a_runtime_env_is_merged_with_that_of_the_plugin_and_the_call_wins(cluster, plugin):
    with (plugin / "config.yaml").open("a") as config:
        config.write("runtime_env: {env_vars: {COLOUR: red, SHAPE: round}}\n")
    executor = RayJobExecutor(
        working_dir=plugin, cluster=cluster, runtime_env={"env_vars": {"COLOUR": "blue"}}
    )

    seen = executor.wait(executor.submit("look", {"names": ["COLOUR", "SHAPE", "LEVEL"]}))

    assert seen["values"] == {"COLOUR": "blue", "SHAPE": "round", "LEVEL": "3"}
    executor.close()


# A cluster that is only known by its job server


def test_a_plugin_is_shipped_once_to_a_cluster_of_which_only_the_job_server_is_known(
    plugin, server, ray_home, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(ray_home / "ray" / "token"))
    (plugin / ".gitignore").write_text("*.bin\n")
    (plugin / "weights.bin").write_bytes(b"what git ignores is a part of the plugin")
    executor = RayJobExecutor(server.url, plugin)

    found = executor.wait(executor.submit("look"))

    assert found["weights"]
    assert not Path(found["file"]).is_relative_to(plugin), "it ran from what was shipped"

    def must_not_be_packed() -> bytes:
        raise AssertionError("it is there already")

    assert server.upload(package_name(plugin), must_not_be_packed).startswith("gcs://")
    with pytest.raises(InvalidRequest, match="asks for 1 GPUs"):
        RayJobExecutor(server.url, plugin, num_gpus=1).submit("look")
    executor.close()


def test_synapse_itself_can_be_shipped(cluster, plugin):
    executor = RayJobExecutor(working_dir=plugin, cluster=cluster, include_sdk=True)

    shipped = executor.wait(executor.submit("look"))["sdk"]

    assert Path(shipped) != Path(synapse_core.__file__)
    executor.close()


@pytest.fixture
def stranger():
    """A web server that is not Ray's."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def refused_by(url: str, plugin: Path) -> RayUnavailable:
    begun = time.monotonic()
    with pytest.raises(RayUnavailable) as raised:
        RayJobExecutor(url, plugin).submit("look")
    assert time.monotonic() - begun < 5
    assert raised.value.hint
    return raised.value


def test_a_job_server_that_is_down_is_not_rays_or_says_nothing_is_named_at_once(plugin, stranger):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "nothing answered within 3 s" in refused_by(f"http://127.0.0.1:{port}", plugin).message
    assert "nothing answers there" in refused_by(f"http://127.0.0.1:{port}", plugin).message
    assert "what answers there is none" in refused_by(stranger, plugin).message
    with pytest.raises(InvalidRequest, match="is not the address of a Ray job server"):
        RayJobExecutor("ray://head:10001", plugin).submit("look")


def test_a_wrong_token_or_none_is_told_with_the_fix(plugin, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert "none is set here" in refused_by(server.url, plugin).message

    (tmp_path / "token").write_text("0" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    error = refused_by(server.url, plugin)

    assert "refuses the one that is set here" in error.message
    assert "RAY_AUTH_TOKEN_PATH" in error.hint


def test_a_run_that_began_is_told_by_its_events_alone(executor, home):
    run_id = executor.submit("look")
    executor.wait(run_id)

    from synapse_core.runs.tail import read_events

    events, _ = read_events(home / "runs" / run_id / "events.jsonl", 0)
    assert isinstance(events[0], RunStarted)
    assert events[0].mode == "job"
