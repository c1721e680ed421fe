"""Runs that wait for workers on Ray: in order, shared between servers, refused where they could never run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import Laboratory

from synapse_core.enums import RunState
from synapse_core.errors import InvalidRequest
from synapse_core.events import RunStarted
from synapse_core.executors.ray import RayActorExecutor
from synapse_core.runs.request import make_request

pytestmark = pytest.mark.ray


@pytest.fixture
def task_lab(home, registry, cluster):
    laboratory = Laboratory("task", home, registry, {"task": RayActorExecutor(cluster=cluster)})
    yield laboratory
    for run in laboratory.runs.list(state="active", limit=200)[0]:
        laboratory.runs.stop(run.run_id, force=True)
    laboratory.runs.close()


def started(lab, run):
    return next(event.at for event in lab.events(run) if isinstance(event, RunStarted))


def test_a_hundred_runs_on_two_cpus_end_in_the_order_in_which_they_came(task_lab):
    ids = [task_lab.begin("greet", {"name": f"number {number}"}) for number in range(100)]

    runs = [task_lab.until(run_id, lambda run: run.is_done) for run_id in ids]

    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    begun = [started(task_lab, run) for run in runs]
    # Two workers at a time: while one of them stalls the other goes on, but not far.
    for number in range(len(begun) - 10):
        assert begun[number] < begun[number + 10], number


def test_runs_of_another_kind_are_not_starved_by_a_long_queue(task_lab):
    def line_up(many):
        return [task_lab.begin("greet", {"repeat": 30, "sleep_seconds": 0.02}) for _ in range(many)]

    line_up(8)
    request = make_request(
        task_lab.registry, "hello", "greet", {}, mode="task", modes=["task"], resources={"num_cpus": 2}
    )
    other, _ = task_lab.runs.submit(request)
    task_lab.runs.start(other.run_id)
    later = line_up(30)

    ended = task_lab.until(other.run_id, lambda run: run.is_done)

    assert ended.state is RunState.SUCCEEDED
    assert not task_lab.runs.get(later[-1]).is_done, "two CPUs at once were kept free for it"


def test_two_servers_share_the_cluster_and_run_everything_once(task_lab, home, registry, cluster):
    other = Laboratory("task", home, registry, {"task": RayActorExecutor(cluster=cluster)})
    ids: list[str] = []
    submitting = [
        threading.Thread(target=lambda lab=lab: ids.extend(lab.begin("greet") for _ in range(20)))
        for lab in (task_lab, other)
    ]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join()

    runs = [task_lab.until(run_id, lambda run: run.is_done) for run_id in ids]

    other.runs.close()
    assert len(runs) == 40
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    for run in runs:
        assert [type(event) for event in task_lab.events(run)].count(RunStarted) == 1


SUBMIT_AND_DIE = """
import os, sys
from pathlib import Path
from synapse_core.executors.ray import RayActorExecutor, RayCluster
from synapse_core.registry import Registry
from synapse_core.runs import Runs
from synapse_core.runs.request import make_request

home, plugins, ray_home = map(Path, sys.argv[1:4])
runs = Runs(home, {"task": RayActorExecutor(cluster=RayCluster(ray_home))})
registry = Registry([plugins], home / "cache")
for number in range(12):
    request = make_request(registry, "hello", "greet", {"repeat": 20, "sleep_seconds": 0.02}, modes=["task"])
    run, _ = runs.submit(request)
    runs.start(run.run_id)
    print(run.run_id, flush=True)
sys.stdin.read()
"""


def test_queued_runs_are_executed_though_their_server_was_killed(task_lab, home, ray_home, registry):
    server = subprocess.Popen(
        [sys.executable, "-c", SUBMIT_AND_DIE, home, registry.paths[0], ray_home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
    ids = [server.stdout.readline().strip() for _ in range(12)]
    server.kill()
    server.communicate()

    runs = [task_lab.until(run_id, lambda run: run.is_done) for run_id in ids]

    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    for run in runs:
        assert [type(event) for event in task_lab.events(run)].count(RunStarted) == 1


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"num_gpus": 1}, "The run asks for 1 GPUs; the largest node of the cluster has 0 GPUs."),
        ({"num_cpus": 4000}, "The run asks for 4,000 CPUs; the largest node"),
        ({"memory": 1 << 50}, "1.125899907e+15 bytes of memory"),
    ],
)
def test_what_the_cluster_could_never_give_is_refused_and_nothing_is_recorded(task_lab, resources, words):
    request = make_request(
        task_lab.registry, "hello", "greet", {}, mode="task", modes=["task"], resources=resources
    )

    with pytest.raises(InvalidRequest) as refused:
        task_lab.runs.submit(request)

    assert words in refused.value.message
    assert refused.value.hint
    assert task_lab.runs.list() == ([], None)


def test_a_waiting_run_says_why_and_how_many_are_ahead(task_lab):
    for _ in range(3):
        task_lab.begin("misbehave", {"way": "sleep"})
    last = task_lab.begin("greet")

    wanted = "waiting for a Ray worker with 1 CPU; free now: 0 of 2 CPUs; 1 run is ahead of it"
    waiting = task_lab.until(last, lambda run: run.waiting == wanted)

    assert waiting.state is RunState.QUEUED


def test_a_waiting_run_can_be_stopped_and_leaves_no_worker_behind(task_lab):
    busy = [task_lab.begin("misbehave", {"way": "sleep"}) for _ in range(2)]
    for run_id in busy:
        task_lab.until(run_id, lambda run: run.progress.current == 1)
    waiting = task_lab.begin("greet")

    stopped = task_lab.runs.stop(waiting)

    assert stopped.state is RunState.STOPPED
    assert task_lab.runs.stop(waiting).state is RunState.STOPPED
    assert task_lab.runs.stop(busy[0]).state is RunState.STOPPED
    assert task_lab.run("greet").state is RunState.SUCCEEDED
    assert not task_lab.runs.folder(waiting).events.exists()


def test_an_edit_of_a_plugin_is_seen_by_the_next_run_and_not_by_the_one_under_way(task_lab, tmp_path: Path):
    from synapse_core.registry import Registry

    folder = tmp_path / "plugins" / "edited"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "name: Edited\ncode: edited\nversion: 1.0.0\ncategory: custom\n"
        "actions:\n  say:\n    entrypoint: said:SayAction\n    method: task\n"
    )
    source = (
        "import time\nfrom pathlib import Path\nfrom pydantic import BaseModel\n"
        "from synapse_core import BaseAction\n\n\n"
        "class SayParams(BaseModel):\n    until: str | None = None\n\n\n"
        "class SayAction(BaseAction[SayParams]):\n    def execute(self):\n"
        "        self.set_progress(1, 2)\n"
        "        while self.params.until and not Path(self.params.until).exists():\n"
        "            time.sleep(0.01)\n        return WORD\n\n\nWORD = "
    )
    (folder / "said.py").write_text(source + "'before'\n")
    registry = Registry([tmp_path / "plugins"], tmp_path / "cache")

    def begin(**params):
        request = make_request(registry, "edited", "say", params, mode="task", modes=["task"])
        run, _ = task_lab.runs.submit(request)
        task_lab.runs.start(run.run_id)
        return run.run_id

    going = begin(until=str(tmp_path / "go"))
    task_lab.until(going, lambda run: run.progress.current == 1)
    (folder / "said.py").write_text(source + "'after'\n")
    later = begin()

    assert task_lab.until(later, lambda run: run.is_done).result == "after"
    (tmp_path / "go").touch()
    assert task_lab.until(going, lambda run: run.is_done).result == "before"
    registry.close()
