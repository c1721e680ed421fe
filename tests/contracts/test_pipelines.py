"""Pipelines over every executor: one run with an entry an action, whatever the actions do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import WAIT_SECONDS, Laboratory
from pipeline_plugins import write_plugins
from tests_support import pid_is_alive

from synapse_core.enums import ActionState, RunState
from synapse_core.events import ActionFinished, ActionStarted, Artifact, Message, Metrics, is_terminal
from synapse_core.pipelines import PipelineAction, RetryPolicy
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.registry import Registry
from synapse_core.run_folder import RunRequest
from synapse_core.runs import Run
from synapse_mcp.settings import example_plugins

SUCCEEDED, FAILED, STOPPED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.STOPPED
PENDING, SKIPPED, LOST = ActionState.PENDING, ActionState.SKIPPED, ActionState.LOST


# Modes that have a coordinator for pipelines.
pytestmark = pytest.mark.parametrize(
    "lab", ["local", pytest.param("task", marks=pytest.mark.ray)], indirect=True
)


@dataclass
class Line:
    """Pipelines in one mode."""

    lab: Laboratory
    registry: Registry

    def plan(self, *actions: str | PipelineAction, resume_from: str | None = None, **params) -> RunRequest:
        asked = [PipelineAction(each) if isinstance(each, str) else each for each in actions]
        runs = self.lab.runs
        return plan_pipeline(
            lambda action: find_named(self.registry, runs.modes, action.action),
            asked,
            params,
            runs,
            mode=self.lab.mode,
            resume_from=resume_from,
        )

    def begin(self, *actions: str | PipelineAction, **params) -> str:
        run, _ = self.lab.runs.submit(self.plan(*actions, **params))
        self.lab.runs.start(run.run_id)
        return run.run_id

    def run(self, *actions: str | PipelineAction, **params) -> Run:
        ended = self.lab.runs.wait(self.begin(*actions, **params), WAIT_SECONDS)
        assert ended.is_done, f"{ended.run_id} did not end: {ended}"
        return ended

    def coordinator(self, run_id: str) -> int:
        return self.lab.runs.folder(run_id).claimed().worker.pid

    def until_gone(self, run_id: str) -> None:
        """Wait until no action of a run is being executed."""
        deadline = time.monotonic() + 15
        while any(one.is_being_executed for one in self.lab.runs.folder(run_id).action_folders()):
            assert time.monotonic() < deadline, "an action outlived its pipeline"
            time.sleep(0.02)


@pytest.fixture
def line(
    lab: Laboratory, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    if lab.mode == "task":
        # The home of the cluster, through which those who share it ask each other for room.
        monkeypatch.setenv("SYNAPSE_HOME", str(request.getfixturevalue("ray_home")))
    registry = Registry([write_plugins(tmp_path / "plugins"), example_plugins()], tmp_path / "described")
    yield Line(lab, registry)
    registry.close()


def states(run: Run) -> dict[str, ActionState]:
    return {entry.name: entry.state for entry in run.actions}


def held(marker: Path, **more) -> PipelineAction:
    """An action that hangs until it is stopped, and rolls back then."""
    return PipelineAction("hello/misbehave", "hang", params={"way": "sleep", "marker": str(marker)}, **more)


def test_results_become_parameters_of_what_follows_and_every_action_has_an_entry(line):
    run = line.run("parts/add", "parts/add", PipelineAction("parts/add", params={"by": 10}), total=1)

    assert run.state is RunState.SUCCEEDED
    assert run.result == {"total": 13}
    assert (run.plugin, run.action) == ("parts", "add+add-2+add-3")
    assert [(entry.name, entry.state, entry.result) for entry in run.actions] == [
        ("add", SUCCEEDED, {"total": 2}),
        ("add-2", SUCCEEDED, {"total": 3}),
        ("add-3", SUCCEEDED, {"total": 13}),
    ]
    assert run.progress.fraction == 1.0


def test_events_come_in_order_without_gaps_and_tell_whose_they_are(line):
    run = line.run("parts/make", "parts/read")

    events = line.lab.events(run)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event for event in events if is_terminal(event)] == [events[-1]]
    told = [
        (type(event), event.action) for event in events if isinstance(event, ActionStarted | ActionFinished)
    ]
    assert told == [
        (ActionStarted, "make"),
        (ActionFinished, "make"),
        (ActionStarted, "read"),
        (ActionFinished, "read"),
    ]
    assert ("logged by make", "make") in [(e.text, e.action) for e in events if isinstance(e, Message)]


def test_metrics_artifacts_and_output_of_the_actions_are_those_of_the_run(line):
    run = line.run("parts/make", "parts/read", "parts/add", total=1)

    assert run.metrics == {"add/sum": {"total": 2}}
    assert [event.action for event in line.lab.events(run) if isinstance(event, Metrics)] == ["add"]
    (artifact,) = run.artifacts
    assert isinstance(artifact, Artifact)
    assert (line.lab.runs.folder(run.run_id).path / artifact.uri).read_text() == "made"
    log = line.lab.runs.log(run.run_id, tail=100).lines
    assert "[make] printed by make" in log
    assert any(text.endswith("[make] logged by make") and " WARNING " in text for text in log)
    loud = line.lab.runs.log(run.run_id, tail=100, level=None, grep="WARNING").lines
    assert len(loud) == 1, "what an action tells is in the log once"
    assert run.actions[1].result == {"text": "made"}


def test_plugins_whose_packages_share_a_name_do_not_mix(line):
    run = line.run("parts/add", "others/double", "parts/add", "others/double", total=1)

    assert run.failure is None
    assert run.result == {"total": 10}
    assert run.plugin == "parts+others"


def test_branches_run_at_the_same_time_in_one_shared_folder(line):
    run = line.run(
        PipelineAction("parts/add", "first"),
        PipelineAction("parts/meet", "left", after=("first",), params={"me": "l", "other": "r"}),
        PipelineAction("parts/meet", "right", after=("first",), params={"me": "r", "other": "l"}),
        PipelineAction("parts/add", "last", after=("left", "right")),
        total=1,
    )

    assert run.state is RunState.SUCCEEDED, run.failure
    order = [
        (type(event).__name__[6:], event.action)
        for event in line.lab.events(run)
        if isinstance(event, ActionStarted | ActionFinished)
    ]
    begun = {order.index(("Started", name)) for name in ("left", "right")}
    assert max(begun) < min(order.index(("Finished", name)) for name in ("left", "right"))
    assert order[-2:] == [("Started", "last"), ("Finished", "last")]
    assert run.result == {"total": 3}
    assert (line.lab.runs.folder(run.run_id).shared / "l").exists()


def test_a_pipeline_without_a_last_action_returns_what_each_branch_returned(line):
    run = line.run(
        PipelineAction("parts/add", "a", after=()), PipelineAction("parts/add", "b", after=()), total=4
    )

    assert run.result == {"a": {"total": 5}, "b": {"total": 5}}


def test_a_failure_names_the_action_and_lets_go_on_what_does_not_depend_on_it(line):
    run = line.run(
        PipelineAction("parts/fail", "bad", after=()),
        PipelineAction("parts/add", "good", after=()),
        PipelineAction("parts/add", "after-good", after=("good",)),
        PipelineAction("parts/add", "after-bad", after=("bad",)),
        total=1,
    )

    assert run.state is RunState.FAILED
    assert states(run) == {"bad": FAILED, "good": SUCCEEDED, "after-good": SUCCEEDED, "after-bad": PENDING}
    assert run.failure.code == "execution_failed"
    assert run.failure.message.startswith(
        "Action 'bad' failed: ValueError: not repaired yet (package/things.py:"
    )
    assert run.failure.details["action"] == "bad"
    assert f'resume_from="{run.run_id}"' in run.failure.hint
    log = line.lab.runs.log(run.run_id, tail=100).lines
    assert any("[bad] ValueError: not repaired yet" in text for text in log)
    assert not any("coordinator.py" in text for text in log), "the traceback is the action's"


@pytest.mark.parametrize("way", ["os_exit", "crash"])
def test_an_action_that_crashes_takes_nothing_else_down(line, way):
    run = line.run(
        PipelineAction("hello/misbehave", "crash", after=(), params={"way": way}),
        PipelineAction("parts/add", "good", after=()),
        total=1,
    )

    assert states(run) == {"crash": FAILED, "good": SUCCEEDED}
    assert run.failure.code in ("worker_exited", "worker_crashed", "worker_died")


def test_resuming_skips_what_succeeded_and_takes_its_results_and_parameters_over(line, tmp_path):
    counter = tmp_path / "counter"
    actions = ("parts/add", "parts/fail", "parts/add")
    first = line.run(*actions, total=1, counter=str(counter))
    assert states(first) == {"add": SUCCEEDED, "fail": FAILED, "add-2": PENDING}

    second = line.run(*actions, repaired=True, resume_from=first.run_id)

    assert second.state is RunState.SUCCEEDED, second.failure
    assert states(second) == {"add": SKIPPED, "fail": SUCCEEDED, "add-2": SUCCEEDED}
    assert second.actions[0].result == {"total": 2}
    assert second.actions[0].progress.fraction == 1.0
    assert counter.read_text().splitlines() == ["1+1", "2+1"], "the first action was not done again"
    third = line.run(*actions, resume_from=second.run_id)
    assert set(states(third).values()) == {SKIPPED}
    assert third.result == {"total": 3}
    assert len(counter.read_text().splitlines()) == 2


def test_a_retry_policy_tries_an_action_again_and_shows_the_attempts(line, tmp_path):
    flaky = {"tries": str(tmp_path / "tries"), "fails": 2}
    run = line.run(
        PipelineAction("parts/fail", params=flaky, retry=RetryPolicy(max_attempts=3, delay_seconds=0.05)),
        "parts/add",
        total=1,
    )

    assert run.state is RunState.SUCCEEDED, run.failure
    assert run.actions[0].attempt == 3
    ended = [event for event in line.lab.events(run) if isinstance(event, ActionFinished)]
    assert [(event.action, event.attempt, event.state) for event in ended] == [
        ("fail", 1, FAILED),
        ("fail", 2, FAILED),
        ("fail", 3, SUCCEEDED),
        ("add", 1, SUCCEEDED),
    ]
    folders = {folder.path.name for folder in line.lab.runs.folder(run.run_id).action_folders()}
    assert folders == {"fail", "fail.2", "fail.3", "add"}


def test_a_policy_for_what_can_be_overcome_does_not_repeat_a_plain_failure(line):
    policy = RetryPolicy(max_attempts=3, only_retryable=True)
    run = line.run(PipelineAction("parts/fail", retry=policy))

    assert run.state is RunState.FAILED
    assert run.actions[0].attempt == 1


def test_an_action_has_a_time_limit_of_its_own(line):
    run = line.run("parts/add", PipelineAction("parts/sleep", timeout_seconds=0.3), total=1)

    assert states(run) == {"add": SUCCEEDED, "sleep": FAILED}
    assert run.failure.code == "timeout"


def test_a_stop_runs_the_rollbacks_of_every_branch_and_leaves_nothing(line, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    run_id = line.begin(
        held(one, after=()),
        PipelineAction("hello/misbehave", "hang-2", after=(), params={"way": "sleep", "marker": str(other)}),
        PipelineAction("parts/add", "never", after=("hang",)),
        total=1,
    )
    line.lab.until(run_id, lambda _: (one / "prepared").exists() and (other / "prepared").exists())
    workers = [int((place / "prepared").read_text()) for place in (one, other)]
    begun = time.monotonic()

    stopped = line.lab.runs.stop(run_id)

    assert time.monotonic() - begun < 15
    assert stopped.state is RunState.STOPPED
    assert states(stopped) == {"hang": STOPPED, "hang-2": STOPPED, "never": PENDING}
    for place in (one, other):
        assert (place / "rolled_back").exists()
        assert not (place / "prepared").exists()
    line.until_gone(run_id)
    if line.lab.mode == "local":
        assert not any(pid_is_alive(worker) for worker in workers)


def test_a_stop_kills_an_action_that_ignores_it_within_its_time(line, tmp_path):
    stubborn = {"way": "ignore_stop", "marker": str(tmp_path)}
    run_id = line.begin(PipelineAction("hello/misbehave", params=stubborn))
    line.lab.until(run_id, lambda _: (tmp_path / "child").exists())
    begun = time.monotonic()

    stopped = line.lab.runs.stop(run_id)

    assert time.monotonic() - begun < 15
    assert (stopped.state, states(stopped)) == (RunState.STOPPED, {"misbehave": STOPPED})
    line.until_gone(run_id)
    assert not pid_is_alive(int((tmp_path / "child").read_text()))


def test_a_forced_stop_kills_at_once(line, tmp_path):
    stubborn = {"way": "ignore_stop", "marker": str(tmp_path)}
    run_id = line.begin(PipelineAction("hello/misbehave", params=stubborn))
    line.lab.until(run_id, lambda _: (tmp_path / "child").exists())
    begun = time.monotonic()

    stopped = line.lab.runs.stop(run_id, force=True)

    assert time.monotonic() - begun < 7
    assert stopped.state is RunState.STOPPED
    line.until_gone(run_id)
    assert not pid_is_alive(int((tmp_path / "child").read_text()))


def test_a_coordinator_that_is_killed_is_told_takes_its_actions_along_and_can_be_resumed(line, tmp_path):
    counter = tmp_path / "counter"
    actions = ("parts/add", held(tmp_path), "parts/add")
    run_id = line.begin(*actions, total=1, counter=str(counter))
    line.lab.until(run_id, lambda _: (tmp_path / "prepared").exists())

    os.kill(line.coordinator(run_id), signal.SIGKILL)

    killed = line.lab.runs.wait(run_id, WAIT_SECONDS)
    assert killed.state is RunState.FAILED
    assert killed.failure.code in ("worker_killed", "worker_died")
    assert states(killed) == {"add": SUCCEEDED, "hang": LOST, "add-2": PENDING}
    line.until_gone(run_id)
    assert (tmp_path / "rolled_back").exists(), "its rollbacks ran"
    ready = PipelineAction("hello/misbehave", "hang", params={"way": "silent"})
    resumed = line.run("parts/add", ready, "parts/add", resume_from=run_id)
    assert resumed.state is RunState.SUCCEEDED, resumed.failure
    assert states(resumed)["add"] is SKIPPED
    assert counter.read_text().splitlines() == ["1+1", "2+1"]


def test_the_same_key_and_request_make_one_pipeline(line):
    from synapse_core.errors import Conflict

    runs = line.lab.runs
    first, is_new = runs.submit(line.plan("parts/add", "parts/add", total=1), "once")
    again, is_again_new = runs.submit(line.plan("parts/add", "parts/add", total=1), "once")

    assert (first.run_id, is_new) == (again.run_id, not is_again_new)
    for other in (
        line.plan("parts/add", "parts/add", total=2),
        line.plan("parts/add", "parts/add", "parts/add", total=1),
        line.plan("parts/add", PipelineAction("parts/add", params={"by": 2}), total=1),
    ):
        with pytest.raises(Conflict, match=first.run_id):
            runs.submit(other, "once")
    runs.stop(first.run_id)
