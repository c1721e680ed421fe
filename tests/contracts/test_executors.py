"""What every executor of recorded runs must do: the same body, the same truth, whatever the action does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from tests_support import pid_is_alive

from synapse_core.enums import RunState
from synapse_core.events import RunStarted, Succeeded, is_terminal
from synapse_core.runs.request import make_request

CRASHES = {
    "local": {"os_exit": "worker_exited", "crash": "worker_crashed"},
    "task": {"os_exit": "worker_died", "crash": "worker_died"},
    "job": {"os_exit": "worker_exited", "crash": "worker_crashed"},
}


def test_events_come_in_order_without_gaps_and_end_with_one_terminal_event(lab):
    run = lab.run("greet", {"repeat": 20})

    events = lab.events(run)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert isinstance(events[0], RunStarted)
    assert [event for event in events if is_terminal(event)] == [events[-1]]
    assert run.state is RunState.SUCCEEDED
    assert run.result == {"text": "Hello, world!", "steps": 20}
    assert run.progress.fraction == 1.0


def test_an_action_that_reports_nothing_still_ends_with_one_terminal_event(lab):
    run = lab.run("misbehave", {"way": "silent"})

    assert run.state is RunState.SUCCEEDED
    assert run.result is None
    assert isinstance(lab.events(run)[-1], Succeeded)


@pytest.mark.parametrize(
    ("way", "code", "words"),
    [
        ("fail", "step_failed", "ValueError: asked to fail (plugin/misbehave.py:"),
        ("exit", "exited", "sys.exit(3)"),
        ("out_of_memory", "out_of_memory", "ran out of memory"),
        ("read_stdin", "step_failed", "EOF"),
        ("bad_result", "invalid_result", "result.models[0] is a builtins.object"),
        ("huge_result", "invalid_result", "2,000,002 bytes"),
        ("missing_package", "missing_dependency", "a_package_that_nobody_has"),
    ],
)
def test_a_failure_names_its_cause_and_what_to_do(lab, way, code, words):
    run = lab.run("misbehave", {"way": way})

    assert run.state is RunState.FAILED
    assert run.failure.code == code
    assert words in run.failure.message
    assert run.failure.hint


@pytest.mark.parametrize("way", ["os_exit", "crash"])
def test_a_worker_that_dies_without_a_word_is_told_as_failed_with_its_cause(lab, way):
    run = lab.run("misbehave", {"way": way})

    assert run.state is RunState.FAILED
    assert run.failure.code == CRASHES[lab.mode][way]
    assert "get_run_logs" in run.failure.hint


def test_a_native_crash_leaves_the_python_stack_in_the_log(lab):
    run = lab.run("misbehave", {"way": "crash"})

    log = "\n".join(lab.runs.log(run.run_id, tail=200).lines)
    assert "misbehave.py" in log


def test_everything_that_an_action_prints_is_in_its_log_and_nowhere_else(lab, capfd):
    run = lab.run("misbehave", {"way": "print", "amount": 3_000_000})

    output = lab.runs.folder(run.run_id).output.read_bytes()
    for words in (
        b"printed by print",
        b"binary \x00\xff\xfe",
        b"written to descriptor 1",
        b"written to descriptor 2",
        b"printed by a child",
        b"no end of line",
    ):
        assert words in output
    assert len(output) > 2_900_000
    captured = capfd.readouterr()
    assert "printed by" not in captured.out + captured.err


def test_a_flood_of_events_is_recorded_whole(lab):
    run = lab.run("misbehave", {"way": "flood_events", "amount": 20_000})

    events = lab.events(run)
    assert run.state is RunState.SUCCEEDED
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) > 40_000


@pytest.mark.parametrize("way", ["loop", "sleep"])
def test_stop_runs_the_rollbacks_even_of_an_action_that_never_looks_up(lab, way, tmp_path):
    run_id = lab.begin("misbehave", {"way": way, "marker": str(tmp_path)})
    lab.until(run_id, lambda run: run.progress.current == 1)
    assert (tmp_path / "prepared").exists()

    stopped = lab.runs.stop(run_id)

    assert stopped.state is RunState.STOPPED
    assert (tmp_path / "rolled_back").exists()
    assert not (tmp_path / "prepared").exists()
    assert lab.runs.stop(run_id).state is RunState.STOPPED, "stopping twice changes nothing"


def test_stop_kills_what_ignores_it_children_included(lab, tmp_path):
    run_id = lab.begin("misbehave", {"way": "ignore_stop", "marker": str(tmp_path)})
    lab.until(run_id, lambda run: (tmp_path / "child").exists())
    child = int((tmp_path / "child").read_text())
    worker = lab.events(lab.runs.get(run_id))[0].pid
    begun = time.monotonic()

    stopped = lab.runs.stop(run_id)

    assert stopped.state is RunState.STOPPED
    assert time.monotonic() - begun < 14.0
    assert not pid_is_alive(child)
    assert not pid_is_alive(worker)


def test_a_forced_stop_kills_at_once(lab, tmp_path):
    run_id = lab.begin("misbehave", {"way": "ignore_stop", "marker": str(tmp_path)})
    lab.until(run_id, lambda run: run.progress.current == 1)
    begun = time.monotonic()

    assert lab.runs.stop(run_id, force=True).state is RunState.STOPPED
    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize("way", ["sleep", "ignore_stop"])
def test_a_run_that_takes_longer_than_its_limit_is_ended_like_a_stop_and_told_as_timeout(lab, way, tmp_path):
    params = {"way": way, "marker": str(tmp_path)}
    request = make_request(lab.registry, "hello", "misbehave", params, mode=lab.mode, modes=lab.runs.modes)
    # Counted from the start of its process: where it is to roll back, it has to have begun.
    limit = 6.0 if way == "sleep" else 2.0
    run, _ = lab.runs.submit(msgspec.structs.replace(request, timeout_seconds=limit))
    lab.runs.start(run.run_id)

    ended = lab.runs.wait(run.run_id, 60)

    assert ended.state is RunState.FAILED
    assert ended.failure.code == "timeout"
    assert (tmp_path / "rolled_back").exists() == (way == "sleep")


def test_a_run_that_was_stopped_before_it_began_never_runs(lab, tmp_path):
    params = {"way": "sleep", "marker": str(tmp_path)}
    request = make_request(lab.registry, "hello", "misbehave", params, mode=lab.mode, modes=lab.runs.modes)
    run, _ = lab.runs.submit(request)

    stopped = lab.runs.stop(run.run_id)
    lab.runs.start(run.run_id)

    assert stopped.state is RunState.STOPPED
    assert not (tmp_path / "prepared").exists()
    assert lab.runs.get(run.run_id).state is RunState.STOPPED


def test_a_run_sees_its_id_and_its_artifacts_folder_and_not_the_callers_secrets(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "not-for-plugins")
    run = lab.run("greet", {"name": "env"})

    folder = lab.runs.folder(run.run_id)
    everything = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
    assert b"not-for-plugins" not in everything
    assert folder.artifacts.is_dir()


def test_the_current_directory_and_the_streams_of_the_submitter_are_left_alone(lab):
    before = Path.cwd(), os.fstat(1).st_ino

    lab.run("greet")

    assert (Path.cwd(), os.fstat(1).st_ino) == before


def test_the_same_key_and_request_make_one_run_and_another_request_is_refused(lab):
    from synapse_core.errors import Conflict

    first = lab.begin("greet", {"name": "a"}, run_key="once")
    second = lab.begin("greet", {"name": "a"}, run_key="once")

    assert first == second
    with pytest.raises(Conflict, match=first):
        lab.begin("greet", {"name": "b"}, run_key="once")
    assert len(lab.runs.list()[0]) == 1
    assert lab.runs.wait(first, 60).state is RunState.SUCCEEDED


def test_the_run_folder_holds_what_the_contract_names(lab):
    run = lab.run("greet")

    folder: Path = lab.runs.folder(run.run_id).path
    lab.until(run.run_id, lambda _: (folder / "exit.json").exists())
    present = {path.name for path in folder.iterdir()}
    assert {"request.json", "events.jsonl", "output.log", "exit.json", "artifacts"} <= present
